"""Reads of workflows, runs and tasks, inside a tenant scope."""

from typing import Any

from django.db.models import QuerySet

from assets.models import DeploymentLog
from assets.queries import log_lines_of_run
from healthcloud.errors import Conflict, NotFound
from healthcloud.tenancy.scope import active_project
from workflows import run_rows
from workflows.comparing import compare
from workflows.models import Run, StepRun, StoredValue, Task, Workflow, WorkflowVersion


class WorkflowNotFound(NotFound):
    """No workflow of that slug in this project."""

    def __init__(self, slug: str) -> None:
        super().__init__(
            f"There is no workflow `{slug[:80]}` in this project. GET /v1/workflows lists them.",
            param="workflow_id",
        )


class VersionNotFound(NotFound):
    """The workflow has no such version."""

    def __init__(self, slug: str, number: object) -> None:
        super().__init__(f"Workflow `{slug}` has no version {number}.", param="version")


class NotPublished(Conflict):
    """The workflow has a draft only."""

    def __init__(self, slug: str) -> None:
        super().__init__(
            f"Workflow `{slug}` has no published version. POST /v1/workflows/{slug}/publish first."
        )


class RunNotFound(NotFound):
    """No run of that id in this project."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"There is no run `{run_id[:60]}` here.", param="id")


class TaskNotFound(NotFound):
    """No task of that id in this project."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"There is no task `{task_id[:60]}` here.", param="id")


def workflows() -> QuerySet[Workflow]:
    """Return the workflows that are not deleted."""
    return Workflow.objects.filter(deleted_at__isnull=True)


def workflow(slug: str) -> Workflow:
    """Return the active project's workflow; raise WorkflowNotFound."""
    project_id, _ = active_project()
    found = workflows().filter(project_id=project_id, slug=slug).first()
    if found is None:
        raise WorkflowNotFound(slug)
    return found


def versions(workflow: Workflow) -> QuerySet[WorkflowVersion]:
    """Return a workflow's versions."""
    return WorkflowVersion.objects.filter(workflow=workflow)


def version(workflow: Workflow, number: int | None = None) -> WorkflowVersion:
    """Return a version, the published one by default; raise VersionNotFound or NotPublished."""
    wanted = workflow.published_number if number is None else number
    if wanted is None:
        raise NotPublished(workflow.slug)
    found = versions(workflow).filter(number=wanted).first()
    if found is None:
        raise VersionNotFound(workflow.slug, wanted)
    return found


def difference(workflow: Workflow, old: int | None, new: int | None) -> dict[str, Any]:
    """Return what differs between two versions; None is the published one, and the draft."""
    before = version(workflow, old)
    after = workflow.draft if new is None else version(workflow, new).definition
    return {
        "object": "workflow_diff",
        "workflow_id": workflow.slug,
        "from": before.number,
        "to": "draft" if new is None else new,
        "changes": compare(before.definition, after),
    }


def runs() -> QuerySet[Run]:
    """Return the runs of the active scope."""
    return Run.objects.all()


def run(run_id: str) -> Run:
    """Return a run; raise RunNotFound."""
    found = run_rows.find(run_id)
    if found is None:
        raise RunNotFound(run_id)
    return found


def steps(run: Run) -> QuerySet[StepRun]:
    """Return the attempts of a run's steps in the order in which they began."""
    return StepRun.objects.filter(run=run).order_by("sequence", "id")


def tasks() -> QuerySet[Task]:
    """Return the tasks of the active scope."""
    return Task.objects.all()


def task(task_id: str) -> Task:
    """Return a task; raise TaskNotFound."""
    found = tasks().filter(id=task_id).first()
    if found is None:
        raise TaskNotFound(task_id)
    return found


class ValueNotFound(NotFound):
    """The run has no such stored value."""

    def __init__(self, value_id: str) -> None:
        super().__init__(f"The run has no stored value `{value_id[:60]}`.", param="id")


def log_lines(run: Run) -> QuerySet[DeploymentLog]:
    """Return what the assets that a run called wrote to their logs."""
    return log_lines_of_run(run.id)


def stored_value(run: Run, value_id: str) -> StoredValue:
    """Return an input or output that is too large for its step's row; raise ValueNotFound."""
    found = StoredValue.objects.filter(run=run, id=value_id).first()
    if found is None:
        raise ValueNotFound(value_id)
    return found
