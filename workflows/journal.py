"""The journal of a run: reads what happened into the engine's state, and writes what happens.

Rows are collected and written together in one transaction with the fencing token checked, so
that steps which are only data cost no commit of their own.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from healthcloud.actors import Actor
from healthcloud.events.services import Happening, publish_all
from healthcloud.tenancy.batch import send_later
from healthcloud.tenancy.scope import Scope
from workflows.definition import Step
from workflows.engine import Json, State, StepError, StepState, Waiting
from workflows.engine import Signal as SignalState
from workflows.models import (
    FINAL,
    Run,
    RunStatus,
    Signal,
    StepRun,
    StepStatus,
    Task,
    TaskStatus,
    step_id,
)
from workflows.runs import facts

MAX_OUTPUT_BYTES: Final = 4 * 1_048_576
MAX_RUN_BYTES: Final = 64 * 1_048_576
_DECIDED: Final = (TaskStatus.APPROVED, TaskStatus.REJECTED)


# The token in the row is that of who wrote last. Only who has seen that writes next, so that of
# two workers that carry the run at once one alone commits.
_FENCE: Final = """
WITH held AS (
    UPDATE workflows_run
       SET token = %s, size = size + %s, started_at = coalesce(started_at, %s), resume_at = %s,
           status = %s, output = %s::jsonb, error = %s::jsonb, finished_at = %s
     WHERE id = %s AND token = %s AND restarts = %s AND NOT status = ANY(%s) RETURNING 1)
SELECT public.must_hold((SELECT count(*) FROM held))
"""
_INSERT_STEPS: Final = """
INSERT INTO workflows_steprun (project_id, id, run_id, sequence, step, path, kind, iteration,
                               attempt, status, superseded, input, output, error, waiting, due_at,
                               started_at, finished_at)
VALUES {}
"""
_STEP: Final = (
    "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
    " %s::jsonb, %s::jsonb, %s::jsonb, %s::jsonb, %s, %s, %s)"
)
_UPDATE_STEP: Final = """
UPDATE workflows_steprun
   SET status = %s, output = %s::jsonb, error = %s::jsonb, waiting = %s::jsonb, due_at = %s,
       finished_at = %s
 WHERE id = %s
