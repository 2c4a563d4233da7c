"""Start runs and act on them: cancel, retry, resume, signal, decide.

Each function runs inside `tenant_scope` with a project, in the caller's transaction. What a
worker has to do is asked for in the same transaction, so an accepted run is never lost.
"""

import json
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import DatabaseError, connection, transaction

from healthcloud.actors import Actor
from healthcloud.audit.services import ask_for_chain_after_commit, entry, record
from healthcloud.errors import Conflict, PayloadTooLarge, ValidationFailed
from healthcloud.events.services import announce_after_commit, compose, recording
from healthcloud.ledger.doorbell import ring_after_commit
from healthcloud.ledger.models import Queue
from healthcloud.tenancy.pipeline import Refused, Statement
from healthcloud.tenancy.scope import (
    active_project,
    active_scope,
    execute,
    in_transaction,
    is_direct,
)
from workflows import published, queries, run_rows, step_rows
from workflows.admission import TooManyRuns, admit
from workflows.deciding import InvalidDecision, NotTheirDecision, TaskIsDecided, decide_task
from workflows.definition import NO_LIMITS
from workflows.due import ask_all, ask_for, asking_for
from workflows.ending import cancel_run
from workflows.in_place import Carried, HandOver, carry, carry_own
from workflows.inputs import violations
from workflows.models import Run, Signal, StepRun, StepStatus
from workflows.published import Published
from workflows.telling import facts

__all__ = [
    "CALLED",
    "Cause",
    "InputTooLarge",
    "InvalidDecision",
    "InvalidInput",
    "NotTheirDecision",
    "NotWaiting",
    "RunIsOver",
    "TaskIsDecided",
    "TooDeep",
    "TooManyRuns",
    "cancel",
    "decide_task",
    "locked",
    "note",
    "resume",
    "signal",
    "start",
]

MAX_INPUT_BYTES: Final = 1_048_576
MAX_SIGNAL_BYTES: Final = 262_144
MAX_DEPTH: Final = 8


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


class NotWaiting(Conflict):
    """The run waits for nothing that can be cut short."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What led to a run besides a call: the run (and branch) that waits for it, or an event.

    `depth` counts how many runs and events led to each other; `facts` are told in `trigger`.
    """

    run_id: str = ""
    lane_id: str = ""
    depth: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


CALLED: Final = Cause()


class TooDeep(Conflict):
    """Runs and events led to each other too many times."""

    def __init__(self, slug: str) -> None:
        super().__init__(
            f"`{slug}` was not started: more than {MAX_DEPTH} runs and events led to each other."
        )


def start(
    *,
    actor: Actor,
    workflow: str,
    input: Mapping[str, Any],
    now: datetime,
    idempotency_key: str | None = None,
    trigger: str = "api",
    metadata: Mapping[str, str] | None = None,
    cause: Cause = CALLED,
    in_place: bool = False,
) -> Run:
    """Queue a run of the published version of the workflow with this slug.

    With an `idempotency_key` that was used for this workflow before, the run of then is
    returned. `in_place` carries a run of quick steps to its end before it is written, so that it
    is over when it is there. In a direct scope all is one group of statements, for a workflow
    that this process knows. Raises WorkflowNotFound, NotPublished, InvalidInput, InputTooLarge,
    TooManyRuns, TooDeep; NotRemembered and Refused in a direct scope.
    """
    found = published.find(workflow)
    if cause.depth > MAX_DEPTH:
        raise TooDeep(found.slug)
    _check_input(found.version.input_schema, input)
    if is_direct() and found.limits != NO_LIMITS:
        raise published.NotRemembered(workflow)
    patient = input.get("patient_id")
    kind = {"kind": trigger, **cause.facts}
    roots = {"input": dict(input), "trigger": kind}
    admission = admit(found.workflow_id, found.project_id, found.slug, found.limits, roots)
    run = Run(
        project_id=found.project_id,
        workflow_id=found.workflow_id,
        version_id=found.version_id,
        slug=found.slug,
        number=found.number,
        trigger=kind,
        trigger_kind=trigger,
        input=dict(input),
        actor=actor.as_dict(),
        patient=patient.removeprefix("Patient/")[:64] if isinstance(patient, str) else "",
        metadata=dict(metadata or {}),
        idempotency_key=idempotency_key,
        parent=cause.run_id,
        parent_lane=cause.lane_id,
        depth=cause.depth,
        limit_key=admission.key,
        held=admission.held,
        deadline_at=found.deadline(now),
        created_at=now,
    )
    source = published.still(found)
    if in_place and found.is_own and (over := _carry_own(run, found, source, actor, now)):
        return over
    carried = carry(run, found, now) if in_place else None
    if not _write(run, found, source, actor, now, carried or Carried()):
        return Run.objects.get(workflow=run.workflow_id, idempotency_key=run.idempotency_key)
    for replaced in admission.replaced:
        cancel(run_id=replaced, actor=actor, now=now)
    return run


