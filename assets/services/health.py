"""Connection tests and health checks: an asset's own probes, run, kept and told."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from assets import configuration, queries, registry
from assets.models import Deployment, DeploymentStatus, HealthCheck, Installation
from assets.runs import expire_runs
from assets.runtime.context import CallContext, context_of, installation_context
from assets.sdk import AssetError, Probe
from assets.services.trace import deployment_changed, installation_changed
from healthcloud.actors import Actor
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import Scope, active_scope, tenant_scope

KEPT = timedelta(days=7)
HEALTH_KIND = "deployment.health"
HEALTH_QUEUE = "agents"


def check(
    *, scope: Scope, actor: Actor, now: datetime, installation_id: str
) -> tuple[Installation, list[Probe]]:
    """Test an installation's connection with its saved configuration, and keep the outcome.

    Opens its own transactions: none is open while the vendor is called. Raises
    InstallationNotFound (404).
    """
    with tenant_scope(scope):
        installation = queries.installation(installation_id)
        deployment = queries.deployment_of(installation.asset_id, installation.project_id)
        context = _context(installation, scope=scope, now=now)
    probes = run_probes(context)
    with tenant_scope(scope):
        record_check(installation, deployment, probes, actor=actor, now=now)
    return installation, probes


def stream_check(*, scope: Scope, now: datetime, installation_id: str) -> Iterator[Probe]:
    """Yield the probes of a connection test one by one as they finish; nothing is kept."""
    with tenant_scope(scope):
        installation = queries.installation(installation_id)
        context = _context(installation, scope=scope, now=now)
    yield from probes_of(context)


def _context(installation: Installation, *, scope: Scope, now: datetime) -> CallContext:
    manifest = registry.get(installation.asset_id)
    plain, _ = configuration.split_slots(manifest, installation.config)
    config = configuration.effective(manifest, scope, plain)
    return installation_context(installation, config, scope=scope, now=now)


def run_probes(context: CallContext) -> list[Probe]:
    """Return the probes of an asset's check, in order."""
    return list(probes_of(context))


def probes_of(context: CallContext) -> Iterator[Probe]:
    """Yield an asset's probes; what it fails to catch becomes a failed probe of its own.

    An asset without probes yields one that says that its code loads.
    """
    started = context.clock()
    count = 0
    try:
        configuration.check(context.package.manifest, context.config, complete=True)
        for item in context.package.instantiate().check(context):
            count += 1
            yield item
    except AssetError as error:
        yield _failed(context, started, error)
    except configuration.ConfigInvalid as error:
        remedy = "Complete the configuration: PATCH /v1/asset-installations/{id}."
        yield _failed(context, started, AssetError("config_invalid", error.message, remedy=remedy))
    except Exception as error:  # package code is not ours: its faults must not become ours
        broken = AssetError(
            "asset_broken",
            f"The asset's check raised {type(error).__name__}.",
            remedy="Report it to the asset's publisher.",
        )
        yield _failed(context, started, broken)
    else:
        if count == 0:
            ms = round((context.clock() - started) * 1000)
            yield Probe("load", True, ms, message="The asset's code loads.")


def _failed(context: CallContext, started: float, error: AssetError) -> Probe:
    ms = round((context.clock() - started) * 1000)
    return Probe(
        "check",
        False,
        ms,
        message=error.message,
        code=error.code,
        remedy=error.remedy,
        retryable=error.retryable,
    )


