"""Reading the trail; call inside `tenant_scope`."""

from healthcloud.audit.models import AuditEvent
from healthcloud.tenancy.scope import Scope


def as_dict(event: AuditEvent, scope: Scope) -> dict[str, object]:
    """Return the JSON form of an audit event."""
    return {
        "id": event.event_id,
        "object": "audit_event",
        "action": event.action,
        "actor": {"kind": event.actor_kind, "id": event.actor_id, "label": event.actor_label},
        "target": {"type": event.target_type, "id": event.target_id},
        "outcome": event.outcome,
        "details": event.details,
        "request_id": event.request_id or None,
        "created_at": event.created_at.isoformat().replace("+00:00", "Z"),
        "organization_id": scope.organization_id,
        "project_id": event.project_id or None,
        "environment": scope.environment,
    }
