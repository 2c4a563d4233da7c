"""Deploy, stop, start, roll back. Each deploy is an immutable release; due work carries it out."""

from collections.abc import Mapping
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Max

from assets import configuration, queries, registry
from assets.manifest import Manifest
from assets.models import DEPLOYING, RUNNING, Deployment, DeploymentStatus, Installation, Release
from assets.sdk import Json
from assets.services.slots import SlotUnfilled, fill_slots
from assets.services.trace import deployment_changed
from healthcloud.actors import Actor
from healthcloud.errors import BadRequest, Conflict, Forbidden, NotFound
from healthcloud.identifiers import new_id
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import active_project, active_scope

DEPLOY_KIND = "deployment.deploy"
DEPLOY_QUEUE = "agents"  # a deploy calls the vendor, which may be slow

__all__ = ["AssetNotInstalled", "SlotUnfilled", "deploy", "rollback", "start", "stop"]


class AssetNotInstalled(Conflict):
    """The asset must be installed before it can be deployed."""

    def __init__(self, asset_id: str) -> None:
        super().__init__(
            f"{asset_id} is not installed in this project. Install it first: "
            f'POST /v1/assets/install {{"asset_id": "{asset_id}"}}.',
            param="asset_id",
            details={"code": "not_installed", "asset_id": asset_id},
        )


class CredentialMissing(Conflict):
    """A required credential is not set."""

    def __init__(self, installation: Installation, names: list[str]) -> None:
        super().__init__(
            f"{installation.asset_id} needs the credential {', '.join(names)}. Set it: "
            f"PUT /v1/asset-installations/{installation.id}/credentials.",
            param=f"credentials.{names[0]}",
            details={"code": "secret_missing", "credentials": names},
        )


class WrongEnvironment(Forbidden):
    """The named environment is not the credential's."""


class DeploymentBusy(Conflict):
    """The deployment is in a state that does not allow this."""


class ReleaseNotFound(NotFound):
    """No such release of this deployment."""


