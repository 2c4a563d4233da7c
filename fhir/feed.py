"""The change feed: every version in commit order, missed by none and read twice by none.

A sequence number alone would not do: a slow writer may commit a lower number after a reader went
past it. So a reader takes versions of transactions that are older than any still running, ordered
by transaction and then by number; what such a reader has seen is complete. The price is that the
feed waits for the oldest running transaction of the server, so that those must stay short.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir.definitions import type_name
from fhir.rows import METHODS
from fhir.sql import fetch

_CHANGES: Final = (
    "SELECT h.xid::text::bigint, h.seq, h.project, h.rtype, h.rid, h.version, h.method, h.updated"
    " FROM fhir_history h"
    " WHERE (h.xid, h.seq) > (%s::bigint::text::xid8, %s::bigint)"
    " AND h.xid < pg_snapshot_xmin(pg_current_snapshot())"
    " ORDER BY h.xid, h.seq LIMIT %s::integer"
)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the feed: after the version with this transaction and sequence number."""

    transaction: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A version that was committed; `fhir.store.vread` has its content."""

    position: Position
    project: int
    resource_type: str
    id: str
    version: int
    method: str
    updated_at: datetime


def changes(*, after: Position, limit: int = 500) -> list[Change]:
    """Return what was committed after a position, oldest first, in the active scope.

    A scope over all projects of the organization sees the changes of all of them.
    """
    rows = fetch(_CHANGES, (after.transaction, after.sequence, limit))
    return [
        Change(
            position=Position(xid, seq),
            project=project,
            resource_type=type_name(number),
            id=rid.decode(),
            version=version,
            method=METHODS[method],
            updated_at=updated,
        )
        for xid, seq, project, number, rid, version, method, updated in rows
    ]