"""


class RunEnded(Exception):
    """The run is over (it was canceled meanwhile); nothing more may be committed for it."""


@dataclass(slots=True)
class Journal:
    """The rows of one run while a worker carries it, and those not yet written."""

    run: Run
    actor: Actor
    token: int = 0
    sequence: int = 0
    current: dict[str, StepRun] = field(default_factory=dict)
    earlier: dict[str, int] = field(default_factory=dict)  # path → attempts before a retry
    repeated: dict[str, int] = field(default_factory=dict)  # path → successes that were repeated
    fresh: list[StepRun] = field(default_factory=list)
    changed: dict[str, StepRun] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    events: list[Happening] = field(default_factory=list)
    taken: dict[str, str] = field(default_factory=dict)  # signal id → path
    expired: list[str] = field(default_factory=list)
    written: int = 0

    # --- reading ------------------------------------------------------------------------------

    @classmethod
    def open(cls, run: Run, actor: Actor, token: int) -> "Journal":
        """Read all rows of the run; attempts that a dead worker left running count as lost.

        `token` is that of the worker who opens it.
        """
        journal = cls(run, actor, token)
        if run.token == 0:  # nobody has carried it yet, so there are none
            return journal
        for row in StepRun.objects.filter(run=run).order_by("sequence", "attempt"):
            journal.sequence = max(journal.sequence, row.sequence)
            if row.superseded:
                journal.earlier[row.path] = max(journal.earlier.get(row.path, 0), row.attempt)
                if row.status == StepStatus.SUCCEEDED:
                    journal.repeated[row.path] = journal.repeated.get(row.path, 0) + 1
            else:
                journal.current[row.path] = row
        return journal

    def state(self, scope: Scope, now: datetime) -> State:
        """Return the engine's state of the run."""
        run = self.run
        state = State(
            now=now,
            input=run.input,
            trigger=run.trigger,
            run={
                "id": run.id,
                "workflow_id": run.slug,
                "version": run.number,
                "created_at": run.created_at.isoformat(),
                "restarts": run.restarts,
            },
            env=scope.metadata(),
        )
        state.steps = {path: self._step_state(row) for path, row in self.current.items()}
        if any(row.status == StepStatus.WAITING for row in self.current.values()):
            self.refresh(state)
        return state

    def refresh(self, state: State) -> None:
        """Read the signals and decisions that came meanwhile."""
        state.signals = tuple(
            SignalState(row.id, row.name, row.payload)
            for row in Signal.objects.filter(run=self.run, taken_by="").order_by("sent_at", "id")
        )
        decided = Task.objects.filter(run=self.run, status__in=_DECIDED)
        state.decisions = {task.id: decision_of(task) for task in decided}

    def _step_state(self, row: StepRun) -> StepState:
        lost = sum(1 for _ in self._lost_before(row)) if row.status == StepStatus.RUNNING else 0
        return StepState(
            status=row.status,  # type: ignore[arg-type]  # one of the engine's, by the constraint
            attempt=row.attempt - self.earlier.get(row.path, 0),
            output=row.output,
            error=row.error,
            due_at=row.due_at,
            waiting=_waiting(row.waiting),
            lost=lost,
        )

    def _lost_before(self, row: StepRun) -> Iterable[StepRun]:
        return StepRun.objects.filter(
            run=self.run, path=row.path, superseded=False, status=StepStatus.LOST
        )

    # --- noting -------------------------------------------------------------------------------

    def begin(self, step: Step, attempt: int, input: object, now: datetime) -> StepRun:
        """Note that an attempt begins; one that was under way before is lost."""
        before = self.current.get(step.path)
        if before is not None and before.status == StepStatus.RUNNING:
            before.status = StepStatus.LOST
            before.finished_at = now
            self._touch(before)
        self.sequence += 1
        row = StepRun(
            id=step_id(),
            project_id=self.run.project_id,
            run=self.run,
            sequence=self.sequence,
            step=step.id,
            path=step.path,
            kind=step.kind,
            attempt=self.earlier.get(step.path, 0) + attempt,
            status=StepStatus.RUNNING,
            input=input,
            started_at=now,
        )
        self.current[step.path] = row
        self.fresh.append(row)
        return row

    def end(
        self,
        row: StepRun,
        status: str,
        now: datetime,
        *,
        output: object = None,
        error: StepError | None = None,
        due_at: datetime | None = None,
    ) -> None:
        """Note how an attempt ended."""
        row.status = status
        row.output = output
        row.error = error.as_dict() if error else None
        row.due_at = due_at
        row.finished_at = now
        self._touch(row)
        if status in {StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.RETRYING}:
            self.events.append(_step_event(self.run, row, error, now))

    def wait(self, row: StepRun, waiting: Waiting, task: Json | None, now: datetime) -> None:
        """Note what a step waits for, and the task that asks for it."""
        row.status = StepStatus.WAITING
        row.waiting = {
            "until": waiting.until.isoformat() if waiting.until else None,
            "signal": waiting.signal,
            "task": waiting.task,
        }
        self._touch(row)
        if task is not None:
            self.tasks.append(
                Task(
                    project_id=self.run.project_id,
                    run=self.run,
                    step=row.step,
                    path=row.path,
                    created_at=now,
                    **task,
                )
            )
            ids: dict[str, object] = {
                "task_id": task["id"],
                "run_id": self.run.id,
                "workflow_id": self.run.slug,
                "step_id": row.step,
            }
            self.events.append(("task.created", ids, now))

    def _touch(self, row: StepRun) -> None:
        if row._state.adding:
            return
        self.changed[row.id] = row

    # --- writing ------------------------------------------------------------------------------

    def write(
        self,
        now: datetime,
        *,
        status: str = RunStatus.RUNNING,
        output: object = None,
        error: Json | None = None,
        resume_at: datetime | None = None,
        finished_at: datetime | None = None,
    ) -> None:
        """Write all that was noted, and the run's state, with the caller's commit.

        The transaction fails, with an error that `claims.in_other_hands` knows, unless the run is
        as this journal knows it.
        """
        run = self.run
        send_later(
            _FENCE,
            [self.token, self.written, now, resume_at, status, _json(output), _json(error),
             finished_at, run.id, run.token, run.restarts, list(FINAL)],
        )  # fmt: skip
        for row in self.changed.values():
            self._update(row)
        if self.fresh:
            values = [value for row in self.fresh for value in _values(row)]
            send_later(_INSERT_STEPS.format(", ".join([_STEP] * len(self.fresh))), values)
        if self.tasks:
            Task.objects.bulk_create(self.tasks)
        for signal_id, path in self.taken.items():
            Signal.objects.filter(id=signal_id).update(taken_by=path)
        if self.expired:
            Task.objects.filter(id__in=self.expired, status=TaskStatus.OPEN).update(
                status=TaskStatus.EXPIRED
            )
        publish_all(self.events, actor=self.actor)

    def _update(self, row: StepRun) -> None:
        send_later(
            _UPDATE_STEP,
            [row.status, _json(row.output), _json(row.error), _json(row.waiting), row.due_at,
             row.finished_at, row.id],
        )  # fmt: skip

    def written_down(self) -> None:
        """Forget what was noted, after the commit."""
        for row in self.fresh:
            row._state.adding = False
        self.run.token = self.token
        self.written = 0
        self.fresh = []
        self.changed = {}
        self.tasks = []
        self.events = []
        self.taken = {}
        self.expired = []

    def discard(self, row: StepRun) -> None:
        """Take back the events of an attempt whose transaction was rolled back."""
        self.events = [event for event in self.events if event[1].get("step_id") != row.step]

    def measured(self, output: object) -> StepError | None:
        """Count an output's size; return the error when the step's or the run's is too large."""
        size = len(json.dumps(output, default=str))
        if size > MAX_OUTPUT_BYTES:
            limit = f"{MAX_OUTPUT_BYTES // 1_048_576} MiB"
            return StepError("output_too_large", f"A step's output is at most {limit}.")
        if self.run.size + self.written + size > MAX_RUN_BYTES:
            limit = f"{MAX_RUN_BYTES // 1_048_576} MiB"
            return StepError("run_too_large", f"The outputs of a run are at most {limit}.")
        self.written += size
        return None


