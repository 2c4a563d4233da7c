"""`/v1/agents` and `/v1/agent-runs`."""

from typing import ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from assets import calls, queries, registry
from assets.api import represent
from assets.api.bodies import RunBody
from assets.api.documentation import OBJECT, text
from assets.models import AgentRun, Deployment, RunStatus
from assets.sdk import Json
from assets.statistics import AgentStatistics, agent_statistics, is_agent
from healthcloud.api.pagination import PAGE, page_of, paginate
from healthcloud.api.views import PlatformView
from healthcloud.identifiers import new_id


class Agents(PlatformView):
    """The deployed agents."""

    required_scopes: ClassVar = {"GET": "assets:read"}

    def get(self, request: Request) -> Response:
        """List deployed agents with their state, latency and success rate."""
        rows = queries.deployments().filter(asset_id__startswith="agent_").order_by("-created_at")
        agents = [item for item in rows if is_agent(item)]
        statistics = agent_statistics(agents)
        data = [_agent(item, statistics[item.id]) for item in agents]
        return Response(page_of(data, request))


class AgentRuns(PlatformView):
    """The runs of one agent."""

    required_scopes: ClassVar = {"GET": "assets:read", "POST": "agents:run"}
    own_transaction = frozenset({"POST"})

    @extend_schema(parameters=PAGE)
    def get(self, request: Request, slug: str) -> Response:
        """List an agent's runs, newest first."""
        rows = queries.agent_runs().filter(asset_id=registry.get(slug).id)
        page = paginate(rows, request, serialize=represent.agent_run, order=("-started_at", "-id"))
        return Response(page)

    @extend_schema(request=RunBody, responses={201: OBJECT, 202: OBJECT})
    def post(self, request: Request, slug: str) -> Response:
        """Run a deployed agent; the answer is its run record, also of a run that failed.

        With `Prefer: respond-async` the record is answered at once, and the run goes on by itself.
        """
        data = self.validated(RunBody)
        later = "respond-async" in request.headers.get("Prefer", "")
        status = 202 if later else 201
        run = (calls.queue_agent if later else calls.run_agent)(
            scope=self.scope,
            agent=slug,
            input=cast("Json", data["input"]),
            actor=self.actor,
            now=self.now,
            idempotency_key=request.headers.get("Idempotency-Key") or new_id("req"),
            keep=lambda made: self.keep_answer(_run(made, status)),
        )
        return _run(run, status)


class AllAgentRuns(PlatformView):
    """The runs of all agents."""

    required_scopes: ClassVar = {"GET": "assets:read"}

    @extend_schema(
        parameters=[text("status", "Only runs in this state.", list(RunStatus.values)), *PAGE]
    )
    def get(self, request: Request) -> Response:
        """List runs, newest first; filter by `status`."""
        rows = queries.agent_runs()
        if status := request.query_params.get("status"):
            rows = rows.filter(status=status)
        page = paginate(rows, request, serialize=represent.agent_run, order=("-started_at", "-id"))
        return Response(page)


class AgentRunDetail(PlatformView):
    """One run."""

    required_scopes: ClassVar = {"GET": "assets:read"}
    addressed_row: ClassVar = ("run_id", AgentRun)

    def get(self, request: Request, run_id: str) -> Response:
        """Return a run record with evidence, rules, missing data and actions."""
        return Response(represent.agent_run(queries.agent_run(run_id)))


def _run(run: AgentRun, status: int) -> Response:
    return Response(represent.agent_run(run), status=status)


def _agent(item: Deployment, statistics: AgentStatistics) -> Json:
    manifest = registry.get(item.asset_id)
    return {
        "id": manifest.id,
        "object": "agent",
        "slug": manifest.slug,
        "name": manifest.name,
        "summary": manifest.summary,
        "project_id": item.project_id,
        "deployment_id": item.id,
        "status": statistics.status,
        "runs": statistics.runs,
        "running": statistics.running,
        "success_rate": statistics.success_rate,
        "average_ms": statistics.average_ms,
        "input_schema": manifest.provides.input_schema,
    }
