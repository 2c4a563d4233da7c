"""Publish an event: one INSERT in the transaction of what happened."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from django.db import connection

from healthcloud.actors import Actor
from healthcloud.api.request_ids import current_request_id
from healthcloud.events import catalog, doorbell
from healthcloud.events.catalog import Severity
from healthcloud.events.models import Event, new_event_id
from healthcloud.events.numbering import whole_tenant
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import Scope, active_scope

DISPATCH_KIND: Final = "events.dispatch"
# One statement: the rows, whether anyone inside waits for events, and which transaction this is.
_INSERT: Final = """
INSERT INTO events_event (event_id, project_id, type, source, severity, payload, actor_kind,
                          actor_id, request_id, causation_id, created_at)
VALUES {}
RETURNING position, EXISTS (SELECT 1 FROM events_listener), pg_current_xact_id()::text
"""
_ROW: Final = "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"

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
    the scope's; an organization-wide scope may name one. Raises UnknownEventType, InvalidPayload.
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
    if events:
        _record(events, active_scope())
    return events


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
    awaited, transaction_id = _insert(events)
    if awaited:
        enqueue(
            scope=whole_tenant(scope),
            kind=DISPATCH_KIND,
            ref=transaction_id,
            dedupe_key=transaction_id,
        )
    doorbell.ring_after_commit(scope.schema)


def _insert(events: Sequence[Event]) -> tuple[bool, str]:
    values = [value for event in events for value in _values(event)]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT.format(", ".join([_ROW] * len(events))), values)
        rows = cursor.fetchall()
    for event, (position, _, _) in zip(events, rows, strict=True):
        event.position = position
        event._state.adding = False
        event._state.db = connection.alias
    _, awaited, transaction_id = rows[0]
    return awaited, transaction_id


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
