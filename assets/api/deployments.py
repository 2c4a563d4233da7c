"""`/v1/deployments`."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from assets import calls, queries, services
from assets.api import represent
from assets.api.bodies import DeployBody, InvokeBody, RollbackBody
from assets.api.documentation import OBJECT, text
from assets.api.failures import http_error
from assets.invocation import Outcome
from assets.models import Deployment, DeploymentStatus
from assets.runs import evidence_entry
from assets.sdk import AssetError, Json
from healthcloud.api.pagination import PAGE, paginate
from healthcloud.api.views import PlatformView
from healthcloud.identifiers import new_id

LISTED = 200  # references of written resources that an answer names


class Deployments(PlatformView):
    """What runs."""

    required_scopes: ClassVar = {"GET": "assets:read", "POST": "deployments:write"}

    @extend_schema(
        parameters=[
            text("status", "Only deployments in this state.", list(DeploymentStatus.values)),
            text("asset_id", "Only the deployment of this asset."),
            *PAGE,
        ]
    )
    def get(self, request: Request) -> Response:
        """List deployments, newest first; filter by `status` and `asset_id`."""
        rows = queries.deployments()
        for name in ("status", "asset_id"):
            if value := request.query_params.get(name):
                rows = rows.filter(**{name: value})
        return Response(paginate(rows, request, serialize=represent.deployment))

    @extend_schema(request=DeployBody, responses={202: OBJECT})
    def post(self, request: Request) -> Response:
        """Deploy an installed asset; it becomes active, or fails with a remedy, by itself."""
        data: dict[str, Any] = self.validated(DeployBody)
        deployed = services.deploy(actor=self.actor, now=self.now, **data)
        return Response(represent.deployment(deployed), status=202)


class DeploymentDetail(PlatformView):
    """One deployment."""

    required_scopes: ClassVar = {"GET": "assets:read"}
    addressed_row: ClassVar = ("deployment_id", Deployment)

    def get(self, request: Request, deployment_id: str) -> Response:
        """Return a deployment with its state and, after a failure, the remedy."""
        return Response(represent.deployment(queries.deployment(deployment_id)))


class _Change(PlatformView):
    """A change of one deployment."""

    required_scopes: ClassVar = {"POST": "deployments:write"}
    addressed_row: ClassVar = ("deployment_id", Deployment)


class DeploymentStop(_Change):
    """Stopping."""

    @extend_schema(request=None)
    def post(self, request: Request, deployment_id: str) -> Response:
        """Stop a deployment; calls are refused until it is started."""
        stopped = services.stop(actor=self.actor, now=self.now, deployment_id=deployment_id)
        return Response(represent.deployment(stopped))


class DeploymentStart(_Change):
    """Starting."""

    @extend_schema(request=None, responses={202: OBJECT})
    def post(self, request: Request, deployment_id: str) -> Response:
        """Start a stopped or failed deployment with its last release."""
        started = services.start(actor=self.actor, now=self.now, deployment_id=deployment_id)
        return Response(represent.deployment(started), status=202)


class DeploymentRollback(_Change):
    """Rolling back."""

    @extend_schema(request=RollbackBody, responses={202: OBJECT})
    def post(self, request: Request, deployment_id: str) -> Response:
        """Go back to an earlier release, by default the one before."""
        number = cast("int | None", self.validated(RollbackBody).get("release"))
        back = services.rollback(
            actor=self.actor, now=self.now, deployment_id=deployment_id, number=number
        )
        return Response(represent.deployment(back), status=202)


class DeploymentReleases(PlatformView):
    """The releases of a deployment."""

    required_scopes: ClassVar = {"GET": "assets:read"}
    addressed_row: ClassVar = ("deployment_id", Deployment)

    @extend_schema(parameters=PAGE)
    def get(self, request: Request, deployment_id: str) -> Response:
        """List releases, newest first."""
        rows = queries.releases(queries.deployment(deployment_id))
        return Response(paginate(rows, request, serialize=represent.release))


class DeploymentLogs(PlatformView):
    """The log of a deployment."""

    required_scopes: ClassVar = {"GET": "assets:read"}
    addressed_row: ClassVar = ("deployment_id", Deployment)

    @extend_schema(parameters=PAGE)
    def get(self, request: Request, deployment_id: str) -> Response:
        """List log lines, newest first."""
        rows = queries.log_lines(queries.deployment(deployment_id))
        return Response(paginate(rows, request, serialize=represent.log_line, order=("-id",)))


class DeploymentHealth(PlatformView):
    """The health of a deployment."""

    required_scopes: ClassVar = {"GET": "assets:read"}
    addressed_row: ClassVar = ("deployment_id", Deployment)

    def get(self, request: Request, deployment_id: str) -> Response:
        """Return the state and the probes of the last check."""
        found = queries.deployment(deployment_id)
        return Response(represent.health(found, queries.last_check(found)))


class DeploymentInvoke(PlatformView):
    """Running a deployed asset directly."""

    required_scopes: ClassVar = {"POST": "agents:run"}
    addressed_row: ClassVar = ("deployment_id", Deployment)
    own_transaction = frozenset({"POST"})

    @extend_schema(request=InvokeBody)
    def post(self, request: Request, deployment_id: str) -> Response:
        """Call a connector's action, an agent, a model or a dataset, and wait for the outcome."""
        data = self.validated(InvokeBody)
        try:
            outcome = calls.invoke(
                scope=self.scope,
                deployment_id=deployment_id,
                action=cast("str | None", data.get("action")),
                input=cast("Json", data.get("input", {})),
                actor=self.actor,
                now=self.now,
                idempotency_key=request.headers.get("Idempotency-Key") or new_id("req"),
                keep=lambda done: self.keep_answer(Response(_outcome(deployment_id, done))),
            )
        except AssetError as error:
            raise http_error(error) from error
        return Response(_outcome(deployment_id, outcome))


def _outcome(deployment_id: str, outcome: Outcome) -> Json:
    return {
        "object": "invocation",
        "deployment_id": deployment_id,
        "agent_run_id": outcome.run_id,
        "output": outcome.output,
        "resources": list(outcome.resources[:LISTED]),
        "resource_count": len(outcome.resources),
        "evidence": [evidence_entry(item) for item in outcome.evidence],
    }
