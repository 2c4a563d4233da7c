"""Publish an event: one INSERT in the transaction of what happened."""

import json
from collections.abc import Mapping
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
from healthcloud.tenancy.scope import active_scope

DISPATCH_KIND: Final = "events.dispatch"
# One statement: the row, whether anyone inside waits for events, and which transaction this is.
_INSERT: Final = """
INSERT INTO events_event (event_id, project_id, type, source, severity, payload, actor_kind,
                          actor_id, request_id, causation_id, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
RETURNING position, EXISTS (SELECT 1 FROM events_listener), pg_current_xact_id()::text
"""


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
    declared = catalog.lookup(type)
    catalog.validate(declared, payload)
    scope = active_scope()
    event = Event(
        event_id=new_event_id(),
        project_id=project_id or scope.project_id or "",
        type=type,
        source=source or declared.source,
        severity=severity or declared.severity,
        payload=dict(payload),
        actor_kind=actor.kind,
        actor_id=actor.id,
        request_id=request_id or current_request_id(),
        causation_id=causation_id or "",
        created_at=now,
    )
    awaited, transaction_id = _insert(event)
    if awaited:
        enqueue(
            scope=whole_tenant(scope),
            kind=DISPATCH_KIND,
            ref=transaction_id,
            dedupe_key=transaction_id,
        )
    doorbell.ring_after_commit(scope.schema)
    return event


def _insert(event: Event) -> tuple[bool, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT,
            [
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
            ],
        )
        event.position, awaited, transaction_id = cursor.fetchone()
    event._state.adding = False
    event._state.db = connection.alias
    return awaited, transaction_id
