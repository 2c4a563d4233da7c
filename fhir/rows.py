"""The SQL of the clinical tables: read a row, lock rows, write versions, walk the history.

One statement writes any number of new versions with their index rows and history, so that a
single create and a bundle of hundreds each cost one round trip.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from fhir.definitions import type_name
from fhir.hashes import self_hash
from fhir.index_rows import IndexRows
from fhir.sql import Row, Statement, fetch
from fhir.stored import StoredResource

STORED_COLUMNS: Final = "r.rtype, r.self, r.rid, r.version, r.updated, r.content"

METHODS: Final = ("", "POST", "PUT", "PATCH", "DELETE")
BATCH_SIZE: Final = 250

_READ: Final = (
    "SELECT pk, version, updated, content FROM fhir_resource"
    " WHERE project = %s::integer AND rtype = %s::smallint AND rid = %s::text"
)
_READ_RECORDED: Final = (
    "WITH found AS MATERIALIZED (SELECT version, updated, content FROM fhir_resource"
    " WHERE project = %s::integer AND rtype = %s::smallint AND rid = %s::text"
    " AND content IS NOT NULL){recorded} SELECT version, updated, content FROM found"
)
_READ_VERSION: Final = (
    "SELECT version, updated, content FROM fhir_history WHERE project = %s::integer"
    " AND rtype = %s::smallint AND rid = %s::text AND version = %s::integer"
)
_LOCK: Final = (
    "SELECT r.self, r.pk, r.version, r.updated, r.content FROM fhir_resource r"
    " JOIN unnest(%s::smallint[], %b::text[]) AS k(rtype, rid)"
    " ON r.project = %s::integer AND r.rtype = k.rtype AND r.rid = k.rid"
    " ORDER BY r.pk FOR UPDATE OF r"
)
_FIND: Final = (
    "SELECT r.self, r.pk, r.version, r.updated, r.content FROM fhir_resource r"
    " JOIN unnest(%s::smallint[], %b::text[]) AS k(rtype, rid)"
    " ON r.project = %s::integer AND r.rtype = k.rtype AND r.rid = k.rid"
)
_CLEAR: Final = "".join(
    f", clear_{table} AS (DELETE FROM fhir_{table} WHERE resource = ANY(%s::bigint[]))"
    for table in ("date", "quantity", "string")
)
_WRITE: Final = """
WITH x AS (
    SELECT * FROM unnest(%s::bigint[], %s::smallint[], %b::text[], %s::integer[], %s::smallint[],
        %s::bigint[], %s::bigint[], %s::bigint[], %b::text[], %b::text[])
    AS x(self, rtype, rid, version, method, patient, date_low, date_high, tokens, content)
    WHERE coalesce((SELECT generation FROM fhir_parameter_state
        WHERE project = %s::integer), 0) = %s::bigint
), r AS (
    INSERT INTO fhir_resource AS current (self, updated, patient, date_low, date_high, project,
        version, rtype, rid, tokens, content)
    SELECT self, %s::timestamptz, patient, date_low, date_high, %s::integer, version, rtype, rid,
        tokens::bigint[], content FROM x
    ON CONFLICT (project, rtype, rid) DO UPDATE SET updated = EXCLUDED.updated,
        patient = EXCLUDED.patient, date_low = EXCLUDED.date_low, date_high = EXCLUDED.date_high,
        version = EXCLUDED.version, tokens = EXCLUDED.tokens, content = EXCLUDED.content
    WHERE current.version = EXCLUDED.version - 1
    RETURNING pk, self, rtype
), h AS (
    INSERT INTO fhir_history (updated, project, version, rtype, method, rid, actor, content)
    SELECT %s::timestamptz, %s::integer, x.version, x.rtype, x.method, x.rid, %s::text, x.content
    FROM x JOIN r USING (self)
)
{clear}
, d AS (
    INSERT INTO fhir_date (resource, low, high, project, param, rtype)
    SELECT r.pk, v.low, v.high, %s::integer, v.param, r.rtype
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS v(self, param, low, high)
    JOIN r USING (self)
), q AS (
    INSERT INTO fhir_quantity (resource, low, high, canonical_low, canonical_high, unit, code,
        printed, project, param, rtype)
    SELECT r.pk, v.low, v.high, v.canonical_low, v.canonical_high, v.unit, v.code, v.printed,
        %s::integer, v.param, r.rtype
    FROM unnest(%s::bigint[], %s::bigint[], %s::double precision[], %s::double precision[],
        %s::double precision[], %s::double precision[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS v(self, param, low, high, canonical_low, canonical_high, unit, code, printed)
    JOIN r USING (self)
), s AS (
    INSERT INTO fhir_string (resource, project, param, rtype, folded, exact)
    SELECT r.pk, %s::integer, v.param, r.rtype, v.folded, v.exact
    FROM unnest(%s::bigint[], %s::bigint[], %b::text[], %b::text[]) AS v(self, param, folded, exact)
    JOIN r USING (self)
), asked AS (
    SELECT work.queue FROM {dispatch} AS work
    WHERE EXISTS (SELECT 1 FROM fhir_consumer) AND EXISTS (SELECT 1 FROM r)
)
{audited}
SELECT self, (SELECT queue FROM asked) FROM r
"""


@dataclass(frozen=True, slots=True)
class CurrentRow:
    """The current state of an id; `content` is None when the resource is deleted."""

    pk: int
    version: int
    updated_at: datetime
    content: bytes | None


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version to write; `pk` is that of the row it replaces, None for a new id."""

    type_number: int
    rid: str
    key: int
    version: int
    method: str
    content: bytes | None
    index: IndexRows
    pk: int | None = None


def stored_of(row: Row) -> StoredResource:
    """Return what a row that begins with STORED_COLUMNS holds."""
    number, key, rid, version, updated, content = row[:6]
    return StoredResource(type_name(number), rid.decode(), version, updated, content, key=key)


def read_current(project: int, type_number: int, rid: str) -> CurrentRow | None:
    """Return the current row of an id."""
    rows = fetch(_READ, (project, type_number, rid), prepare=True)
    return CurrentRow(*rows[0]) if rows else None


def read_recorded(project: int, type_number: int, rid: str, recorded: Statement) -> Row | None:
    """Return `(version, updated, content)` of a living resource; `recorded` is done for it.

    `recorded` is a further member of WITH that reads `found`: nothing is recorded for no row.
    """
    sql = _READ_RECORDED.replace("{recorded}", recorded.sql)
    rows = fetch(sql, (project, type_number, rid, *recorded.params), prepare=True)
    return rows[0] if rows else None


def read_version(project: int, type_number: int, rid: str, version: int) -> Row | None:
    """Return `(version, updated, content)` of one version."""
    rows = fetch(_READ_VERSION, (project, type_number, rid, version), prepare=True)
    return rows[0] if rows else None


def lock_current(project: int, keys: Sequence[tuple[int, str]]) -> dict[int, CurrentRow]:
    """Return the current rows of `(type number, id)` by `self`, locked until the end."""
    return _keyed(_LOCK, project, keys)


def find_current(project: int, keys: Sequence[tuple[int, str]]) -> dict[int, CurrentRow]:
    """Return the current rows of `(type number, id)` by `self`, without a lock."""
    return _keyed(_FIND, project, keys)


def _keyed(sql: str, project: int, keys: Sequence[tuple[int, str]]) -> dict[int, CurrentRow]:
    if not keys:
        return {}
    numbers = _array(number for number, _ in keys)
    rows = fetch(sql, (numbers, [rid for _, rid in keys], project), prepare=True)
    return {row[0]: CurrentRow(*row[1:]) for row in rows}


@dataclass(slots=True)
class Written:
    """The `self` of the versions written, and the queue in which their dispatch waits, if any."""

    keys: set[int]
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Companions:
    """What the writing statement does besides: ask for dispatch, and record the write.

    `dispatch` is a row source; `audited` are further members of WITH that read the rows `r`.
    """

    dispatch: Statement
    audited: Statement


def write_versions(
    versions: Sequence[NewVersion],
    *,
    project: int,
    actor: str,
    updated: datetime,
    companions: Companions,
    generation: int = 0,
) -> Written:
    """Write versions with index rows and history; return which were written.

    A version whose predecessor is no longer the current one is left out: somebody else wrote. All
    are left out unless `generation` is the state of the project's search parameters.
    """
    ordered = sorted(versions, key=lambda version: version.key)
    written = Written(set())
    for start in range(0, len(ordered), BATCH_SIZE):
        batch = ordered[start : start + BATCH_SIZE]
        statement = _write_statement(
            *(batch, generation),
            project=project,
            actor=actor,
            updated=updated,
            companions=companions,
        )
        for key, queue in fetch(statement.sql, statement.params, prepare=True):
            written.keys.add(key)
            written.queue = queue and queue.decode()
    return written


def _write_statement(
    batch: Sequence[NewVersion],
    generation: int,
    *,
    project: int,
    actor: str,
    updated: datetime,
    companions: Companions,
) -> Statement:
    replaced = [version.pk for version in batch if version.pk is not None]
    clear = [_array(replaced)] * 3 if replaced else []
    params = [
        *resource_columns(batch),
        *(project, generation),
        *(updated, project),
        *(updated, project, actor),
        *clear,
        *(project, *date_columns(batch)),
        *(project, *quantity_columns(batch)),
        *(project, *string_columns(batch)),
        *companions.dispatch.params,
        *companions.audited.params,
    ]
    sql = _writing(companions.dispatch.sql, companions.audited.sql, replaces=bool(replaced))
    return Statement(sql, params)


@lru_cache(maxsize=16)
def _writing(dispatch: str, audited: str, *, replaces: bool) -> str:
    clear = _CLEAR if replaces else ""
    return _WRITE.format(clear=clear, dispatch=dispatch, audited=audited)


def resource_columns(batch: Sequence[NewVersion]) -> list[object]:
    """Return the columns of `fhir_resource`, one array each."""
    return [
        _array(version.key for version in batch),
        _array(version.type_number for version in batch),
        [version.rid for version in batch],
        _array(version.version for version in batch),
        _array(METHODS.index(version.method) for version in batch),
        _array(version.index.patient for version in batch),
        _array(version.index.date_low for version in batch),
        _array(version.index.date_high for version in batch),
        [_array(version.index.tokens) for version in batch],
        [None if v.content is None else v.content.decode() for v in batch],
    ]


def date_columns(batch: Sequence[NewVersion]) -> list[object]:
    """Return the columns of `fhir_date`, the owner's `self` first."""
    rows = [(v.key, date) for v in batch for date in v.index.dates]
    return [
        _array(owner for owner, _ in rows),
        _array(row.param for _, row in rows),
        _array(row.low for _, row in rows),
        _array(row.high for _, row in rows),
    ]


def quantity_columns(batch: Sequence[NewVersion]) -> list[object]:
    """Return the columns of `fhir_quantity`, the owner's `self` first."""
    rows = [(v.key, quantity) for v in batch for quantity in v.index.quantities]
    return [
        _array(owner for owner, _ in rows),
        _array(row.param for _, row in rows),
        _array(row.low for _, row in rows),
        _array(row.high for _, row in rows),
        _array(row.canonical_low for _, row in rows),
        _array(row.canonical_high for _, row in rows),
        _array(row.unit for _, row in rows),
        _array(row.code for _, row in rows),
        _array(row.printed for _, row in rows),
    ]


def string_columns(batch: Sequence[NewVersion]) -> list[object]:
    """Return the columns of `fhir_string`, the owner's `self` first."""
    rows = [(v.key, string) for v in batch for string in v.index.strings]
    return [
        _array(owner for owner, _ in rows),
        _array(row.param for _, row in rows),
        [row.folded for _, row in rows],
        [row.exact for _, row in rows],
    ]


def _array(values: Iterable[float | None]) -> str:
    """Return numbers as an array literal: one parameter type whatever their size."""
    listed = str(list(values))[1:-1]  # made in C, as most of a large bundle's parameters are
    return f"{{{listed.replace('None', 'NULL')}}}"


def key_hashes(keys: Iterable[tuple[str, str]]) -> list[int]:
    """Return the `self` hashes of `(type, id)` pairs."""
    return [self_hash(resource_type, rid) for resource_type, rid in keys]
