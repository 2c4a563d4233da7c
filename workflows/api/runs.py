"""`/v1/workflows/run` and `/v1/workflows/runs`: start runs, follow them, act on them."""

from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.api import throttling
from healthcloud.api.pagination import PAGE, paginate
from healthcloud.api.views import PlatformView
from workflows import observing, queries, retrying, runs
from workflows.api import documentation, represent
from workflows.api.bodies import RerunBody, RetryBody, RunBody, SignalBody
from workflows.api.filtering import filtered
from workflows.api.waiting import awaited, seconds_asked, seconds_wanted, status_of
from workflows.models import Run

_WAIT = "How many seconds to wait for the run's end, at most 30."


class StartRun(PlatformView):
    """Starting a run."""

    required_scopes: ClassVar = {"POST": "workflows:run"}
    own_transaction = frozenset({"POST"})
    keeps_answers = frozenset({"POST"})

    @extend_schema(request=RunBody)
    def post(self, request: Request) -> HttpResponseBase:
        """Start a run: 202 with the run as it was accepted, or with `wait` 200 with its end."""
        data: dict[str, Any] = self.validated(RunBody)
        seconds = seconds_wanted(request, data.get("wait"))
        started: list[Run] = []

        def start() -> Response:
            started.append(self._started(data))
            return _answer(started[0]) if seconds else _accepted(started[0])

        answer = self.answered_once(start)
        if not started or started[0].final or not seconds:
            return answer
        run = awaited(started[0], request=request, scope=self.scope, seconds=seconds)
        return self.answered_later(_answer(run))

    def _started(self, data: dict[str, Any]) -> Run:
        throttling.take_run(self.principal)
        return runs.start(
            actor=self.actor,
            workflow=data["workflow_id"],
            input=data.get("input", {}),
            metadata=data.get("metadata"),
            now=self.now,
            in_place=True,
        )


def _answer(run: Run) -> Response:
    return Response(represent.run(run), status=status_of(run))


def _accepted(run: Run) -> Response:
    """Return the answer to who does not wait: a quick run may be over, the answer does not tell."""
    return Response(represent.accepted(run), status=202)


class Runs(PlatformView):
    """The project's runs."""

    required_scopes: ClassVar = {"GET": "workflows:read"}

    @extend_schema(parameters=documentation.RUNS)
    def get(self, request: Request) -> Response:
        """List runs, newest first.

        Filters: `workflow`, `version`, `status`, `trigger`, `patient`, `since`, `until`, `parent`,
        and `metadata.<name>`.
        """
        return Response(paginate(filtered(request), request, serialize=represent.run))


class RunDetail(PlatformView):
    """One run."""

    required_scopes: ClassVar = {"GET": "workflows:read"}
    addressed_row: ClassVar = ("run_id", Run)
    own_transaction = frozenset({"GET"})

    @extend_schema(parameters=[OpenApiParameter("wait", float, description=_WAIT)])
    def get(self, request: Request, run_id: str) -> Response:
        """Return a run; with `wait` (or `Prefer: wait`) as soon as it is over."""
        seconds = seconds_asked(request)
        with self.entered(readonly=True):
            run = queries.run(run_id)
        run = awaited(run, request=request, scope=self.scope, seconds=seconds)
        return Response(represent.run(run))


class RunSteps(PlatformView):
    """What happened in a run."""

    required_scopes: ClassVar = {"GET": "workflows:read"}
    addressed_row: ClassVar = ("run_id", Run)

    @extend_schema(parameters=PAGE)
    def get(self, request: Request, run_id: str) -> Response:
        """List the attempts of steps in the order in which they began."""
        rows = queries.steps(queries.run(run_id))
        order = ("sequence", "id")
        return Response(paginate(rows, request, serialize=represent.step, order=order))


class RunLogs(PlatformView):
    """What the assets that a run called wrote to their logs."""

    required_scopes: ClassVar = {"GET": "workflows:read"}
    addressed_row: ClassVar = ("run_id", Run)

    @extend_schema(parameters=documentation.LOGS)
    def get(self, request: Request, run_id: str) -> Response:
        """List the lines in the order in which they were written; by `step_id`."""
        rows = queries.log_lines(queries.run(run_id))
        if step := request.query_params.get("step_id"):
            rows = rows.filter(step=step)
        return Response(paginate(rows, request, serialize=represent.log_line, order=("id",)))


