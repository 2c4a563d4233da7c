"""The change feed: every version in commit order, missed by none and read twice by none.

A sequence number of the writer would not do: a slow writer may commit a lower one after a reader
went past it. So writers only insert, and whoever reads numbers first: under the tenant's advisory
lock the next numbers go to what is committed and has none. What was numbered before is known by
its snapshot, so that finding the rest is one range of an index and no transaction of another
tenant or database holds the feed up. Versions found together keep the order of their insertion,
which for one resource is the order of its versions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir.definitions import type_name
from fhir.rows import METHODS
from fhir.sql import Row, fetch
from healthcloud.events.numbering import whole_tenant
from healthcloud.tenancy.scope import active_scope, tenant_scope

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s::text, 0))"
_SEEN: Final = (
    "h.xid >= (SELECT pg_snapshot_xmin(seen) FROM fhir_feed_state)"
    " AND CASE WHEN h.xid = (SELECT own FROM fhir_feed_state)"
    " THEN h.seq > (SELECT own_seq FROM fhir_feed_state)"
    " ELSE NOT pg_visible_in_snapshot(h.xid, (SELECT seen FROM fhir_feed_state)) END"
)
# A dump restored on another server has the numbers of that one's transactions no more.
_RESTORED: Final = "h.seq > (SELECT last_seq FROM fhir_feed_state)"
_IS_RESTORED: Final = (
    "SELECT pg_snapshot_xmax(seen) > pg_snapshot_xmax(pg_current_snapshot()) FROM fhir_feed_state"
)
_NUMBER: Final = """
WITH fresh AS (
    SELECT h.seq, row_number() OVER (ORDER BY h.seq) AS step FROM fhir_history h
    WHERE {condition} AND NOT EXISTS (SELECT 1 FROM fhir_feed f WHERE f.seq = h.seq)
), added AS (
    INSERT INTO fhir_feed (number, seq) SELECT state.last + fresh.step, fresh.seq
    FROM fresh CROSS JOIN fhir_feed_state state RETURNING number, seq
)
UPDATE fhir_feed_state SET last = last + (SELECT count(*) FROM added),
    last_seq = greatest(last_seq, (SELECT max(seq) FROM added)),
    seen = pg_current_snapshot(), own = pg_current_xact_id(),
    own_seq = CASE WHEN own = pg_current_xact_id() THEN own_seq ELSE 0 END
RETURNING last
"""
_SKIP: Final = (
    "UPDATE fhir_feed_state SET seen = pg_current_snapshot(), own = pg_current_xact_id(),"
    " own_seq = coalesce((SELECT max(seq) FROM fhir_history WHERE xid = pg_current_xact_id()), 0),"
    " last_seq = greatest(last_seq, (SELECT max(seq) FROM fhir_history)) RETURNING last"
)
_BEGIN: Final = "INSERT INTO fhir_feed_state DEFAULT VALUES ON CONFLICT DO NOTHING"
_LAST: Final = "SELECT coalesce(max(last), 0) FROM fhir_feed_state"
_CHANGES: Final = (
    "SELECT f.number, h.project, h.rtype, h.rid, h.version, h.method, h.updated, h.actor"
    " FROM fhir_feed f JOIN fhir_history h ON h.seq = f.seq"
    " WHERE f.number > %s::bigint ORDER BY f.number LIMIT %s::integer"
)
_CONTENTS: Final = (
    "SELECT f.number, h.content FROM fhir_feed f JOIN fhir_history h ON h.seq = f.seq"
    " WHERE f.number = ANY(%s::bigint[])"
)
_PURGE: Final = (
    "DELETE FROM fhir_feed f USING fhir_history h WHERE h.seq = f.seq AND f.number <= %s::bigint"
    " AND pg_visible_in_snapshot(h.xid, (SELECT seen FROM fhir_feed_state))"
    " AND h.xid <> (SELECT own FROM fhir_feed_state)"
)


@dataclass(frozen=True, slots=True)
class Change:
    """A version that was committed; `number` rises without gaps over all projects of a tenant."""

    number: int
    project: int
    resource_type: str
    id: str
    version: int
    method: str
    updated_at: datetime
    actor_id: str

    @property
    def reference(self) -> str:
        """Return `Type/id`."""
        return f"{self.resource_type}/{self.id}"

    @property
    def interaction(self) -> str:
        """Return what the version did to the resource: create, update or delete."""
        if self.method == "DELETE":
            return "delete"
        return "create" if self.method == "POST" or self.version == 1 else "update"


def number_changes() -> int:
    """Number what is committed in the active tenant and return the last number; safe to repeat.

    The lock is held until the caller's transaction ends.
    """
    with tenant_scope(whole_tenant(active_scope())) as scope:
        _lock(scope.schema)
        restored = fetch(_IS_RESTORED)[0][0]
        condition = _RESTORED if restored else _SEEN
        return int(fetch(_NUMBER.format(condition=condition))[0][0])


def skip_changes() -> int:
    """Leave what is committed without a number, where nobody waits for it; return the last one."""
    with tenant_scope(whole_tenant(active_scope())) as scope:
        _lock(scope.schema)
        return int(fetch(_SKIP)[0][0])


def _lock(schema: str) -> None:
    """Wait for other readers; a statement of its own, so that the next sees what they committed."""
    fetch(_LOCK, [f"healthcloud.fhir.feed.{schema}"])
    fetch(_BEGIN)


def last_change() -> int:
    """Return the highest number given in the active tenant, 0 when there is none."""
    return int(fetch(_LAST)[0][0])


def changes(*, after: int, limit: int = 500) -> list[Change]:
    """Return numbered changes after a number, oldest first, in the active scope.

    A scope over all projects of the organization sees the changes of all of them.
    """
    return [_change(row) for row in fetch(_CHANGES, (after, limit))]


def contents(found: Sequence[Change]) -> dict[int, bytes | None]:
    """Return the stored text of changes by number; that of a deletion is None."""
    numbers = "{" + ",".join(str(change.number) for change in found) + "}"
    return dict(fetch(_CONTENTS, (numbers,)))


def purge_changes(*, through: int) -> None:
    """Forget numbers that every consumer is past; the versions themselves stay."""
    with tenant_scope(whole_tenant(active_scope())):
        fetch(_PURGE, (through,))


def _change(row: Row) -> Change:
    number, project, rtype, rid, version, method, updated, actor = row
    return Change(
        number=number,
        project=project,
        resource_type=type_name(rtype),
        id=rid.decode(),
        version=version,
        method=METHODS[method],
        updated_at=updated,
        actor_id=actor.decode(),
    )