def decision_of(task: Task) -> Json:
    """Return what expressions see of a decided task."""
    return {
        "decision": task.status,
        "data": task.data,
        "comment": task.comment,
        "decided_by": task.decided_by,
        "decided_at": task.decided_at.isoformat() if task.decided_at else None,
        "task_id": task.id,
    }


def _waiting(value: Any) -> Waiting | None:  # noqa: ANN401  # JSON
    if not value:
        return None
    until = datetime.fromisoformat(value["until"]) if value["until"] else None
    return Waiting(until, value["signal"], value["task"])


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value)


def _values(row: StepRun) -> list[object]:
    """Return a step's values in the order in which the columns are named."""
    return [
        row.project_id,
        row.id,
        row.run_id,
        row.sequence,
        row.step,
        row.path,
        row.kind,
        row.iteration,
        row.attempt,
        row.status,
        row.superseded,
        _json(row.input),
        _json(row.output),
        _json(row.error),
        _json(row.waiting),
        row.due_at,
        row.started_at,
        row.finished_at,
    ]


def _step_event(
    run: Run, row: StepRun, error: StepError | None, now: datetime
) -> tuple[str, dict[str, object], datetime]:
    payload = facts(run) | {
        "step_id": row.step,
        "kind": row.kind,
        "attempt": row.attempt,
        "duration_ms": max(0, round((now - row.started_at).total_seconds() * 1000)),
    }
    payload.pop("version")
    if error is None:
        return ("workflow.step.completed", payload, now)
    return ("workflow.step.failed", payload | {"code": error.code}, now)