def record_check(
    installation: Installation,
    deployment: Deployment | None,
    probes: Sequence[Probe],
    *,
    actor: Actor,
    now: datetime,
    release_number: int | None = None,
) -> None:
    """Keep a check of a deployment, and tell whether an integration is connected."""
    failed = next((item for item in probes if not item.ok), None)
    if deployment is not None:
        HealthCheck.objects.create(
            project_id=installation.project_id,
            deployment=deployment,
            release_number=release_number or deployment.serving_number or 0,
            ok=failed is None,
            probes=[item.as_dict() for item in probes],
            at=now,
        )
    if registry.get(installation.asset_id).kind != "connector":
        return
    if failed is None:
        total = sum(item.ms for item in probes)
        installation_changed(
            installation, "check", "integration.connected", actor=actor, now=now, duration_ms=total
        )
        return
    installation_changed(
        installation,
        "check",
        "integration.failed",
        actor=actor,
        now=now,
        probe=failed.name,
        code=failed.code or "check_failed",
        message=failed.message,
        remedy=failed.remedy,
    )


def schedule_health(deployment: Deployment, *, now: datetime) -> None:
    """Ask for the first health check of an active deployment, if its manifest wants any."""
    health = registry.get(deployment.asset_id).health
    if health.check:
        enqueue(
            scope=active_scope(),
            kind=HEALTH_KIND,
            ref=deployment.id,
            queue=HEALTH_QUEUE,
            due_at=now + timedelta(seconds=health.interval),
            dedupe_key=deployment.id,
        )


def watch(*, scope: Scope, deployment_id: str, actor: Actor, now: datetime) -> datetime | None:
    """Check a running deployment; return when to look again, None when it no longer runs.

    It is degraded after `unhealthy_after` failures in a row, and active again after one success.
    Runs of an agent that broke off are marked failed, and checks of last week forgotten.
    """
    with tenant_scope(scope):
        deployment = queries.deployments().filter(id=deployment_id).first()
        if deployment is None or not _is_watched(deployment):
            return None
        release = queries.release(deployment, deployment.serving_number or 0)
        context = context_of(
            deployment, release, scope=scope, now=now, run_id="", idempotency_key=release.id
        )
    probes = run_probes(context)
    with tenant_scope(scope):
        _judge(deployment_id, release.number, probes, actor=actor, now=now)
        expire_runs(deployment_id, now=now)
        HealthCheck.objects.filter(deployment_id=deployment_id, at__lt=now - KEPT).delete()
    return now + timedelta(seconds=registry.get(deployment.asset_id).health.interval)


def _is_watched(deployment: Deployment) -> bool:
    return deployment.status in (DeploymentStatus.ACTIVE, DeploymentStatus.DEGRADED)


def _judge(
    deployment_id: str, number: int, probes: Sequence[Probe], *, actor: Actor, now: datetime
) -> None:
    deployment = Deployment.objects.select_for_update().get(id=deployment_id)
    if not _is_watched(deployment) or deployment.serving_number != number:
        return
    failed = next((item for item in probes if not item.ok), None)
    HealthCheck.objects.create(
        project_id=deployment.project_id,
        deployment=deployment,
        release_number=number,
        ok=failed is None,
        probes=[item.as_dict() for item in probes],
        at=now,
    )
    limit = registry.get(deployment.asset_id).health.unhealthy_after
    if failed is None and deployment.status == DeploymentStatus.DEGRADED:
        _turn(deployment, DeploymentStatus.ACTIVE, None, actor=actor, now=now)
    elif failed is not None and deployment.status == DeploymentStatus.ACTIVE:
        last = HealthCheck.objects.filter(deployment=deployment).order_by("-id")[:limit]
        if len(last) == limit and not any(item.ok for item in last):
            _turn(deployment, DeploymentStatus.DEGRADED, failed, actor=actor, now=now)


def _turn(
    deployment: Deployment,
    status: DeploymentStatus,
    failed: Probe | None,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    facts: dict[str, object] = {}
    if failed is not None:
        facts = {"code": failed.code, "message": failed.message, "remedy": failed.remedy}
    deployment.status = status
    deployment.error = dict(facts) or None
    deployment.updated_at = now
    deployment.save(update_fields=["status", "error", "updated_at"])
    verb = "degrade" if failed is not None else "recover"
    deployment_changed(
        deployment, verb, f"deployment.{status.value}", actor=actor, now=now, **facts
    )
