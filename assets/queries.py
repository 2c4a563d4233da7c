"""Reads of installations, deployments and runs, inside a tenant scope."""

from django.db.models import F, Prefetch, QuerySet

from assets import registry
from assets.models import (
    AgentRun,
    Deployment,
    DeploymentLog,
    HealthCheck,
    Installation,
    InstallationStatus,
    Release,
)
from healthcloud.errors import NotFound


class InstallationNotFound(NotFound):
    """No installation of this id in this project."""

    def __init__(self, installation_id: str) -> None:
        super().__init__(f"There is no asset installation {installation_id!r} here.")


class DeploymentNotFound(NotFound):
    """No deployment of this id in this project."""

    def __init__(self, deployment_id: str) -> None:
        super().__init__(f"There is no deployment {deployment_id!r} here.")


class AgentRunNotFound(NotFound):
    """No agent run of this id in this project."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"There is no agent run {run_id!r} here.")


def installations() -> QuerySet[Installation]:
    """Return what is installed, with credentials at hand."""
    return Installation.objects.filter(status=InstallationStatus.INSTALLED).prefetch_related(
        "credentials"
    )


def installation(installation_id: str) -> Installation:
    """Return a live installation; raise InstallationNotFound."""
    found = installations().filter(id=installation_id).first()
    if found is None:
        raise InstallationNotFound(installation_id)
    return found


def installation_of(asset_id: str, project_id: str) -> Installation | None:
    """Return a project's live installation of an asset, by id or alias."""
    manifest = registry.get(asset_id)
    return installations().filter(asset_id=manifest.id, project_id=project_id).first()


def deployments() -> QuerySet[Deployment]:
    """Return the deployments with their installation and target release."""
    target = Release.objects.filter(number=F("deployment__target_number"))
    return Deployment.objects.select_related("installation").prefetch_related(
        Prefetch("releases", queryset=target, to_attr="target_releases")
    )


def deployment(deployment_id: str) -> Deployment:
    """Return a deployment; raise DeploymentNotFound."""
    found = deployments().filter(id=deployment_id).first()
    if found is None:
        raise DeploymentNotFound(deployment_id)
    return found


def deployment_of(asset_id: str, project_id: str) -> Deployment | None:
    """Return a project's deployment of an asset, by id or alias, whatever its status."""
    manifest = registry.find(asset_id)
    if manifest is None:
        return None
    return deployments().filter(asset_id=manifest.id, project_id=project_id).first()


def release(deployment: Deployment, number: int) -> Release:
    """Return a release of a deployment."""
    return Release.objects.get(deployment=deployment, number=number)


def releases(deployment: Deployment) -> QuerySet[Release]:
    """Return a deployment's releases."""
    return Release.objects.filter(deployment=deployment)


def log_lines_of_run(run_id: str) -> QuerySet[DeploymentLog]:
    """Return what the assets that a run called wrote to their logs."""
    return DeploymentLog.objects.filter(run_id=run_id).select_related("deployment")


def log_lines(deployment: Deployment) -> QuerySet[DeploymentLog]:
    """Return a deployment's log."""
    return DeploymentLog.objects.filter(deployment=deployment)


def last_check(deployment: Deployment) -> HealthCheck | None:
    """Return the latest health check of a deployment."""
    return HealthCheck.objects.filter(deployment=deployment).order_by("-id").first()


def agent_runs() -> QuerySet[AgentRun]:
    """Return the runs of agents."""
    return AgentRun.objects.all()


def agent_run(run_id: str) -> AgentRun:
    """Return an agent run; raise AgentRunNotFound."""
    found = agent_runs().filter(id=run_id).first()
    if found is None:
        raise AgentRunNotFound(run_id)
    return found