class RunGraph(PlatformView):
    """A run as a graph."""

    required_scopes: ClassVar = {"GET": "workflows:read"}
    addressed_row: ClassVar = ("run_id", Run)

    def get(self, request: Request, run_id: str) -> Response:
        """Return the definition's steps with what became of each, and how they follow."""
        return Response(observing.graph_of(queries.run(run_id)))


class RunTimeline(PlatformView):
    """A run in time."""

    required_scopes: ClassVar = {"GET": "workflows:read"}
    addressed_row: ClassVar = ("run_id", Run)

    def get(self, request: Request, run_id: str) -> Response:
        """Return the attempts in the order in which they began, with their places in time."""
        return Response(observing.timeline_of(queries.run(run_id)))


class StoredValues(PlatformView):
    """What is too large for a step's row."""

    required_scopes: ClassVar = {"GET": "workflows:read"}
    addressed_row: ClassVar = ("run_id", Run)

    def get(self, request: Request, run_id: str, value_id: str) -> Response:
        """Return a stored input or output, to which a step's `$stored` refers."""
        found = queries.stored_value(queries.run(run_id), value_id)
        return Response(represent.stored_value(found))


class RerunRun(PlatformView):
    """Running again."""

    required_scopes: ClassVar = {"POST": "workflows:run"}
    addressed_row: ClassVar = ("run_id", Run)

    @extend_schema(request=RerunBody, responses={202: OpenApiTypes.OBJECT})
    def post(self, request: Request, run_id: str) -> Response:
        """Start a new run of the workflow, with the same input or an edited one."""
        data: dict[str, Any] = self.validated(RerunBody)
        throttling.take_run(self.principal)
        run = retrying.rerun(run_id=run_id, actor=self.actor, now=self.now, **data)
        return Response(represent.run(run), status=202)


class CancelRun(PlatformView):
    """Canceling."""

    required_scopes: ClassVar = {"POST": "workflows:run"}
    addressed_row: ClassVar = ("run_id", Run)

    @extend_schema(request=None)
    def post(self, request: Request, run_id: str) -> Response:
        """End a run now; it always wins over the worker."""
        run = runs.cancel(run_id=run_id, actor=self.actor, now=self.now)
        return Response(represent.run(run))


class RetryRun(PlatformView):
    """Retrying."""

    required_scopes: ClassVar = {"POST": "workflows:run"}
    addressed_row: ClassVar = ("run_id", Run)

    @extend_schema(request=RetryBody, responses={202: OpenApiTypes.OBJECT})
    def post(self, request: Request, run_id: str) -> Response:
        """Repeat the failed step, or `from_step` and all after it; finished ones are reused.

        `version` names a newer one that does not differ before that step.
        """
        data: dict[str, Any] = self.validated(RetryBody)
        run = retrying.retry(run_id=run_id, actor=self.actor, now=self.now, **data)
        return Response(represent.run(run), status=202)


class ResumeRun(PlatformView):
    """Resuming."""

    required_scopes: ClassVar = {"POST": "workflows:run"}
    addressed_row: ClassVar = ("run_id", Run)

    @extend_schema(request=None, responses={202: OpenApiTypes.OBJECT})
    def post(self, request: Request, run_id: str) -> Response:
        """Let a run that waits for a time go on now."""
        run = runs.resume(run_id=run_id, actor=self.actor, now=self.now)
        return Response(represent.run(run), status=202)


class SignalRun(PlatformView):
    """Signaling."""

    required_scopes: ClassVar = {"POST": "workflows:run"}
    addressed_row: ClassVar = ("run_id", Run)

    @extend_schema(request=SignalBody, responses={202: OpenApiTypes.OBJECT})
    def post(self, request: Request, run_id: str) -> Response:
        """Send a named message to a run."""
        data: dict[str, Any] = self.validated(SignalBody)
        sent = runs.signal(
            run_id=run_id,
            name=data["name"],
            payload=data.get("payload"),
            actor=self.actor,
            now=self.now,
        )
        body = {"id": sent.id, "object": "workflow_signal", "run_id": run_id, "name": sent.name}
        return Response(body, status=202)
