"""Publish an event: one INSERT in the transaction of what happened, sent with its neighbors."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from django.db import connection, transaction

from healthcloud.actors import Actor
from healthcloud.api.request_ids import current_request_id
from healthcloud.events import catalog, doorbell
from healthcloud.events.catalog import Severity
from healthcloud.events.models import Event, new_event_id
from healthcloud.ledger.doorbell import ring, ring_after_commit
from healthcloud.ledger.models import Queue
from healthcloud.tenancy.backend.ahead import Rows
from healthcloud.tenancy.batch import send_later
from healthcloud.tenancy.pipeline import Statement
from healthcloud.tenancy.scope import Scope, active_scope

DISPATCH_KIND: Final = "events.dispatch"
# Asks for dispatch, once a message, if anyone inside waits for events.
_ASK: Final = """
SELECT 1 FROM (SELECT FROM events_listener LIMIT 1) awaited CROSS JOIN LATERAL
    public.ledger_enqueue(%s, %s, %s, %s, NULL, NULL, %s, pg_current_xact_id()::text, %s, NULL,
                          pg_current_xact_id()::text)
"""
# One plan for any number of events: a list for each column.
_INSERT: Final = """
INSERT INTO events_event (event_id, project_id, type, source, severity, payload, actor_kind,
                          actor_id, request_id, causation_id, created_at)
SELECT event_id, project_id, type, source, severity, payload::jsonb, actor_kind, actor_id,
       request_id, causation_id, created_at::timestamptz
  FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
              %s::text[], %s::text[], %s::text[], %s::text[])
       WITH ORDINALITY AS happened (event_id, project_id, type, source, severity, payload,
                                    actor_kind, actor_id, request_id, causation_id, created_at, n)
 ORDER BY n
"""

Happening = tuple[str, Mapping[str, object], datetime]
"""The type, payload and time of an event."""


def publish(
    *,
    type: str,
    payload: Mapping[str, object],
    actor: Actor,
    now: datetime,
    severity: Severity | None = None,
    source: str | None = None,
    causation_id: str | None = None,
    project_id: str | None = None,
    request_id: str | None = None,
) -> Event:
    """Record that something happened; it exists if and when the caller's transaction commits.

    Call inside `tenant_scope`. `payload` holds ids and facts, never PHI, as the catalog declares
    for `type` (or any, for `custom.…`); severity and source come from the catalog. The project is
    the scope's; an organization-wide scope may name one. `position` is known once the row was
    sent, which any later statement or the commit does. Raises UnknownEventType, InvalidPayload.
    """
    scope = active_scope()
    event = _event(type, payload, actor, now)
    event.project_id = project_id or event.project_id
    event.source = source or event.source
    event.severity = severity or event.severity
    event.request_id = request_id or event.request_id
    event.causation_id = causation_id or ""
    _record([event], scope)
    return event


def publish_all(happenings: Sequence[Happening], *, actor: Actor) -> list[Event]:
    """Publish what one doer did, in its order, as `publish` does but by one statement."""
    events = [_event(type_, payload, actor, now) for type_, payload, now in happenings]
    publish_composed(events)
    return events


def compose(
    type: str,
    payload: Mapping[str, object],
    now: datetime,
    actor: Actor,
    severity: Severity | None = None,
) -> Event:
    """Return an event that `publish_composed` or `recording` writes; raises as `publish` does."""
    event = _event(type, payload, actor, now)
    event.severity = severity or event.severity
    return event


def publish_composed(events: Sequence[Event]) -> None:
    """Publish composed events, as `publish` does."""
    if events:
        _record(events, active_scope())


def recording(events: Sequence[Event]) -> list[Statement]:
    """Return two statements that publish composed events; `announce_after_commit` goes with them.

    For who writes in one group of statements; the rows of the second are for the announcement.
    """
    scope = active_scope()
    owner = (scope.organization_id, scope.environment_id, scope.environment, scope.schema)
    return [
        Statement(_INSERT, _columns(events), prepare=True),
        Statement(_ASK, (*owner, DISPATCH_KIND, Queue.CONTROL.value), prepare=True),
    ]


def announce_after_commit(asked: Sequence[object]) -> None:
    """Tell those who wait for events, once they are committed."""
    if asked:
        ring_after_commit(Queue.CONTROL)
    doorbell.ring_after_commit(active_scope().schema)


def _event(type_: str, payload: Mapping[str, object], actor: Actor, now: datetime) -> Event:
    declared = catalog.lookup(type_)
    catalog.validate(declared, payload)
    return Event(
        event_id=new_event_id(),
        project_id=active_scope().project_id or "",
        type=type_,
        source=declared.source,
        severity=declared.severity,
        payload=dict(payload),
        actor_kind=actor.kind,
        actor_id=actor.id,
        request_id=current_request_id(),
        causation_id="",
        created_at=now,
    )


def _record(events: Sequence[Event], scope: Scope) -> None:
    def number(rows: Rows) -> None:
        for event, (position,) in zip(events, rows, strict=True):
            event.position = position

    for event in events:
        event._state.adding = False
        event._state.db = connection.alias
    send_later(f"{_INSERT} RETURNING position", _columns(events), then=number, prepare=True)
    _ask_for_dispatch(scope)
    doorbell.ring_after_commit(scope.schema)


class _Dispatch:
    """Rings, after the commit, for the dispatch that was asked for in one message."""

    def __init__(self, schema: str) -> None:
        self.schema = schema
        self.waiting = True  # whether what is published now still goes with this message
        self.asked = False

    def told(self, rows: Rows) -> None:
        self.waiting = False
        self.asked = bool(rows)

    def __call__(self) -> None:
        if self.asked:
            ring(Queue.CONTROL)


def _ask_for_dispatch(scope: Scope) -> None:
    for entry in connection.run_on_commit:
        hook = entry[1]
        if isinstance(hook, _Dispatch) and hook.waiting and hook.schema == scope.schema:
            return
    dispatch = _Dispatch(scope.schema)
    owner = (scope.organization_id, scope.environment_id, scope.environment, scope.schema)
    asking = (*owner, DISPATCH_KIND, Queue.CONTROL.value)
    send_later(_ASK, asking, then=dispatch.told, prepare=True)
    transaction.on_commit(dispatch, robust=True)


def _columns(events: Sequence[Event]) -> list[list[str]]:
    columns = zip(*(_values(event) for event in events), strict=True)
    return [[str(value) for value in column] for column in columns]


def _values(event: Event) -> list[str | datetime]:
    return [
        event.event_id,
        event.project_id,
        event.type,
        event.source,
        event.severity,
        json.dumps(event.payload),
        event.actor_kind,
        event.actor_id,
        event.request_id,
        event.causation_id,
        event.created_at,
    ]
