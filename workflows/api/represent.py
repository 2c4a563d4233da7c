"""The JSON forms of workflows, versions, runs, steps and tasks."""

from datetime import UTC, datetime
from typing import Any

from assets.models import DeploymentLog
from workflows.models import (
    Run,
    RunStatus,
    StepRun,
    StoredValue,
    Task,
    Trigger,
    Workflow,
    WorkflowVersion,
)
from workflows.promotion import Promotion

Json = dict[str, Any]


def stamp(moment: datetime | None) -> str | None:
    """Return a time as UTC ISO 8601 with `Z`."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def workflow(item: Workflow) -> Json:
    """Return an entry of the list of workflows."""
    return {
        "id": item.id,
        "object": "workflow",
        "project_id": item.project_id,
        "slug": item.slug,
        "name": item.name,
        "description": item.description,
        "status": "draft" if item.published_number is None else "published",
        "published_version": item.published_number,
        "revision": item.revision,
        "source": item.source or None,
        "metadata": item.metadata,
        "created_at": stamp(item.created_at),
        "updated_at": stamp(item.updated_at),
    }


def workflow_detail(item: Workflow, problems: list[Json] | None = None) -> Json:
    """Return a workflow with its draft, and what is wrong with it where that was checked."""
    detail = workflow(item) | {"definition": item.draft}
    return detail if problems is None else detail | {"problems": problems}


def version(item: WorkflowVersion) -> Json:
    """Return a published version."""
    return {
        "id": item.id,
        "object": "workflow_version",
        "project_id": item.project_id,
        "version": item.number,
        "digest": item.digest,
        "notes": item.notes,
        "definition": item.definition,
        "published_by": item.published_by,
        "published_at": stamp(item.published_at),
    }


def promotion(slug: str, item: Promotion) -> Json:
    """Return what a promotion came to."""
    return {
        "object": "workflow_promotion",
        "workflow_id": slug,
        "promoted": item.workflow is not None,
        "from_version": item.number,
        "published_version": item.workflow.published_number if item.workflow else None,
        "missing": [problem.as_dict() for problem in item.missing],
    }


def run(item: Run) -> Json:
    """Return a run."""
    return {
        "id": item.id,
        "object": "workflow_run",
        "project_id": item.project_id,
        "workflow_id": item.slug,
        "version": item.number,
        "status": item.status,
        "trigger": item.trigger,
        "input": item.input,
        "output": item.output,
        "error": item.error,
        "metadata": item.metadata,
        "restarts": item.restarts,
        "parent_run_id": item.parent or None,
        "depth": item.depth,
        "held": item.held,
        "deadline_at": stamp(item.deadline_at),
        "resume_at": stamp(item.resume_at),
        "created_at": stamp(item.created_at),
        "started_at": stamp(item.started_at),
        "finished_at": stamp(item.finished_at),
        "duration_ms": _milliseconds(item.started_at, item.finished_at),
    }


def accepted(item: Run) -> Json:
    """Return a run that was just started as it was accepted, however far it is already."""
    began = {"status": RunStatus.QUEUED, "output": None, "error": None}
    times = {"started_at": None, "finished_at": None, "duration_ms": None}
    return run(item) | began | times


def stored_value(item: StoredValue) -> Json:
    """Return a stored input or output; a sensitive one is empty once its run is over."""
    return {
        "id": item.id,
        "object": "workflow_value",
        "run_id": item.run_id,
        "bytes": item.size,
        "content": None if item.sensitive else item.content,
    }


def log_line(item: DeploymentLog) -> Json:
    """Return a line that an asset wrote while a step called it."""
    return {
        "object": "workflow_log_line",
        "step_id": item.step,
        "deployment_id": item.deployment_id,
        "asset_id": item.deployment.asset_id,
        "release": item.release_number,
        "level": item.level,
        "message": item.message,
        "fields": item.fields,
        "at": stamp(item.at),
    }


def step(item: StepRun) -> Json:
    """Return one attempt of a step."""
    return {
        "id": item.id,
        "object": "workflow_step",
        "run_id": item.run_id,
        "step_id": item.step,
        "path": item.path,
        "kind": item.kind,
        "iteration": item.iteration or None,
        "attempt": item.attempt,
        "status": item.status,
        "superseded": item.superseded,
        "input": None if item.sensitive else item.input,
        "output": None if item.sensitive else item.output,
        "sensitive": item.sensitive,
        "error": item.error,
        "waiting": item.waiting,
        "due_at": stamp(item.due_at),
        "started_at": stamp(item.started_at),
        "finished_at": stamp(item.finished_at),
        "duration_ms": _milliseconds(item.started_at, item.finished_at),
    }


def trigger(item: Trigger, environment_id: str) -> Json:
    """Return a trigger; a webhook's with its address."""
    is_hook = item.kind == "webhook"
    return {
        "id": item.id,
        "object": "workflow_trigger",
        "project_id": item.project_id,
        "name": item.name,
        "kind": item.kind,
        "definition": item.spec,
        "active": item.active,
        "url": f"/v1/hooks/{environment_id}/{item.id}" if is_hook else None,
        "has_secret": item.sealed is not None if is_hook else None,
        "due_at": stamp(item.due_at),
        "fired_at": stamp(item.fired_at),
        "last_error": item.last_error or None,
        "created_at": stamp(item.created_at),
    }


def task(item: Task) -> Json:
    """Return a task."""
    return {
        "id": item.id,
        "object": "task",
        "project_id": item.project_id,
        "run_id": item.run_id,
        "step_id": item.step,
        "title": item.title,
        "description": item.description,
        "form": item.form or None,
        "role": item.role or None,
        "user_id": item.user_id or None,
        "escalated_to": item.escalated_to or None,
        "iteration": item.iteration or None,
        "status": item.status,
        "data": item.data,
        "comment": item.comment,
        "deadline_at": stamp(item.deadline_at),
        "decided_by": item.decided_by,
        "decided_at": stamp(item.decided_at),
        "created_at": stamp(item.created_at),
    }


def _milliseconds(begun: datetime | None, ended: datetime | None) -> int | None:
    if begun is None or ended is None:
        return None
    return max(0, round((ended - begun).total_seconds() * 1000))
