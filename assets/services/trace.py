"""Audit, event and log line of a write, in one call each."""

from collections.abc import Mapping
from datetime import datetime

from assets.models import Deployment, DeploymentLog, Installation
from healthcloud.actors import Actor
from healthcloud.audit.services import record
from healthcloud.events.services import publish


def installation_changed(
    installation: Installation,
    verb: str,
    event: str,
    *,
    actor: Actor,
    now: datetime,
    **facts: object,
) -> None:
    """Record and publish what happened to an installation."""
    payload = {"installation_id": installation.id, "asset_id": installation.asset_id, **facts}
    record(
        actor=actor,
        action=f"asset.{verb}",
        target_type="asset_installation",
        target_id=installation.id,
        now=now,
        details=payload,
    )
    publish(type=event, payload=payload, actor=actor, now=now)


def deployment_changed(
    deployment: Deployment,
    verb: str,
    event: str | None,
    *,
    actor: Actor,
    now: datetime,
    **facts: object,
) -> None:
    """Record, publish and log what happened to a deployment."""
    payload = {
        "deployment_id": deployment.id,
        "asset_id": deployment.asset_id,
        "release": deployment.target_number,
        **facts,
    }
    record(
        actor=actor,
        action=f"deployment.{verb}",
        target_type="deployment",
        target_id=deployment.id,
        now=now,
        details=payload,
    )
    if event is not None:
        publish(type=event, payload=payload, actor=actor, now=now)
    level = "error" if verb == "fail" else "info"
    write_log(deployment, level, f"deployment.{verb}", facts, now=now)


def write_log(
    deployment: Deployment,
    level: str,
    message: str,
    fields: Mapping[str, object],
    *,
    now: datetime,
    release_number: int | None = None,
    parent: Mapping[str, str] | None = None,
) -> None:
    """Add a line to a deployment's log; `parent` is the step of a workflow that called."""
    caller = parent or {}
    DeploymentLog.objects.create(
        project_id=deployment.project_id,
        deployment=deployment,
        release_number=release_number or deployment.target_number,
        level=level,
        message=message,
        fields=dict(fields),
        run_id=caller.get("run_id", ""),
        step=caller.get("step_id", ""),
        at=now,
    )
