"""The SQL of the clinical tables: read a row, lock rows; and the columns of new versions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir.definitions import type_name
from fhir.hashes import self_hash
from fhir.index_rows import IndexRows
from fhir.sql import Row, Statement, fetch
from fhir.stored import StoredResource

STORED_COLUMNS: Final = "r.rtype, r.self, r.rid, r.version, r.updated, r.content"

METHODS: Final = ("", "POST", "PUT", "PATCH", "DELETE")

_READ: Final = (
    "SELECT pk, version, updated, content FROM fhir_resource"
    " WHERE project = %s::integer AND rtype = %s::smallint AND rid = %s::text"
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
_LOCK_ONLY: Final = (
    "SELECT count(*) FROM (SELECT 1 FROM fhir_resource r"
    " JOIN unnest(%s::smallint[], %b::text[]) AS k(rtype, rid)"
    " ON r.project = %s::integer AND r.rtype = k.rtype AND r.rid = k.rid"
    " ORDER BY r.pk FOR UPDATE OF r) AS locked"
)
_FIND: Final = (
    "SELECT r.self, r.pk, r.version, r.updated, r.content FROM fhir_resource r"
    " JOIN unnest(%s::smallint[], %b::text[]) AS k(rtype, rid)"
    " ON r.project = %s::integer AND r.rtype = k.rtype AND r.rid = k.rid"
)


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

    `recorded` is a member of WITH that reads `found`: nothing is recorded for no row.
    """
    return _recorded(_READ, (project, type_number, rid), recorded)


def read_version(project: int, type_number: int, rid: str, version: int) -> Row | None:
    """Return `(version, updated, content)` of one version."""
    rows = fetch(_READ_VERSION, (project, type_number, rid, version), prepare=True)
    return rows[0] if rows else None


def read_version_recorded(
    project: int, type_number: int, rid: str, version: int, recorded: Statement
) -> Row | None:
    """Return what `read_version` does, of a deletion None; `recorded` as for a read."""
    return _recorded(_READ_VERSION, (project, type_number, rid, version), recorded)


def _recorded(read: str, key: tuple[object, ...], recorded: Statement) -> Row | None:
    sql = (
        f"WITH found AS MATERIALIZED ({read} AND content IS NOT NULL), {recorded.sql}"
        " SELECT version, updated, content FROM found"
    )
    rows = fetch(sql, (*key, *recorded.params), prepare=True)
    return rows[0] if rows else None


def lock_current(project: int, keys: Sequence[tuple[int, str]]) -> dict[int, CurrentRow]:
    """Return the current rows of `(type number, id)` by `self`, locked until the end."""
    return _keyed(_LOCK, project, keys)


def lock_rows(project: int, keys: Sequence[tuple[int, str]]) -> None:
    """Lock the rows of `(type number, id)` that are there, in the order in which all lock them."""
    if keys:
        numbers = array_of(number for number, _ in keys)
        fetch(_LOCK_ONLY, (numbers, [rid for _, rid in keys], project), prepare=True)


def find_current(project: int, keys: Sequence[tuple[int, str]]) -> dict[int, CurrentRow]:
    """Return the current rows of `(type number, id)` by `self`, without a lock."""
    return _keyed(_FIND, project, keys)


def _keyed(sql: str, project: int, keys: Sequence[tuple[int, str]]) -> dict[int, CurrentRow]:
    if not keys:
        return {}
    numbers = array_of(number for number, _ in keys)
    rows = fetch(sql, (numbers, [rid for _, rid in keys], project), prepare=True)
    return {row[0]: CurrentRow(*row[1:]) for row in rows}


def resource_columns(batch: Sequence[NewVersion]) -> list[object]:
    """Return the columns of `fhir_resource`, one array each."""
    return [
        array_of(version.key for version in batch),
        array_of(version.type_number for version in batch),
        [version.rid for version in batch],
        array_of(version.version for version in batch),
        array_of(METHODS.index(version.method) for version in batch),
        array_of(version.index.patient for version in batch),
        array_of(version.index.date_low for version in batch),
        array_of(version.index.date_high for version in batch),
        [array_of(version.index.tokens) for version in batch],
        [version.content for version in batch],
    ]


def date_columns(batch: Sequence[NewVersion]) -> list[object]:
    """Return the columns of `fhir_date`, the owner's `self` first."""
    rows = [(v.key, date) for v in batch for date in v.index.dates]
    return [
        array_of(owner for owner, _ in rows),
        array_of(row.param for _, row in rows),
        array_of(row.low for _, row in rows),
        array_of(row.high for _, row in rows),
    ]


def quantity_columns(batch: Sequence[NewVersion]) -> list[object]:
    """Return the columns of `fhir_quantity`, the owner's `self` first."""
    rows = [(v.key, quantity) for v in batch for quantity in v.index.quantities]
    return [
        array_of(owner for owner, _ in rows),
        array_of(row.param for _, row in rows),
        array_of(row.low for _, row in rows),
        array_of(row.high for _, row in rows),
        array_of(row.canonical_low for _, row in rows),
        array_of(row.canonical_high for _, row in rows),
        array_of(row.unit for _, row in rows),
        array_of(row.code for _, row in rows),
        array_of(row.printed for _, row in rows),
    ]


def string_columns(batch: Sequence[NewVersion]) -> list[object]:
    """Return the columns of `fhir_string`, the owner's `self` first."""
    rows = [(v.key, string) for v in batch for string in v.index.strings]
    return [
        array_of(owner for owner, _ in rows),
        array_of(row.param for _, row in rows),
        [row.folded for _, row in rows],
        [row.exact for _, row in rows],
    ]


def array_of(values: Iterable[float | None]) -> str:
    """Return numbers as an array literal: one parameter type whatever their size."""
    listed = str(list(values))[1:-1]  # made in C, as most of a large bundle's parameters are
    return f"{{{listed.replace('None', 'NULL')}}}"


def key_hashes(keys: Iterable[tuple[str, str]]) -> list[int]:
    """Return the `self` hashes of `(type, id)` pairs."""
    return [self_hash(resource_type, rid) for resource_type, rid in keys]
