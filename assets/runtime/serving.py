"""Which deployment and release answer a call, and the context they are called with."""

from collections.abc import Mapping
from datetime import datetime

from assets import queries, registry
from assets.models import Deployment, DeploymentStatus, Release
from assets.runtime.context import CallContext, context_of
from assets.runtime.slots import ClosedSlot, Produced, SlotHandle, Slots
from healthcloud.errors import Conflict
from healthcloud.tenancy.scope import Scope


class NotRunning(Conflict):
    """The asset has no deployment here that answers calls; `details` hold the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}", details={"code": "not_running", "remedy": remedy})


class StillStarting(NotRunning):
    """The deployment is on its way to its first release; it answers calls in a moment."""


def serving(deployment: Deployment | str, scope: Scope) -> tuple[Deployment, Release]:
    """Return the deployment and the release that answers calls.

    Raises StillStarting before the first release serves, and NotRunning for any other reason.
    """
    found = find(deployment, scope)
    if found.status == DeploymentStatus.STOPPED:
        raise NotRunning(
            f"The deployment of {found.asset_id} is stopped.",
            f"Start it: POST /v1/deployments/{found.id}/start.",
        )
    if found.serving_number is None and found.status == DeploymentStatus.FAILED:
        raise NotRunning(
            f"The deployment of {found.asset_id} has failed.",
            f"See GET /v1/deployments/{found.id} for what to do.",
        )
    if found.serving_number is None:
        raise StillStarting(
            f"The deployment of {found.asset_id} is {found.status}.", "Wait for deployment.active."
        )
    return found, queries.release(found, found.serving_number)


def find(deployment: Deployment | str, scope: Scope) -> Deployment:
    if isinstance(deployment, Deployment):
        return deployment
    if deployment.startswith("dep_"):
        return queries.deployment(deployment)
    manifest = registry.get(deployment)
    found = queries.deployment_of(manifest.id, scope.project_id or "")
    if found is None:
        installed = queries.installation_of(manifest.id, scope.project_id or "") is not None
        install = f'POST /v1/assets/install {{"asset_id": "{manifest.id}"}}, then '
        raise NotRunning(
            f"{manifest.id} is not deployed in this project.",
            f'{"" if installed else install}POST /v1/deployments {{"asset_id": "{manifest.id}"}}.',
        )
    return found


def call_context(
    deployment: Deployment,
    release: Release,
    *,
    scope: Scope,
    now: datetime,
    idempotency_key: str,
    parent: Mapping[str, str] | None = None,
) -> tuple[CallContext, list[Produced]]:
    """Return the call's context with its slots, and the list that collects what slots produce."""
    context = context_of(
        deployment,
        release,
        scope=scope,
        now=now,
        run_id="",
        idempotency_key=idempotency_key,
    )
    context.parent = parent
    collected: list[Produced] = []
    context.slots = _slots(release, collected, context)
    return context, collected


def _slots(release: Release, collected: list[Produced], caller: CallContext) -> Slots:
    slots: dict[str, SlotHandle | ClosedSlot] = {}
    for name, filled in release.slots.items():
        found = queries.deployments().filter(id=filled["deployment_id"]).first()
        if found is None or found.serving_number is None or found.status == "stopped":
            slots[name] = ClosedSlot(name, filled["asset_id"], filled["deployment_id"])
            continue
        inner = context_of(
            found,
            queries.release(found, found.serving_number),
            scope=caller.scope,
            now=caller.now,
            run_id="",
            idempotency_key=f"{caller.idempotency_key}/{name}",
        )
        inner.parent = caller.parent
        slots[name] = SlotHandle(name, inner, collected)
    return slots
