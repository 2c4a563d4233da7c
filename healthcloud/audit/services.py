"""Record who did what: one INSERT in the transaction of the action."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeAlias

from healthcloud.actors import Actor
from healthcloud.audit.models import AuditEvent
from healthcloud.tenancy.scope import active_scope

Outcome: TypeAlias = Literal["success", "denied", "failure"]


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
    return AuditEvent.objects.create(
        project_id=project_id or scope.project_id or "",
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_label=actor.label[:200],
        action=action,
        target_type=target_type,
        target_id=target_id,
        outcome=outcome,
        details=dict(details or {}),
        request_id=request_id or "",
        created_at=now,
    )
