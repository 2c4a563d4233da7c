"""`/v1/tasks`: what runs ask of people."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.api.pagination import paginate
from healthcloud.api.views import PlatformView
from healthcloud.errors import BadRequest
from healthcloud.organizations.permissions import roles_of
from workflows import queries, runs
from workflows.api import documentation, represent
from workflows.api.bodies import DecideBody
from workflows.models import Task, TaskStatus


class Tasks(PlatformView):
    """The project's tasks."""

    required_scopes: ClassVar = {"GET": "workflows:read"}

    @extend_schema(parameters=documentation.TASKS)
    def get(self, request: Request) -> Response:
        """List tasks, newest first; by `status`, `run_id`."""
        rows = queries.tasks()
        if status := request.query_params.get("status"):
            if status not in TaskStatus.values:
                known = ", ".join(TaskStatus.values)
                raise BadRequest(f"`status` is one of {known}.", param="status")
            rows = rows.filter(status=status)
        if run_id := request.query_params.get("run_id"):
            rows = rows.filter(run=run_id)
        return Response(paginate(rows, request, serialize=represent.task))


class TaskDetail(PlatformView):
    """One task."""

    required_scopes: ClassVar = {"GET": "workflows:read"}
    addressed_row: ClassVar = ("task_id", Task)

    def get(self, request: Request, task_id: str) -> Response:
        """Return a task."""
        return Response(represent.task(queries.task(task_id)))


class DecideTask(PlatformView):
    """Deciding."""

    required_scopes: ClassVar = {"POST": "workflows:run"}
    addressed_row: ClassVar = ("task_id", Task)

    @extend_schema(request=DecideBody)
    def post(self, request: Request, task_id: str) -> Response:
        """Approve or reject; the run goes on."""
        data: dict[str, Any] = self.validated(DecideBody)
        decided = runs.decide_task(
            task_id=task_id, actor=self.actor, now=self.now, roles=roles_of(self.principal), **data
        )
        return Response(represent.task(decided))
