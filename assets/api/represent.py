"""The JSON forms of assets, installations, deployments and runs."""

from datetime import UTC, datetime

from assets import configuration, registry
from assets.manifest import Manifest
from assets.models import AgentRun, Deployment, DeploymentLog, HealthCheck, Installation, Release
from assets.sdk import Json
from healthcloud.tenancy.scope import Scope


def stamp(moment: datetime | None) -> str | None:
    """Return a time as UTC ISO 8601 with `Z`."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def asset(manifest: Manifest, installation: Installation | None, scope: Scope) -> Json:
    """Return an entry of the catalog's list."""
    return {
        "id": manifest.id,
        "object": "asset",
        "kind": manifest.kind,
        "slug": manifest.slug,
        "aliases": list(manifest.aliases),
        "name": manifest.name,
        "summary": manifest.summary,
        "icon": manifest.icon or None,
        "publisher": manifest.publisher,
        "version": manifest.version,
        "categories": list(manifest.categories),
        "tags": list(manifest.tags),
        "installation_id": installation.id if installation else None,
    }


def asset_detail(manifest: Manifest, installation: Installation | None, scope: Scope) -> Json:
    """Return an asset with everything its manifest says."""
    defaults = manifest.config_defaults(scope.environment, configuration.variables(scope))
    return asset(manifest, installation, scope) | {
        "description": manifest.description,
        "license": manifest.license,
        "homepage": manifest.homepage or None,
        "support": manifest.support or None,
        "versions": [manifest.version],
        "changelog": list(manifest.changelog),
        "config_schema": manifest.config.json_schema,
        "config_defaults": defaults,
        "credentials": [
            {"name": item.name, "label": item.label, "help": item.help, "required": item.required}
            for item in manifest.secrets
        ],
        "provides": manifest.provides.model_dump(mode="json"),
        "requires": [item.model_dump(mode="json") for item in manifest.requires],
        "permissions": manifest.permissions.model_dump(mode="json"),
        "model_card": manifest.model_card,
    }


def installation(item: Installation) -> Json:
    """Return an installation; secrets only as set or not."""
    manifest = registry.find(item.asset_id)
    latest = manifest.version if manifest else item.version
    there = {credential.name: credential for credential in item.credentials.all()}
    names = [secret.name for secret in manifest.secrets] if manifest else sorted(there)
    return {
        "id": item.id,
        "object": "asset_installation",
        "project_id": item.project_id,
        "asset_id": item.asset_id,
        "name": manifest.name if manifest else item.asset_id,
        "kind": manifest.kind if manifest else None,
        "version": item.version,
        "latest_version": latest,
        "status": "update_available" if latest != item.version else item.status,
        "config": item.config,
        "credentials": {name: _credential(there.get(name)) for name in names},
        "installed_by": item.installed_by,
        "created_at": stamp(item.created_at),
        "updated_at": stamp(item.updated_at),
    }


def _credential(item: object) -> Json:
    last4 = getattr(item, "last4", None)
    return {
        "set": item is not None,
        "last4": last4 or None,
        "rotated_at": stamp(getattr(item, "rotated_at", None)),
    }


def deployment(item: Deployment) -> Json:
    """Return a deployment with its target release's configuration and slots."""
    targets: list[Release] = getattr(item, "target_releases", None) or list(
        item.releases.filter(number=item.target_number)
    )
    target = targets[0] if targets else None
    return {
        "id": item.id,
        "object": "deployment",
        "project_id": item.project_id,
        "environment": item.environment,
        "asset_id": item.asset_id,
        "asset_version": target.asset_version if target else None,
        "installation_id": item.installation_id,
        "status": item.status,
        "config": target.config if target else {},
        "slots": target.slots if target else {},
        "release": item.target_number,
        "serving_release": item.serving_number,
        "error": item.error,
        "metadata": item.metadata,
        "created_by": item.created_by,
        "created_at": stamp(item.created_at),
        "updated_at": stamp(item.updated_at),
        "activated_at": stamp(item.activated_at),
    }


def release(item: Release) -> Json:
    """Return a release."""
    return {
        "id": item.id,
        "object": "release",
        "deployment_id": item.deployment_id,
        "number": item.number,
        "asset_version": item.asset_version,
        "config": item.config,
        "slots": item.slots,
        "config_hash": item.config_hash,
        "manifest_hash": item.manifest_hash,
        "rollback_of": item.rollback_of,
        "created_by": item.created_by,
        "created_at": stamp(item.created_at),
    }


def log_line(item: DeploymentLog) -> Json:
    """Return a line of a deployment's log."""
    return {
        "release": item.release_number,
        "level": item.level,
        "message": item.message,
        "fields": item.fields,
        "at": stamp(item.at),
    }


def health(item: Deployment, check: HealthCheck | None) -> Json:
    """Return a deployment's health: its state, and the last check."""
    return {
        "object": "deployment_health",
        "deployment_id": item.id,
        "status": item.status,
        "healthy": None if check is None else check.ok,
        "checked_at": stamp(check.at) if check else None,
        "probes": check.probes if check else [],
    }


def agent_run(item: AgentRun) -> Json:
    """Return the run record of an agent."""
    return {
        "id": item.id,
        "object": "agent_run",
        "project_id": item.project_id,
        "agent": item.asset_id,
        "asset_version": item.asset_version,
        "deployment_id": item.deployment_id,
        "release": item.release_number,
        "status": item.status,
        "trigger": item.trigger,
        "parent": item.parent,
        "attempt": item.attempt,
        "actor": item.actor,
        "input": item.input,
        "output": item.output,
        "evidence": item.evidence,
        "rules": item.rules,
        "missing_data": item.missing_data,
        "actions": item.actions,
        "approvals": item.approvals,
        "resources": item.resources,
        "error": item.error,
        "started_at": stamp(item.started_at),
        "finished_at": stamp(item.finished_at),
        "duration_ms": item.duration_ms,
    }
