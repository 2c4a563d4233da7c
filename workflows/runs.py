"""Start runs and act on them: cancel, retry, resume, signal, decide.

Each function runs inside `tenant_scope` with a project, in the caller's transaction. What a
worker has to do is asked for in the same transaction, so an accepted run is never lost.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import Max, Q

from healthcloud.actors import Actor
from healthcloud.audit.services import record
from healthcloud.errors import BadRequest, Conflict, PayloadTooLarge, ValidationFailed
from healthcloud.events.services import publish
from healthcloud.ledger.models import Queue
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import active_project, active_scope
from workflows import queries
from workflows.inputs import violations
from workflows.models import Run, RunStatus, Signal, StepRun, StepStatus, Task, TaskStatus

WORK_KIND: Final = "workflow.run"
MAX_INPUT_BYTES: Final = 1_048_576
MAX_SIGNAL_BYTES: Final = 262_144


class InvalidInput(ValidationFailed):
    """The input breaks the workflow's input schema; `details` lists the fields."""

    def __init__(self, problems: list[dict[str, str]]) -> None:
        first = problems[0]
        place = f"input.{first['field']}" if first["field"] else "input"
        super().__init__(f"{place}: {first['message']}", param=place, details=problems)


class InputTooLarge(PayloadTooLarge):
    """The input exceeds its limit."""

    def __init__(self) -> None:
        super().__init__(f"The input of a run has at most {MAX_INPUT_BYTES} bytes.", param="input")


