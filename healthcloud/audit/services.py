"""Record who did what: one statement in the transaction of the action, sent with its commit."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, Literal, TypeAlias

from django.db import connection

from healthcloud.actors import Actor
from healthcloud.api.request_ids import current_request_id
from healthcloud.audit.models import AuditEvent, new_audit_event_id
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.backend.ahead import Rows
from healthcloud.tenancy.batch import send_later
from healthcloud.tenancy.pipeline import Statement, moments
from healthcloud.tenancy.scope import Scope, active_scope, after_commit

Outcome: TypeAlias = Literal["success", "denied", "failure"]
CHAIN_KIND: Final = "audit.chain"
CHAIN_EVERY_SECONDS: Final = 30.0
_INSERT: Final = """
WITH recorded AS (
    INSERT INTO audit_auditevent (event_id, project_id, actor_kind, actor_id, actor_label, action,
                                  target_type, target_id, outcome, details, request_id, created_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    RETURNING position)
INSERT INTO audit_auditpending (position) SELECT position FROM recorded RETURNING position
"""
# The same as members of the WITH of a statement that writes the rows which are recorded.
_INSERT_WITH: Final = """
, audited AS (
    INSERT INTO audit_auditevent (event_id, project_id, actor_kind, actor_id, actor_label, action,
                                  target_type, target_id, outcome, details, request_id, created_at)
    SELECT n.event_id, %s::text, %s::text, %s::text, %s::text, n.action, n.target_type,
           n.target_id, 'success', n.details::jsonb, n.request_id, n.created_at
    FROM {source} JOIN unnest(%s::bigint[], %b::text[], %b::text[], %b::text[], %b::text[],
        %b::text[], %b::text[], %s::timestamptz[])
    AS n(self, event_id, action, target_type, target_id, details, request_id, created_at)
    USING (self)
    RETURNING position
), audit_pending AS (
    INSERT INTO audit_auditpending (position) SELECT position FROM audited
)
"""
_asked_at: dict[str, float] = {}  # tenant → when this process last asked for its chain


def record(
    *,
    actor: Actor,
    action: str,
    target_type: str,
    target_id: str,
    now: datetime,
    outcome: Outcome = "success",
    details: Mapping[str, object] | None = None,
    request_id: str | None = None,
    project_id: str | None = None,
) -> AuditEvent:
    """Add to the tenant's trail, inside `tenant_scope`; it commits or fails with the action.

    `action` is `noun.verb` as in `api_key.revoke`; `details` holds ids and plain facts, never
    clinical content or secrets. The row joins the hash chain after its commit.
    """
    scope = active_scope()
    event = AuditEvent(
        event_id=new_audit_event_id(),
        project_id=project_id or scope.project_id or "",
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_label=actor.label[:200],
        action=action,
        target_type=target_type,
        target_id=target_id,
        outcome=outcome,
        details=dict(details or {}),
        request_id=request_id or current_request_id(),
        created_at=now,
    )
    _insert(event)
    ask_for_chain_after_commit()
    return event


def entry(
    *,
    actor: Actor,
    action: str,
    target_type: str,
    target_id: str,
    now: datetime,
    details: Mapping[str, object],
) -> Statement:
    """Return the statement that records a success, for who writes in one group of statements.

    Call `ask_for_chain_after_commit` with it.
    """
    values = (
        *(new_audit_event_id(), active_scope().project_id or ""),
        *(actor.kind, actor.id, actor.label[:200], action, target_type, target_id, "success"),
        *(json.dumps(details), current_request_id(), now),
    )
    return Statement(_INSERT, values, prepare=True)


@dataclass(frozen=True, slots=True)
class Note:
    """A success that is recorded with the row that has its number as `self`."""

    number: int
    action: str
    target_type: str
    target_id: str
    details: Mapping[str, object]
    now: datetime
    request_id: str = field(default_factory=current_request_id)
    event_id: str = field(default_factory=new_audit_event_id)


def recording(
    *, source: str, actor: Actor, project_id: str | None, notes: Sequence[Note]
) -> Statement:
    """Return further members of a WITH that record a note for each row of `source` it is about.

    For actions that are a single statement, inside `tenant_scope` or `direct_scope`; call
    `ask_for_chain_after_commit` with it.
    """
    values = (
        *(project_id or "", actor.kind, actor.id, actor.label[:200]),
        [note.number for note in notes],
        [note.event_id for note in notes],
        [note.action for note in notes],
        [note.target_type for note in notes],
        [note.target_id for note in notes],
        [json.dumps(note.details) for note in notes],
        [note.request_id for note in notes],
        moments([note.now for note in notes]),
    )
    return Statement(_INSERT_WITH.format(source=source), values)


def ask_for_chain_after_commit() -> None:
    """Let what was recorded join the hash chain once it has committed."""
    scope = active_scope()
    if _is_chain_due(scope):
        after_commit(partial(_ask_for_chain, scope))


def _insert(event: AuditEvent) -> None:
    def place(rows: Rows) -> None:
        ((event.position,),) = rows

    parameters = (
        event.event_id,
        event.project_id,
        event.actor_kind,
        event.actor_id,
        event.actor_label,
        event.action,
        event.target_type,
        event.target_id,
        event.outcome,
        json.dumps(event.details),
        event.request_id,
        event.created_at,
    )
    send_later(_INSERT, parameters, then=place, prepare=True)
    event._state.adding = False
    event._state.db = connection.alias


def _is_chain_due(scope: Scope) -> bool:
    return time.monotonic() - _asked_at.get(scope.schema, -CHAIN_EVERY_SECONDS) >= (
        CHAIN_EVERY_SECONDS
    )


def _ask_for_chain(scope: Scope) -> None:
    """Ask for the tenant's chain to be extended, at most twice a minute from each process."""
    if not _is_chain_due(scope):
        return
    _asked_at[scope.schema] = time.monotonic()
    enqueue(scope=scope, kind=CHAIN_KIND, ref=scope.environment_id, dedupe_key="chain")
