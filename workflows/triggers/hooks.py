"""Webhook triggers: a signed request from outside starts a run, once for each message id."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.apps import apps

from healthcloud.errors import NotFound, Unauthorized
from healthcloud.tenancy.scope import Scope, tenant_scope
from workflows.models import Run, Trigger
from workflows.triggers.firing import start
from workflows.triggers.services import secret_of
from workflows.triggers.signing import is_authentic


class HookNotFound(NotFound):
    """Nothing listens at this address, or nothing that could check a signature."""

    def __init__(self) -> None:
        super().__init__("There is no webhook here, or it has no secret yet.")


def receive(
    *,
    environment_id: str,
    trigger_id: str,
    headers: Mapping[str, str],
    content: bytes,
    body: dict[str, Any],
    now: datetime,
) -> Run | None:
    """Start a run for a request; None when the trigger's condition does not hold.

    Opens its transactions itself: the address alone says whose it is. Header names are in lower
    case. Raises HookNotFound, Unauthorized, and what `runs.start` raises.
    """
    with tenant_scope(_whole(environment_id)) as scope:
        found = Trigger.objects.select_related("workflow")
        trigger = found.filter(id=trigger_id, kind="webhook", active=True).first()
        secret = secret_of(trigger) if trigger is not None else None
    if trigger is None or secret is None:
        raise HookNotFound
    if not is_authentic(secret, headers, content, now):
        raise Unauthorized("The signature is missing, too old, or made with another secret.")
    message = headers.get("webhook-id", "")[:100]
    with tenant_scope(_narrowed(scope, trigger.project_id)):
        return start(
            trigger,
            {"kind": "webhook", "id": trigger.id, "body": body},
            dict(body),
            now,
            told={"message_id": message} if message else {},
            key=f"{trigger.id}:{message}" if message else None,
        )


def _whole(environment_id: str) -> Scope:
    environments: Any = apps.get_model("organizations", "Environment").objects
    found = environments.filter(id=environment_id, status="active").first()
    if found is None:
        raise HookNotFound
    scope: Scope = found.scope()
    return scope


def _narrowed(scope: Scope, project_id: str) -> Scope:
    projects: Any = apps.get_model("organizations", "Project").objects
    project = projects.get(id=project_id, organization_id=scope.organization_id)
    return scope.in_project(project.id, project.number)