class RunIsOver(Conflict):
    """The run has ended already."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"Run `{run.id}` is over already: {run.status}.")


class CannotRetry(Conflict):
    """Only a run that has ended without completing can be retried."""


class NotWaiting(Conflict):
    """The run waits for nothing that can be cut short."""


class TaskIsDecided(Conflict):
    """The task was decided before, or is no longer asked."""


class NotTheirDecision(Conflict):
    """The task asks another person or role."""

    code = "forbidden"
    status = 403


class InvalidDecision(ValidationFailed):
    """The decision's data breaks the task's form."""


def start(
    *,
    actor: Actor,
    workflow: str,
    input: Mapping[str, Any],
    now: datetime,
    idempotency_key: str | None = None,
    trigger: str = "api",
    metadata: Mapping[str, str] | None = None,
) -> Run:
    """Queue a run of the published version of the workflow with this slug.

    With an `idempotency_key` that was used for this workflow before, the run of then is
    returned. Raises WorkflowNotFound, NotPublished, InvalidInput, InputTooLarge.
    """
    found = queries.workflow(workflow)
    version = queries.version(found)
    _check_input(version.definition.get("input_schema") or {}, input)
    patient = input.get("patient_id")
    run = Run(
        project_id=found.project_id,
        workflow=found,
        version=version,
        slug=found.slug,
        number=version.number,
        trigger={"kind": trigger},
        trigger_kind=trigger,
        input=dict(input),
        actor=actor.as_dict(),
        patient=patient.removeprefix("Patient/")[:64] if isinstance(patient, str) else "",
        metadata=dict(metadata or {}),
        idempotency_key=idempotency_key,
        created_at=now,
    )
    earlier = _insert(run)
    if earlier is not None:
        return earlier
    ask(run)
    publish(
        type="workflow.started", payload=facts(run) | {"trigger": trigger}, actor=actor, now=now
    )
    _note("workflow.run", run, actor, now)
    return run


@transaction.atomic
def cancel(*, run_id: str, actor: Actor, now: datetime) -> Run:
    """End a run now; whatever a worker is doing for it will not be committed.

    Raises RunNotFound, RunIsOver.
    """
    run = locked(run_id)
    if run.final:
        raise RunIsOver(run)
    run.status = RunStatus.CANCELED
    run.finished_at = now
    run.resume_at = None
    run.save(update_fields=["status", "finished_at", "resume_at"])
    open_states = (StepStatus.RUNNING, StepStatus.WAITING, StepStatus.RETRYING)
    StepRun.objects.filter(run=run, status__in=open_states).update(
        status=StepStatus.CANCELED, finished_at=now
    )
    Task.objects.filter(run=run, status=TaskStatus.OPEN).update(status=TaskStatus.CANCELED)
    ask(run)
    publish(type="workflow.canceled", payload=timed(run), actor=actor, now=now)
    _note("workflow.cancel", run, actor, now)
    return run


@transaction.atomic
def retry(*, run_id: str, actor: Actor, now: datetime, from_step: str | None = None) -> Run:
    """Run the failed step again, or `from_step` and all after it; finished ones are reused.

    The run stays on its version. Raises RunNotFound, CannotRetry, BadRequest.
    """
    run = locked(run_id)
    if run.status not in {RunStatus.FAILED, RunStatus.CANCELED}:
        raise CannotRetry(f"Run `{run.id}` is {run.status}; only failed or canceled runs restart.")
    rows = StepRun.objects.filter(run=run, superseded=False)
    first = _first_to_repeat(rows, from_step)
    if first is not None:
        rows.filter(sequence__gte=first).update(superseded=True)
    run.status = RunStatus.QUEUED
    run.restarts += 1
    run.error = run.output = run.finished_at = None
    run.save(update_fields=["status", "restarts", "error", "output", "finished_at"])
    ask(run)
    publish(
        type="workflow.started", payload=facts(run) | {"trigger": "retry"}, actor=actor, now=now
    )
    _note("workflow.retry", run, actor, now, from_step=from_step)
    return run


@transaction.atomic
def resume(*, run_id: str, actor: Actor, now: datetime) -> Run:
    """Let a run that waits for a time go on now. Raises RunNotFound, RunIsOver, NotWaiting."""
    run = locked(run_id)
    if run.final:
        raise RunIsOver(run)
    step = StepRun.objects.filter(run=run, superseded=False, status=StepStatus.WAITING).first()
    if step is None:
        raise NotWaiting(f"Run `{run.id}` is not waiting.")
    wait = step.waiting or {}
    if wait.get("task"):
        raise NotWaiting(f"Run `{run.id}` waits for task `{wait['task']}`: decide that.")
    if wait.get("signal"):
        raise NotWaiting(f"Run `{run.id}` waits for the signal `{wait['signal']}`: send that.")
    step.waiting = {**wait, "until": now.isoformat()}
    step.save(update_fields=["waiting"])
    ask(run)
    _note("workflow.resume", run, actor, now)
    return run


@transaction.atomic
def signal(*, run_id: str, name: str, payload: object, actor: Actor, now: datetime) -> Signal:
    """Send a named message to a run; it is kept until a step waits for it.

    Raises RunNotFound, RunIsOver, PayloadTooLarge.
    """
    run = locked(run_id)
    if run.final:
        raise RunIsOver(run)
    if len(json.dumps(payload)) > MAX_SIGNAL_BYTES:
        message = f"The payload of a signal has at most {MAX_SIGNAL_BYTES} bytes."
        raise PayloadTooLarge(message, param="payload")
    sent = Signal.objects.create(
        project_id=run.project_id,
        run=run,
        name=name,
        payload=payload,
        sent_by=actor.as_dict(),
        sent_at=now,
    )
    ask(run)
    _note("workflow.signal", run, actor, now, signal=name)
    return sent


@transaction.atomic
def decide_task(
    *,
    task_id: str,
    decision: str,
    actor: Actor,
    now: datetime,
    role: str | None = None,
    data: object = None,
    comment: str = "",
) -> Task:
    """Approve or reject; the run goes on. `role` is the caller's role, None for an API key.

    Raises TaskNotFound, TaskIsDecided, NotTheirDecision, InvalidDecision.
    """
    task = Task.objects.select_for_update().filter(id=task_id).first()
    if task is None:
        raise queries.TaskNotFound(task_id)
    if task.status != TaskStatus.OPEN:
        raise TaskIsDecided(f"Task `{task.id}` is {task.status} already.")
    if decision not in {TaskStatus.APPROVED, TaskStatus.REJECTED}:
        raise BadRequest('`decision` is "approved" or "rejected".', param="decision")
    _check_person(task, actor, role)
    if decision == TaskStatus.APPROVED and task.form:
        problems = violations(task.form, data if data is not None else {})
        if problems:
            raise InvalidDecision(problems[0]["message"], param="data", details=problems)
    task.status = decision
    task.data = data
    task.comment = comment
    task.decided_by = actor.as_dict()
    task.decided_at = now
    task.save()
    ask(task.run)
    payload = facts(task.run) | {"task_id": task.id, "step_id": task.step, "decision": decision}
    payload.pop("version")
    publish(type="task.decided", payload=payload, actor=actor, now=now)
    record(
        actor=actor,
        action="task.decide",
        target_type="task",
        target_id=task.id,
        now=now,
        details={"run_id": task.run_id, "decision": decision},
    )
    return task


def ask(run: Run) -> None:
    """Ask for the run to be carried on, in the transaction of what gave reason to."""
    enqueue(
        scope=active_scope(),
        kind=WORK_KIND,
        ref=run.id,
        queue=Queue.STEPS,
        dedupe_key=run.id,
    )


def locked(run_id: str) -> Run:
    """Return a run whose row is locked until the transaction ends; raise RunNotFound."""
    project_id, _ = active_project()
    found = Run.objects.select_for_update().filter(id=run_id, project_id=project_id).first()
    if found is None:
        raise queries.RunNotFound(run_id)
    return found


def facts(run: Run) -> dict[str, object]:
    """Return what events say of a run."""
    return {"run_id": run.id, "workflow_id": run.slug, "version": run.number}


def timed(run: Run) -> dict[str, object]:
    """Return what events say of a run that ended."""
    began = run.started_at or run.created_at
    ended = run.finished_at or began
    milliseconds = max(0, round((ended - began).total_seconds() * 1000))
    return facts(run) | {"duration_ms": milliseconds, "trigger": run.trigger_kind}


def _insert(run: Run) -> Run | None:
    """Insert the run; return the run that used the same key before, if there is one."""
    if run.idempotency_key is None:
        run.save(force_insert=True)
        return None
    try:
        with transaction.atomic():
            run.save(force_insert=True)
    except IntegrityError:
        key = Q(workflow=run.workflow_id, idempotency_key=run.idempotency_key)
        return Run.objects.get(key)
    return None


def _check_input(schema: Mapping[str, Any], value: Mapping[str, Any]) -> None:
    if len(json.dumps(value)) > MAX_INPUT_BYTES:
        raise InputTooLarge
    problems = violations(schema, dict(value))
    if problems:
        raise InvalidInput(problems)


def _first_to_repeat(rows: Any, from_step: str | None) -> int | None:  # noqa: ANN401  # a queryset
    """Return the sequence number of the first row to repeat; None when nothing failed."""
    if from_step is not None:
        first = rows.filter(step=from_step).order_by("sequence").first()
        if first is None:
            raise BadRequest(f"The run did not come to a step `{from_step}`.", param="from_step")
        return int(first.sequence)
    ended = (StepStatus.FAILED, StepStatus.CANCELED)
    last = rows.filter(status__in=ended).aggregate(last=Max("sequence"))["last"]
    return None if last is None else int(last)


def _check_person(task: Task, actor: Actor, role: str | None) -> None:
    if task.user_id and actor.id != task.user_id:
        raise NotTheirDecision(f"Task `{task.id}` asks another person.")
    allowed = {task.role, "owner", "admin"}
    if task.role and actor.kind == "user" and role not in allowed:
        raise NotTheirDecision(f"Task `{task.id}` asks someone with the role `{task.role}`.")


def _note(action: str, run: Run, actor: Actor, now: datetime, **details: object) -> None:
    record(
        actor=actor,
        action=action,
        target_type="workflow_run",
        target_id=run.id,
        now=now,
        details={"workflow_id": run.slug, **details},
    )
