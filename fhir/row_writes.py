"""The SQL that writes versions: any number of them in one statement, with all that belongs to them.

Current row, history, index rows, the trail and the request to hand the change on are one
statement, so that a create and a bundle of hundreds each cost one round trip. Versions of several
requests that come at the same time share a statement, too (`docs/decisions/0170`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Final

from fhir.rows import (
    NewVersion,
    array_of,
    date_columns,
    quantity_columns,
    resource_columns,
    string_columns,
)
from fhir.sql import Row, Statement, fetch
from healthcloud.actors import Actor
from healthcloud.audit.services import Note, recording
from healthcloud.tenancy.pipeline import moments
from healthcloud.tenancy.scope import Joint, execute, execute_jointly

BATCH_SIZE: Final = 250
_CLEAR: Final = "".join(
    f", clear_{table} AS (DELETE FROM fhir_{table} WHERE resource = ANY(%s::bigint[]))"
    for table in ("date", "quantity", "string")
)
_WRITE: Final = """
WITH x AS (
    SELECT * FROM unnest(%s::bigint[], %s::smallint[], %b::text[], %s::integer[], %s::smallint[],
        %s::bigint[], %s::bigint[], %s::bigint[], %b::text[], %b::text[], %s::timestamptz[])
    AS x(self, rtype, rid, version, method, patient, date_low, date_high, tokens, content, updated)
    WHERE coalesce((SELECT generation FROM fhir_parameter_state
        WHERE project = %s::integer), 0) = %s::bigint{unless}
), r AS (
    INSERT INTO fhir_resource AS current (self, updated, patient, date_low, date_high, project,
        version, rtype, rid, tokens, content)
    SELECT self, updated, patient, date_low, date_high, %s::integer, version, rtype, rid,
        tokens::bigint[], content FROM x
    ON CONFLICT (project, rtype, rid) DO UPDATE SET updated = EXCLUDED.updated,
        patient = EXCLUDED.patient, date_low = EXCLUDED.date_low, date_high = EXCLUDED.date_high,
        version = EXCLUDED.version, tokens = EXCLUDED.tokens, content = EXCLUDED.content
    WHERE current.version = EXCLUDED.version - 1
    RETURNING pk, self, rtype
), h AS (
    INSERT INTO fhir_history (updated, project, version, rtype, method, rid, actor, content)
    SELECT x.updated, %s::integer, x.version, x.rtype, x.method, x.rid, %s::text, x.content
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


# The number of matches is left for the next statement of the same transaction.
_MATCHED: Final = """
WITH m AS MATERIALIZED ({search}),
n AS MATERIALIZED (SELECT set_config('hc.matched', count(*)::text, true) AS matched FROM m)
SELECT n.matched, m.* FROM n LEFT JOIN m ON n.matched <> '0'
"""
_UNLESS: Final = " AND current_setting('hc.matched') = '0'"


@dataclass(slots=True)
class Written:
    """The `self` of the versions written, and the queue in which their dispatch waits, if any."""

    keys: set[int]
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Writing:
    """What versions share that are written by one statement.

    `dispatch` is a row source that asks for the changes to be handed over. All versions are left
    out unless `generation` is the state of the project's search parameters.
    """

    project: int
    project_id: str
    actor: Actor
    generation: int
    dispatch: Statement


@dataclass(frozen=True, slots=True)
class _Item:
    version: NewVersion
    updated: datetime
    note: Note


def write_versions(
    versions: Sequence[NewVersion], writing: Writing, *, updated: datetime
) -> Written:
    """Write versions with index rows and history; return which were written.

    A version whose predecessor is no longer the current one is left out: somebody else wrote. The
    trail is the caller's.
    """
    ordered = sorted(versions, key=lambda version: version.key)
    written = Written(set())
    for start in range(0, len(ordered), BATCH_SIZE):
        batch = ordered[start : start + BATCH_SIZE]
        statement = _statement(batch, [updated] * len(batch), writing, Statement(""))
        for key, queue in fetch(statement.sql, statement.params, prepare=True):
            written.keys.add(key)
            written.queue = queue and queue.decode()
    return written


def write_recorded(
    version: NewVersion, writing: Writing, *, updated: datetime, note: Note
) -> Written:
    """Write one version as `write_versions` does, and its note in the trail with it.

    It may share its statement with versions of other requests of the same actor.
    """
    rows = execute_jointly(
        Joint(
            kind=("fhir.write", writing.project, writing.actor, writing.generation),
            own=version.key,
            item=_Item(version, updated, note),
            build=partial(_joined, writing),
        )
    )
    keys = {key for key, _ in rows} & {version.key}
    is_first = bool(keys) and rows[0][0] == version.key  # one of them asks for what follows
    queue = rows[0][1] if is_first else None
    return Written(keys, queue and queue.decode())


def write_unless(
    version: NewVersion,
    writing: Writing,
    *,
    updated: datetime,
    note: Note,
    lock: Statement,
    search: Statement,
) -> tuple[Written, list[Row]]:
    """Write one version and its note unless a search, made under a lock, finds something.

    All is one round trip. Returns the rows that the search found, too.
    """
    noted = _recording(writing, [note])
    write = _statement([version], [updated], writing, noted, unless=_UNLESS)
    matched = Statement(_MATCHED.format(search=search.sql), search.params, prepare=False)
    _, found, rows = execute([lock, matched, write])
    queue = rows[0][1] if rows else None
    keys = {key for key, _ in rows}
    return Written(keys, queue and queue.decode()), [row[1:] for row in found if row[0] != b"0"]


def _recording(writing: Writing, notes: Sequence[Note]) -> Statement:
    return recording(source="r", actor=writing.actor, project_id=writing.project_id, notes=notes)


def _joined(writing: Writing, items: Sequence[_Item]) -> Statement:
    ordered = sorted(items, key=lambda item: item.version.key)
    noted = _recording(writing, [item.note for item in ordered])
    versions = [item.version for item in ordered]
    return _statement(versions, [item.updated for item in ordered], writing, noted)


def _statement(
    batch: Sequence[NewVersion],
    updated: Sequence[datetime],
    writing: Writing,
    audited: Statement,
    unless: str = "",
) -> Statement:
    """Return the statement that writes; `audited` are further members of WITH that read `r`."""
    replaced = [version.pk for version in batch if version.pk is not None]
    clear = [array_of(replaced)] * 3 if replaced else []
    project = writing.project
    params = [
        *(*resource_columns(batch), moments(updated)),
        *(project, writing.generation),
        *(project, project, writing.actor.id),
        *clear,
        *(project, *date_columns(batch)),
        *(project, *quantity_columns(batch)),
        *(project, *string_columns(batch)),
        *writing.dispatch.params,
        *audited.params,
    ]
    sql = _writing(writing.dispatch.sql, audited.sql, unless, replaces=bool(replaced))
    return Statement(sql, params, prepare=True)


@lru_cache(maxsize=16)
def _writing(dispatch: str, audited: str, unless: str, *, replaces: bool) -> str:
    clear = _CLEAR if replaces else ""
    return _WRITE.format(clear=clear, dispatch=dispatch, audited=audited, unless=unless)
