"""Install, configure, upgrade, uninstall. None of them runs an asset."""

from collections.abc import Mapping
from datetime import datetime
from typing import cast

import orjson
from django.db import IntegrityError, transaction

from assets import configuration, hooks, queries, registry
from assets.manifest import Manifest
from assets.models import RUNNING, Deployment, Installation, InstallationStatus
from assets.sdk import Json
from assets.services.credentials import set_credentials
from assets.services.deployments import deploy
from assets.services.trace import installation_changed
from healthcloud.actors import Actor
from healthcloud.errors import Conflict, NotFound
from healthcloud.identifiers import new_id
from healthcloud.tenancy.scope import active_project, active_scope


class AlreadyInstalled(Conflict):
    """The project has this asset; the existing installation is named in `details`."""

    def __init__(self, installation: Installation) -> None:
        super().__init__(
            f"{installation.asset_id} is installed in this project already, as {installation.id}. "
            "Change it with PATCH /v1/asset-installations/{id}, or upgrade it.",
            param="asset_id",
            details={"installation_id": installation.id, "version": installation.version},
        )


class VersionUnavailable(NotFound):
    """The catalog has another version of this asset."""

    def __init__(self, manifest: Manifest, version: str) -> None:
        super().__init__(
            f"Version {version} of {manifest.id} is not available; {manifest.version} is.",
            param="version",
            details={"available": [manifest.version]},
        )


