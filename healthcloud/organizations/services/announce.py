"""Audit and event of a change, in each tenant that the change concerns."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from healthcloud.actors import Actor
from healthcloud.audit import services as audit
from healthcloud.events import services as events
from healthcloud.organizations.models import Environment
from healthcloud.tenancy.scope import tenant_scope


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to what; `event` is None for a change that only the audit trail keeps."""

    action: str
    target_type: str
    target_id: str
    event: str | None = None
    payload: Mapping[str, object] = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)
    project_id: str | None = None


def announce(
    change: Change, *, environments: Iterable[Environment], actor: Actor, now: datetime
) -> None:
    """Record the change in each environment, inside the caller's transaction."""
    for environment in environments:
        with tenant_scope(environment.scope()):
            audit.record(
                actor=actor,
                action=change.action,
                target_type=change.target_type,
                target_id=change.target_id,
                details=change.details,
                project_id=change.project_id,
                now=now,
            )
            if change.event is not None:
                events.publish(
                    type=change.event,
                    payload=change.payload,
                    actor=actor,
                    project_id=change.project_id,
                    now=now,
                )


def environments_of(organization_id: str) -> list[Environment]:
    """Return the environments of an organization that are in use."""
    return list(
        Environment.objects.filter(
            organization_id=organization_id, status=Environment.Status.ACTIVE
        ).order_by("kind")
    )
