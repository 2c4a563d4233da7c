"""Carry out a deploy: validating → provisioning (the asset's own check) → active, or failed."""

from collections.abc import Sequence
from datetime import datetime

from assets import configuration, queries, registry
from assets.models import DEPLOYING, Deployment, DeploymentStatus, Release
from assets.registry import AssetNotFound
from assets.runtime.context import CallContext, context_of
from assets.sdk import AssetError, Probe
from assets.services.health import record_check, run_probes, schedule_health
from assets.services.trace import deployment_changed, write_log
from healthcloud.actors import Actor
from healthcloud.errors import HealthCloudError
from healthcloud.tenancy.scope import Scope, active_scope, tenant_scope


def carry_out(*, scope: Scope, deployment_id: str, actor: Actor, now: datetime) -> None:
    """Take a deployment to its target release. Safe to repeat at any point.

    The vendor is called with no transaction open. A deployment that was stopped, or given a newer
    release meanwhile, is left as it is.
    """
    with tenant_scope(scope):
        validated = _validate(deployment_id, actor=actor, now=now)
    if validated is None:
        return
    context, number = validated
    probes = run_probes(context)
    with tenant_scope(scope):
        _settle(deployment_id, number, probes, context, actor=actor, now=now)


def give_up(*, scope: Scope, deployment_id: str, actor: Actor, now: datetime) -> None:
    """Mark a deployment failed whose due work failed too often for a reason of ours."""
    with tenant_scope(scope):
        deployment = _on_its_way(deployment_id)
        if deployment is not None:
            error = AssetError(
                "internal_error",
                "The deploy broke off for a reason of the platform's.",
                retryable=True,
                remedy=f"Try again: POST /v1/deployments/{deployment_id}/start.",
            )
            fail(deployment, error, (), actor=actor, now=now)


def _on_its_way(deployment_id: str) -> Deployment | None:
    return (
        Deployment.objects.select_for_update(of=("self",))
        .select_related("installation")
        .filter(id=deployment_id, status__in=DEPLOYING)
        .first()
    )


def _validate(deployment_id: str, *, actor: Actor, now: datetime) -> tuple[CallContext, int] | None:
    """Check what can be checked here; None when there is nothing to carry on with."""
    deployment = _on_its_way(deployment_id)
    if deployment is None:
        return None
    _enter(deployment, DeploymentStatus.VALIDATING, now=now)
    release = queries.release(deployment, deployment.target_number)
    try:
        _check_release(release)
    except AssetError as error:
        fail(deployment, error, (), actor=actor, now=now)
        return None
    _enter(deployment, DeploymentStatus.PROVISIONING, now=now)
    context = context_of(
        deployment,
        release,
        scope=active_scope(),
        now=now,
        run_id="",
        idempotency_key=release.id,
    )
    return context, release.number


def _check_release(release: Release) -> None:
    try:
        manifest = registry.get(release.deployment.asset_id)
        configuration.check(manifest, release.config, complete=True)
    except (AssetNotFound, HealthCloudError) as error:
        raise AssetError(
            "config_invalid", error.message, remedy="Correct the configuration and deploy again."
        ) from error
    for slot, filled in release.slots.items():
        found = queries.deployments().filter(id=filled["deployment_id"]).first()
        if found is None or found.status in (DeploymentStatus.STOPPED,):
            raise AssetError(
                "missing_slot",
                f"The slot `{slot}` needs {filled['asset_id']}, which is not running.",
                remedy=f"Deploy {filled['asset_id']} and deploy again.",
                details={"slot": slot},
            )


def _enter(deployment: Deployment, status: DeploymentStatus, *, now: datetime) -> None:
    deployment.status = status
    deployment.updated_at = now
    deployment.save(update_fields=["status", "updated_at"])
    write_log(deployment, "info", f"deployment.{status}", {}, now=now)


def _settle(
    deployment_id: str,
    number: int,
    probes: Sequence[Probe],
    context: CallContext,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    deployment = _on_its_way(deployment_id)
    if deployment is None or deployment.target_number != number:
        return
    record_check(
        deployment.installation, deployment, probes, release_number=number, actor=actor, now=now
    )
    failed = next((item for item in probes if not item.ok), None)
    if failed is None:
        _activate(deployment, actor=actor, now=now)
        return
    error = AssetError(
        failed.code or "check_failed",
        f"The check `{failed.name}` failed: {failed.message}",
        retryable=failed.retryable,
        remedy=failed.remedy,
    )
    fail(deployment, error, probes, actor=actor, now=now)


def _activate(deployment: Deployment, *, actor: Actor, now: datetime) -> None:
    deployment.status = DeploymentStatus.ACTIVE
    deployment.serving_number = deployment.target_number
    deployment.error = None
    deployment.updated_at = deployment.activated_at = now
    deployment.save(
        update_fields=["status", "serving_number", "error", "updated_at", "activated_at"]
    )
    deployment_changed(deployment, "activate", "deployment.active", actor=actor, now=now)
    schedule_health(deployment, now=now)


def fail(
    deployment: Deployment,
    error: AssetError,
    probes: Sequence[Probe],
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Mark a deployment failed and say why; the release that served before goes on serving."""
    deployment.status = DeploymentStatus.FAILED
    deployment.error = error.as_dict() | {"release": deployment.target_number}
    deployment.updated_at = now
    deployment.save(update_fields=["status", "error", "updated_at"])
    slot = error.details.get("slot")
    deployment_changed(
        deployment,
        "fail",
        "deployment.failed",
        actor=actor,
        now=now,
        code=error.code,
        message=error.message,
        remedy=error.remedy,
        probes=[_event_probe(item) for item in probes],
        **({"slot": slot} if slot else {}),
    )


def _event_probe(item: Probe) -> dict[str, object]:
    """Return a probe as an event may carry it: no member of an event is called `name`."""
    return {"probe": item.name, "ok": item.ok, "ms": item.ms, "status": item.status}