class StillDeployed(Conflict):
    """The installation has a running deployment."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(
            f"{deployment.asset_id} is still deployed as {deployment.id}. "
            f"Stop it first: POST /v1/deployments/{deployment.id}/stop.",
            details={"deployment_id": deployment.id, "status": deployment.status},
        )


class RequiredByOthers(Conflict):
    """Another installed asset requires this one."""

    def __init__(self, asset_id: str, others: list[str]) -> None:
        super().__init__(
            f"{', '.join(others)} requires {asset_id}. Uninstall that first.",
            details={"required_by": others},
        )


class UpToDate(Conflict):
    """The installation has the newest version."""

    def __init__(self, installation: Installation) -> None:
        super().__init__(
            f"{installation.asset_id} is at {installation.version}, the newest version."
        )


def install(
    *,
    actor: Actor,
    now: datetime,
    asset_id: str,
    version: str | None = None,
    config: Mapping[str, object] | None = None,
) -> Installation:
    """Install an asset, and what it requires, into the active project. It does not run it.

    Its workflows come along through `assets.hooks`. Raises AssetNotFound (404), VersionUnavailable
    (404), AlreadyInstalled (409), ConfigInvalid (422).
    """
    project_id, _ = active_project()
    manifest = registry.get(asset_id)
    if version is not None and version != manifest.version:
        raise VersionUnavailable(manifest, version)
    existing = queries.installation_of(manifest.id, project_id)
    if existing is not None:
        raise AlreadyInstalled(existing)
    _check_config(manifest, config or {})
    for required in manifest.required_assets:
        if queries.installation_of(required, project_id) is None:
            install(actor=actor, now=now, asset_id=required)
    installation = _create(manifest, dict(config or {}), project_id, actor=actor, now=now)
    _run_hooks(installation, manifest, actor=actor, now=now, upgraded=False)
    installation_changed(
        installation, "install", "asset.installed", actor=actor, now=now, version=manifest.version
    )
    return installation


def configure(
    *, actor: Actor, now: datetime, installation_id: str, config: Mapping[str, object]
) -> Installation:
    """Replace the configuration of an installation; a deployment takes it at its next deploy.

    Raises InstallationNotFound (404), ConfigInvalid (422) naming each field.
    """
    installation = _locked(installation_id)
    manifest = registry.get(installation.asset_id)
    plain, _ = configuration.split_slots(manifest, config)
    merged = configuration.effective(manifest, active_scope(), plain)
    configuration.check(manifest, merged, complete=True)
    installation.config = dict(config)
    installation.updated_at = now
    installation.save(update_fields=["config", "updated_at"])
    installation_changed(installation, "configure", "asset.configured", actor=actor, now=now)
    return installation


def upgrade(*, actor: Actor, now: datetime, installation_id: str) -> Installation:
    """Take the catalog's version of the asset; deployments run it from their next deploy on.

    Raises UpToDate (409), ConfigInvalid (422) when the kept configuration breaks the new schema.
    """
    installation = _locked(installation_id)
    manifest = registry.get(installation.asset_id)
    if installation.version == manifest.version:
        raise UpToDate(installation)
    _check_config(manifest, installation.config)
    before, installation.version = installation.version, manifest.version
    installation.updated_at = now
    installation.save(update_fields=["version", "updated_at"])
    _run_hooks(installation, manifest, actor=actor, now=now, upgraded=True)
    installation_changed(
        installation,
        "upgrade",
        "asset.upgraded",
        actor=actor,
        now=now,
        version=manifest.version,
        from_version=before,
    )
    return installation


def uninstall(*, actor: Actor, now: datetime, installation_id: str) -> Installation:
    """Take an asset out of the project and forget its credentials; its records stay.

    Raises StillDeployed or RequiredByOthers (409), which say what to do first.
    """
    installation = _locked(installation_id)
    running = Deployment.objects.filter(installation=installation, status__in=RUNNING).first()
    if running is not None:
        raise StillDeployed(running)
    others = [
        item.asset_id
        for item in queries.installations().filter(project_id=installation.project_id)
        if installation.asset_id in _required_ids(item.asset_id)
    ]
    if others:
        raise RequiredByOthers(installation.asset_id, others)
    installation.credentials.all().delete()
    installation.status = InstallationStatus.UNINSTALLED
    installation.uninstalled_at = installation.updated_at = now
    installation.save(update_fields=["status", "uninstalled_at", "updated_at"])
    installation_changed(installation, "uninstall", "asset.uninstalled", actor=actor, now=now)
    return installation


def connect(
    *,
    actor: Actor,
    now: datetime,
    asset_id: str,
    config: Mapping[str, object] | None = None,
    credentials: Mapping[str, str] | None = None,
) -> Deployment:
    """Make an integration work in one call: install it if need be, configure it, deploy it."""
    project_id, _ = active_project()
    installation = queries.installation_of(asset_id, project_id)
    if installation is None:
        installation = install(actor=actor, now=now, asset_id=asset_id, config=config)
    elif config is not None:
        configure(actor=actor, now=now, installation_id=installation.id, config=config)
    if credentials:
        set_credentials(
            actor=actor, now=now, installation_id=installation.id, credentials=credentials
        )
    return deploy(actor=actor, now=now, asset_id=installation.asset_id)


def _required_ids(asset_id: str) -> set[str]:
    manifest = registry.find(asset_id)
    return {registry.get(name).id for name in manifest.required_assets} if manifest else set()


def _check_config(manifest: Manifest, config: Mapping[str, object]) -> None:
    plain, _ = configuration.split_slots(manifest, config)
    configuration.check(manifest, plain, complete=False)


def _locked(installation_id: str) -> Installation:
    found = (
        Installation.objects.select_for_update()
        .filter(id=installation_id, status=InstallationStatus.INSTALLED)
        .first()
    )
    if found is None:
        raise queries.InstallationNotFound(installation_id)
    return found


def _create(
    manifest: Manifest, config: Json, project_id: str, *, actor: Actor, now: datetime
) -> Installation:
    try:
        with transaction.atomic():
            return Installation.objects.create(
                id=new_id("inst"),
                project_id=project_id,
                asset_id=manifest.id,
                version=manifest.version,
                config=config,
                installed_by=actor.as_dict(),
                created_at=now,
                updated_at=now,
            )
    except IntegrityError as error:  # another request installed it at the same moment
        existing = queries.installation_of(manifest.id, project_id)
        if existing is None:
            raise
        raise AlreadyInstalled(existing) from error


def _run_hooks(
    installation: Installation, manifest: Manifest, *, actor: Actor, now: datetime, upgraded: bool
) -> None:
    package = registry.package(manifest.id)
    definitions = [
        cast(Json, orjson.loads(package.read(path))) for path in manifest.provides.workflows
    ]
    installed = hooks.Installed(
        installation.id, manifest.id, manifest.version, definitions, upgraded
    )
    for hook in hooks.installed_hooks():
        hook(installed=installed, actor=actor, now=now)
