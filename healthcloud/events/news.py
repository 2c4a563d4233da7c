"""What is new in a tenant, numbered and read in one round trip: for the feeds, which look often."""

import json
from typing import Final

from healthcloud.events.models import Event
from healthcloud.events.numbering import BATCH, LOCK, NUMBER, ask_for_retention, lock_name
from healthcloud.tenancy.pipeline import Row, Statement
from healthcloud.tenancy.scope import DirectEntry, Scope, direct_scope, execute

_ALWAYS: Final = Statement("FROM (SELECT) always")
_NUMBERED: Final = f"WITH done AS ({NUMBER} RETURNING 1) SELECT count(*) FROM done"  # noqa: S608
_KNOWN: Final = """
SELECT (SELECT coalesce(max(sequence), 0) FROM events_event),
       (SELECT event_id FROM events_event WHERE sequence = %s)
"""
_READ: Final = """
SELECT position, event_id, sequence, project_id, type, source, severity, payload::text, actor_kind,
       actor_id, request_id, causation_id, created_at
  FROM events_event WHERE sequence > %s ORDER BY sequence LIMIT %s
"""


def read_news(scope: Scope, after: int, after_id: str, *, limit: int) -> list[Event] | None:
    """Return what followed the event of number `after`, of the whole tenant, in order.

    None when that number now belongs to another event, as after a reset of the sandbox. Outside
    a transaction the group of statements is one; the lock is held until its end.
    """
    with direct_scope(DirectEntry(scope, _ALWAYS, readonly=False)):
        _, ((numbered,),), ((last, known_id),), rows = execute(
            [
                Statement(LOCK, (lock_name(scope),), prepare=True),
                Statement(_NUMBERED, (BATCH,), prepare=True),
                Statement(_KNOWN, (after,), prepare=True),
                Statement(_READ, (after, limit), prepare=True),
            ]
        )
    ask_for_retention(scope, last - numbered, last)
    known = "" if known_id is None else known_id.decode()
    if last < after or (last > after and known not in {after_id, ""}):
        return None
    return [_event(row) for row in rows]


def _event(row: Row) -> Event:
    values = [value.decode() if isinstance(value, bytes) else value for value in row]
    values[7] = json.loads(values[7])
    names = (
        *("position", "event_id", "sequence", "project_id", "type", "source", "severity"),
        *("payload", "actor_kind", "actor_id", "request_id", "causation_id", "created_at"),
    )
    return Event(**dict(zip(names, values, strict=True)))