def _carry_own(
    run: Run, found: Published, source: Statement, actor: Actor, now: datetime
) -> Run | None:
    """Carry a run of steps of our own rows to its end and write it; None, nothing done, if not."""
    if run.idempotency_key is not None or active_scope().sight:
        return None
    over = copy(run)
    try:
        with in_transaction():
            _write(over, found, source, actor, now, carry_own(over, found, now))
    except (HandOver, DatabaseError):
        published.note_slow(found)
        return None
    published.note_quick(found)
    return over


def _write(
    run: Run, found: Published, source: Statement, actor: Actor, now: datetime, carried: Carried
) -> bool:
    """Write a run with all that belongs to its start; False if its key was used before."""
    if run.idempotency_key is None:
        statements = [run_rows.inserting(run, source)]
    else:
        statements = []
        if not execute([run_rows.inserting_once(run)])[0]:
            return False
    if carried.steps:
        statements.append(step_rows.inserting(carried.steps))
    told = facts(run) | {"trigger": run.trigger_kind}
    started = compose("workflow.started", told, now, actor)
    statements += recording([started, *carried.events])
    asked = len(statements) - 1
    statements.append(_noted("workflow.run", run, actor, now))
    if not run.held and not run.final:
        statements.append(asking_for(run.id))
    try:
        rows = execute(statements)
    except Refused:
        published.forget(found)
        raise
    run._state.adding, run._state.db = False, connection.alias
    if not run.held and not run.final:
        ring_after_commit(Queue.STEPS)
    announce_after_commit(rows[asked])
    ask_for_chain_after_commit()
    return True


@transaction.atomic
def cancel(*, run_id: str, actor: Actor, now: datetime) -> Run:
    """End a run now; whatever a worker is doing for it will not be committed.

    Raises RunNotFound, RunIsOver.
    """
    run = locked(run_id)
    if run.final:
        raise RunIsOver(run)
    cancel_run(run, actor, now)
    note("workflow.cancel", run, actor, now)
    return run


@transaction.atomic
def resume(*, run_id: str, actor: Actor, now: datetime) -> Run:
    """Let a run that waits for a time go on now. Raises RunNotFound, RunIsOver, NotWaiting."""
    run = locked(run_id)
    if run.final:
        raise RunIsOver(run)
    waiting = StepRun.objects.filter(run=run, superseded=False, status=StepStatus.WAITING)
    steps = [row for row in waiting if not (row.waiting or {}).get("fan_out")]
    if not steps:
        raise NotWaiting(f"Run `{run.id}` is not waiting.")
    timers = [row for row in steps if not _awaited(row)]
    if not timers:
        raise NotWaiting(f"Run `{run.id}` waits for {_awaited(steps[0])}.")
    for row in timers:
        row.waiting = {**(row.waiting or {}), "until": now.isoformat()}
        row.save(update_fields=["waiting"])
        ask_for(run.id, row.lane)
    note("workflow.resume", run, actor, now)
    return run


def _awaited(row: StepRun) -> str | None:
    """Return what other than time a step waits for, and what to do about it."""
    wait = row.waiting or {}
    if wait.get("task"):
        return f"task `{wait['task']}`: decide that"
    if wait.get("signal"):
        return f"the signal `{wait['signal']}`: send that"
    if wait.get("child"):
        return f"run `{wait['child']}`: resume or cancel that"
    return "an event" if wait.get("event") else None


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
    ask_all(run)
    note("workflow.signal", run, actor, now, signal=name)
    return sent


def locked(run_id: str) -> Run:
    """Return a run whose row is locked until the transaction ends; raise RunNotFound."""
    project_id, _ = active_project()
    found = (
        Run.objects.select_for_update(no_key=True).filter(id=run_id, project_id=project_id).first()
    )
    if found is None:
        raise queries.RunNotFound(run_id)
    return found


def _check_input(schema: Mapping[str, Any], value: Mapping[str, Any]) -> None:
    if len(json.dumps(value)) > MAX_INPUT_BYTES:
        raise InputTooLarge
    problems = violations(schema, dict(value))
    if problems:
        raise InvalidInput(problems)


def _noted(action: str, run: Run, actor: Actor, now: datetime) -> Statement:
    return entry(
        actor=actor,
        action=action,
        target_type="workflow_run",
        target_id=run.id,
        now=now,
        details={"workflow_id": run.slug},
    )


def note(action: str, run: Run, actor: Actor, now: datetime, **details: object) -> None:
    record(
        actor=actor,
        action=action,
        target_type="workflow_run",
        target_id=run.id,
        now=now,
        details={"workflow_id": run.slug, **details},
    )