def deploy(
    *,
    actor: Actor,
    now: datetime,
    asset_id: str,
    environment: str | None = None,
    config: Mapping[str, object] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Deployment:
    """Ask for an installed asset to run with a configuration; due work carries it out.

    `config` lies over the installation's; members named as slots choose the deployed asset that
    fills them. The first deploy of an asset makes the project's deployment of it, later ones new
    releases. Raises AssetNotFound (404), AssetNotInstalled, SlotUnfilled, CredentialMissing (409),
    ConfigInvalid (422), WrongEnvironment (403).
    """
    scope = active_scope()
    project_id, _ = active_project()
    _check_environment(environment, scope.environment)
    manifest = registry.get(asset_id)
    installation = queries.installation_of(manifest.id, project_id)
    if installation is None:
        raise AssetNotInstalled(manifest.id)
    kept, kept_slots = configuration.split_slots(manifest, installation.config)
    given, given_slots = configuration.split_slots(manifest, config or {})
    merged = configuration.effective(manifest, scope, kept, given)
    configuration.check(manifest, merged, complete=True)
    _check_credentials(manifest, installation, scope.environment)
    slots = fill_slots(manifest, kept_slots | given_slots, project_id)
    deployment = _lock_or_create(installation, metadata, actor=actor, now=now)
    release = _add_release(deployment, manifest, merged, slots, actor=actor, now=now)
    _begin(deployment, release, now=now)
    deployment_changed(deployment, "create", "deployment.created", actor=actor, now=now)
    return deployment


def stop(*, actor: Actor, now: datetime, deployment_id: str) -> Deployment:
    """Stop a deployment: calls are refused until it is started. Stopping twice changes nothing."""
    deployment = _locked(deployment_id)
    if deployment.status == DeploymentStatus.STOPPED:
        return deployment
    deployment.status = DeploymentStatus.STOPPED
    deployment.updated_at = now
    deployment.save(update_fields=["status", "updated_at"])
    deployment_changed(deployment, "stop", "deployment.stopped", actor=actor, now=now)
    return deployment


def start(*, actor: Actor, now: datetime, deployment_id: str) -> Deployment:
    """Start a stopped or failed deployment with its last release, through all checks again."""
    deployment = _locked(deployment_id)
    if deployment.status in RUNNING:
        raise DeploymentBusy(f"The deployment is {deployment.status} already.")
    release = queries.release(deployment, deployment.target_number)
    _require_installed(deployment)
    _begin(deployment, release, now=now)
    deployment_changed(deployment, "start", None, actor=actor, now=now)
    return deployment


def rollback(
    *, actor: Actor, now: datetime, deployment_id: str, number: int | None = None
) -> Deployment:
    """Go back to an earlier release, by default the one before; it becomes a new release.

    Raises ReleaseNotFound (404), DeploymentBusy (409) while a deploy is under way, or when the
    release ran an asset version that this platform no longer has.
    """
    deployment = _locked(deployment_id)
    if deployment.status in DEPLOYING:
        raise DeploymentBusy("A deploy is under way; wait until it is active or failed.")
    _require_installed(deployment)
    earlier = _earlier_release(deployment, number)
    manifest = registry.get(deployment.asset_id)
    if earlier.asset_version != manifest.version:
        raise DeploymentBusy(
            f"Release {earlier.number} ran version {earlier.asset_version}; "
            f"this platform has {manifest.version}."
        )
    before = deployment.target_number
    release = _add_release(
        deployment,
        manifest,
        earlier.config,
        earlier.slots,
        actor=actor,
        now=now,
        rollback_of=earlier.number,
    )
    _begin(deployment, release, now=now)
    deployment_changed(
        deployment,
        "rollback",
        "deployment.rolled_back",
        actor=actor,
        now=now,
        from_release=before,
    )
    return deployment


def _earlier_release(deployment: Deployment, number: int | None) -> Release:
    releases = queries.releases(deployment)
    if number is None:
        current = queries.release(deployment, deployment.target_number)
        found = releases.filter(number__lt=current.number).order_by("-number").first()
    else:
        found = releases.filter(number=number).first()
    if found is None:
        raise ReleaseNotFound(
            f"There is no earlier release of {deployment.id}."
            if number is None
            else f"{deployment.id} has no release {number}.",
            param="release",
        )
    return found


def _check_environment(named: str | None, own: str) -> None:
    if named is None or named == own:
        return
    if named not in ("sandbox", "production"):
        raise BadRequest("`environment` is `sandbox` or `production`.", param="environment")
    raise WrongEnvironment(
        f"This key belongs to the {own}; deploying to {named} needs a key of {named}.",
        param="environment",
    )


def _check_credentials(manifest: Manifest, installation: Installation, environment: str) -> None:
    there = {credential.name for credential in installation.credentials.all()}
    missing = [
        item.name
        for item in manifest.secrets
        if item.required
        and item.name not in there
        and not (environment == "sandbox" and item.sandbox_default is not None)
    ]
    if missing:
        raise CredentialMissing(installation, missing)


def _require_installed(deployment: Deployment) -> None:
    if queries.installation_of(deployment.asset_id, deployment.project_id) is None:
        raise AssetNotInstalled(deployment.asset_id)


def _locked(deployment_id: str) -> Deployment:
    found = Deployment.objects.select_for_update().filter(id=deployment_id).first()
    if found is None:
        raise queries.DeploymentNotFound(deployment_id)
    return found


def _lock_or_create(
    installation: Installation,
    metadata: Mapping[str, str] | None,
    *,
    actor: Actor,
    now: datetime,
) -> Deployment:
    """Return the project's deployment of the asset, locked; made at its first deploy."""
    key = {"project_id": installation.project_id, "asset_id": installation.asset_id}
    rows = Deployment.objects.select_for_update()
    found = rows.filter(**key).first()
    if found is None:
        try:
            with transaction.atomic():
                return Deployment.objects.create(
                    id=new_id("dep"),
                    installation=installation,
                    environment=active_scope().environment,
                    target_number=0,
                    metadata=dict(metadata or {}),
                    created_by=actor.as_dict(),
                    created_at=now,
                    updated_at=now,
                    **key,
                )
        except IntegrityError:  # another request made it at the same moment
            found = rows.get(**key)
    found.installation = installation
    if metadata is not None:
        found.metadata = dict(metadata)
    return found


def _add_release(
    deployment: Deployment,
    manifest: Manifest,
    config: Json,
    slots: Json,
    *,
    actor: Actor,
    now: datetime,
    rollback_of: int | None = None,
) -> Release:
    last = queries.releases(deployment).aggregate(last=Max("number"))["last"] or 0
    return Release.objects.create(
        id=new_id("rel"),
        project_id=deployment.project_id,
        deployment=deployment,
        number=last + 1,
        asset_version=manifest.version,
        config=config,
        slots=slots,
        config_hash=configuration.digest(config),
        manifest_hash=configuration.digest(manifest.model_dump(mode="json")),
        rollback_of=rollback_of,
        created_by=actor.as_dict(),
        created_at=now,
    )


def _begin(deployment: Deployment, release: Release, *, now: datetime) -> None:
    """Set a deployment on its way to a release."""
    deployment.target_number = release.number
    deployment.status = DeploymentStatus.PENDING
    deployment.error = None
    deployment.updated_at = now
    deployment.save()
    enqueue(
        scope=active_scope(),
        kind=DEPLOY_KIND,
        ref=deployment.id,
        queue=DEPLOY_QUEUE,
        dedupe_key=deployment.id,
    )
