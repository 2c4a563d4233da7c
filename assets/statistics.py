"""How the agents of a project do: state, success rate, latency."""

from dataclasses import dataclass

from django.db.models import Avg, Count, Q

from assets import registry
from assets.models import AgentRun, Deployment, DeploymentStatus, RunStatus


@dataclass(frozen=True, slots=True)
class AgentStatistics:
    """Over the runs of one deployment; rates are None before the first finished run."""

    status: str
    runs: int
    running: int
    success_rate: float | None
    average_ms: float | None


def agent_statistics(deployments: list[Deployment]) -> dict[str, AgentStatistics]:
    """Return the statistics of agent deployments by id, in one query."""
    rows = (
        AgentRun.objects.filter(deployment__in=deployments)
        .values("deployment_id")
        .annotate(
            runs=Count("id"),
            running=Count("id", filter=Q(status=RunStatus.RUNNING)),
            succeeded=Count("id", filter=Q(status=RunStatus.SUCCEEDED)),
            failed=Count("id", filter=Q(status=RunStatus.FAILED)),
            average_ms=Avg("duration_ms", filter=Q(status=RunStatus.SUCCEEDED)),
        )
    )
    by_id = {row["deployment_id"]: row for row in rows}
    return {item.id: _statistics(item, by_id.get(item.id)) for item in deployments}


def _statistics(deployment: Deployment, row: dict[str, float] | None) -> AgentStatistics:
    running = int(row["running"]) if row else 0
    finished = int(row["succeeded"] + row["failed"]) if row else 0
    return AgentStatistics(
        status=_status(deployment, running),
        runs=int(row["runs"]) if row else 0,
        running=running,
        success_rate=row["succeeded"] / finished if row and finished else None,
        average_ms=row["average_ms"] if row else None,
    )


def _status(deployment: Deployment, running: int) -> str:
    """Return `ready busy error offline` of an agent."""
    if deployment.status == DeploymentStatus.STOPPED:
        return "offline"
    if deployment.status == DeploymentStatus.FAILED:
        return "error"
    if deployment.serving_number is None:
        return "offline"
    return "busy" if running else "ready"


def is_agent(deployment: Deployment) -> bool:
    """Whether a deployment runs an agent."""
    manifest = registry.find(deployment.asset_id)
    return manifest is not None and manifest.kind == "agent"
