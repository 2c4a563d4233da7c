"""The journal of a run: reads what happened into the engine's state, and writes what happens.

Rows are collected and written together in one transaction with the fencing token checked, so
that steps which are only data cost no commit of their own. The journal of a branch or item (a
lane) is fenced by the lane's row; it sees the rows of the run that stand around it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db.models import Max, QuerySet

from healthcloud.actors import Actor
from healthcloud.events.models import Event
from healthcloud.events.services import Happening, compose, publish_composed
from healthcloud.ledger.handlers import LeaseLost
from healthcloud.tenancy.batch import send_later
from healthcloud.tenancy.scope import Scope
from workflows import lanes, step_rows, stored
from workflows.definition import Step
from workflows.engine import Json, State, StepError, StepState, Waiting
from workflows.engine import Signal as SignalState
from workflows.lanes import OPEN, Holder
from workflows.models import (
    FINAL,
    LANE_FINAL,
    Run,
    RunStatus,
    Signal,
    StepRun,
    StepStatus,
    Task,
    TaskStatus,
    step_id,
)
from workflows.state import key_of
from workflows.telling import step_ended

MAX_OUTPUT_BYTES: Final = 4 * 1_048_576
MAX_RUN_BYTES: Final = 64 * 1_048_576
_DECIDED: Final = (TaskStatus.APPROVED, TaskStatus.REJECTED)


class RunEnded(Exception):
    """The run is over (it was canceled meanwhile); nothing more may be committed for it."""


@dataclass(slots=True)
class Journal:
    """The rows of one run or lane while a worker carries it, and those not yet written."""

    holder: Holder
    actor: Actor
    token: int = 0
    sequence: int = 0
    current: dict[str, StepRun] = field(default_factory=dict)
    earlier: dict[str, int] = field(default_factory=dict)  # key → attempts before a retry
    repeated: dict[str, int] = field(default_factory=dict)  # key → successes that were repeated
    fresh: list[StepRun] = field(default_factory=list)
    changed: dict[str, StepRun] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    events: list[Happening | Event] = field(default_factory=list)
    taken: dict[str, str] = field(default_factory=dict)  # signal id → path
    expired: list[str] = field(default_factory=list)
    written: int = 0
    _swapped: list[tuple[StepRun, str, Any]] = field(default_factory=list)

    @property
    def run(self) -> Run:
        """Return the run."""
        return self.holder.run

    # --- reading ------------------------------------------------------------------------------

    @classmethod
    def open(
        cls, holder: Holder, actor: Actor, token: int, kind: str = "", *, loops: bool = True
    ) -> "Journal":
        """Read the rows that the run, or its lane in a step of this kind, can see.

        `token` is that of the worker who opens it.
        """
        journal = cls(holder, actor, token)
        run = holder.run
        if holder.lane is None and run.token == 0 and run.restarts == 0:
            return journal  # nobody has carried it yet
        rows = list(step_rows.visible(holder, kind, loops=loops).order_by("sequence", "attempt"))
        for row in rows:
            journal.sequence = max(journal.sequence, row.sequence)
        journal.current = journal._sorted(rows)
        step_rows.load_outputs(journal.current.values())
        return journal

    def _sorted(self, rows: Iterable[StepRun]) -> dict[str, StepRun]:
        """Return the rows that count, by key; count what a retry put aside."""
        current = {}
        for row in rows:
            key = key_of(row.path, row.iteration)
            if row.superseded:
                self.earlier[key] = max(self.earlier.get(key, 0), row.attempt)
                if row.status == StepStatus.SUCCEEDED:
                    self.repeated[key] = self.repeated.get(key, 0) + 1
            else:
                current[key] = row
        return current

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
            lane=self.holder.place,
            deadline=run.deadline_at if self.holder.lane is None else None,
        )
        state.steps = {key: self._step_state(key, row) for key, row in self.current.items()}
        if any(row.status == StepStatus.WAITING for row in self.current.values()):
            self.refresh(state)
        return state

    def refresh(self, state: State) -> None:
        """Read what came meanwhile: signals, decisions, ends of branches, items, child runs."""
        waits = [
            row.waiting or {}
            for row in self.current.values()
            if row.status == StepStatus.WAITING and row.lane == self.holder.lane_id
        ]
        untaken = Signal.objects.filter(run=self.run, taken_by="").order_by("sent_at", "id")
        state.signals = tuple(
            SignalState(row.id, row.name, row.payload)
            for row in untaken
            if row.id not in self.taken  # by a step whose end is not written yet
        )
        if asked := [wait["task"] for wait in waits if wait.get("task")]:
            decided = Task.objects.filter(id__in=asked, status__in=_DECIDED)
            state.decisions = {task.id: decision_of(task) for task in decided}
        if begun := [wait["fan_out"] for wait in waits if wait.get("fan_out")]:
            state.fan_outs = lanes.read(begun)
        if started := [wait["child"] for wait in waits if wait.get("child")]:
            over = Run.objects.filter(id__in=started, status__in=FINAL)
            state.children = {
                child.id: {"status": child.status, "output": child.output, "error": child.error}
                for child in over
            }

    def joined(self) -> None:
        """Count what the lanes of a step wrote: their size, and their rows' sequence numbers."""
        rows = StepRun.objects.filter(run=self.run).aggregate(last=Max("sequence"))
        self.sequence = max(self.sequence, rows["last"] or 0)

    def see_branches(self, state: State) -> None:
        """Read what the branches of a parallel step did, which their run sees from now on."""
        self._see(step_rows.visible(self.holder, "").filter(superseded=False), state)

    def recall(self, state: State, path: str, iteration: str) -> None:
        """Read what the items of a map did, and which they were."""
        self.joined()
        self._see(step_rows.inside(self.run, path, iteration), state)
        found = lanes.items_inside(self.run, path, iteration)
        state.items.update({key_of(path, iteration): (), **found})

    def _see(self, rows: QuerySet[StepRun], state: State) -> None:
        """Read rows that this journal does not know yet."""
        found = self._sorted(rows.order_by("sequence", "attempt"))
        unknown = {key: row for key, row in found.items() if key not in self.current}
        step_rows.load_outputs(unknown.values())
        self.current.update(unknown)
        state.steps.update({key: self._step_state(key, row) for key, row in unknown.items()})

    def _step_state(self, key: str, row: StepRun) -> StepState:
        lost = self._lost_before(row) if row.status == StepStatus.RUNNING else 0
        kept = row.waiting or {}
        looping = "round" in kept
        return StepState(
            status=row.status,  # type: ignore[arg-type]  # one of the engine's, by the constraint
            attempt=row.attempt - self.earlier.get(key, 0),
            output=row.output,
            error=row.error,
            due_at=row.due_at,
            waiting=None if looping else step_rows.waiting_of(row.waiting),
            lost=lost,
            round=kept.get("round", 1),
            previous=kept.get("previous"),
            limit=step_rows.moment_of(kept.get("limit")) if looping else None,
        )

    def _lost_before(self, row: StepRun) -> int:
        return StepRun.objects.filter(
            run=self.run,
            path=row.path,
            iteration=row.iteration,
            superseded=False,
            status=StepStatus.LOST,
        ).count()

    # --- noting -------------------------------------------------------------------------------

    def begin(
        self, step: Step, attempt: int, input: object, now: datetime, iteration: str = ""
    ) -> StepRun:
        """Note that an attempt begins; one that was under way before is lost, one before failed."""
        key = key_of(step.path, iteration)
        before = self.current.get(key)
        if before is not None and before.status == StepStatus.RUNNING:
            before.status = StepStatus.LOST
            before.finished_at = now
            self.touch(before)
        elif before is not None and before.status == StepStatus.RETRYING:
            before.status = StepStatus.FAILED
            self.touch(before)
        self.sequence += 1
        row = StepRun(
            id=step_id(),
            project_id=self.run.project_id,
            run=self.run,
            sequence=self.sequence,
            step=step.id,
            path=step.path,
            kind=step.kind,
            iteration=iteration,
            lane=self.holder.lane_id,
            sensitive=step.sensitive,
            attempt=self.earlier.get(key, 0) + attempt,
            status=StepStatus.RUNNING,
            input=input,
            started_at=now,
        )
        self.current[key] = row
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
        self.touch(row)
        if status in {StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.RETRYING}:
            self.events.append(step_ended(self.run, row, error, now))

    def wait(self, row: StepRun, waiting: Waiting, task: Json | None, now: datetime) -> None:
        """Note what a step waits for, and the task that asks for it."""
        row.status = StepStatus.WAITING
        row.waiting = step_rows.waiting_json(waiting)
        self.touch(row)
        if task is None:
            return
        self.tasks.append(
            Task(
                project_id=self.run.project_id,
                run=self.run,
                lane=row.lane,
                iteration=row.iteration,
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

    def touch(self, row: StepRun) -> None:
        """Note that a row that was written before has changed."""
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
        """Write all that was noted, and the run's (or lane's) state, with the caller's commit.

        The transaction fails, with an error that `claims.in_other_hands` knows, unless the run is
        as this journal knows it.
        """
        for row in self.fresh:
            self._keep(row, "input")
            self._keep(row, "output")
        for row in self.changed.values():
            self._keep(row, "output")
        end = (resume_at, status, step_rows.as_json(output), step_rows.as_json(error), finished_at)
        self._fence(now, end)
        for row in self.changed.values():
            step_rows.update(row)
        step_rows.insert(self.fresh)
        if self.tasks:
            Task.objects.bulk_create(self.tasks)
        self._use_up()
        publish_composed(self.told())

    def told(self) -> list[Event]:
        """Return the events that were noted."""
        return [e if isinstance(e, Event) else compose(*e, self.actor) for e in self.events]

    def _fence(self, now: datetime, end: tuple[object, ...]) -> None:
        """Let the commit fail unless the row is as we read it."""
        run, lane = self.run, self.holder.lane
        began = (run if lane is None else lane).started_at or now
        if lane is None:
            known = (run.id, run.token, run.restarts, list(FINAL))
            send_later(
                step_rows.FENCE, [self.token, self.written, began, *end, *known], prepare=True
            )
        else:
            over = list(LANE_FINAL)
            known = (lane.id, lane.token, over)  # type: ignore[assignment]  # one column less
            send_later(
                step_rows.FENCE_LANE, [self.token, self.written, began, *end, *known], prepare=True
            )

    def _use_up(self) -> None:
        """Mark signals as taken and tasks as expired."""
        for signal_id, path in self.taken.items():
            if not Signal.objects.filter(id=signal_id, taken_by="").update(taken_by=path):
                raise LeaseLost  # another lane took it: look at the rows again
        if self.expired:
            Task.objects.filter(id__in=self.expired, status=TaskStatus.OPEN).update(
                status=TaskStatus.EXPIRED
            )

    def _keep(self, row: StepRun, name: str) -> None:
        """Put large values where they are kept; the row then refers to them."""
        value = getattr(row, name)
        kept = stored.keep(self.run, value, sensitive=row.sensitive)
        if kept is not value:
            self._swapped.append((row, name, value))
            setattr(row, name, kept)

    def written_down(self) -> None:
        """Forget what was noted, after the commit."""
        for row in self.fresh:
            row._state.adding = False
        lane = self.holder.lane
        if lane is None:
            self.run.token = self.token
            self.run.size += self.written
        else:
            lane.token = self.token
            lane.size += self.written
        self.written = 0
        self.fresh = []
        self.changed = {}
        self.tasks = []
        self.events = []
        self.taken = {}
        self.expired = []
        self._swapped = []

    def discard(self, row: StepRun) -> None:
        """Take back what a transaction did that was rolled back: events, stored values."""
        self.events = [event for event in self.events if not _is_of(event, row.step)]
        for swapped, name, value in self._swapped:
            setattr(swapped, name, value)
        self._swapped = []

    def measured(self, output: object) -> StepError | None:
        """Count an output's size; return the error when the step's or the run's is too large."""
        size = len(stored.encoded(output))
        if size > MAX_OUTPUT_BYTES:
            message = (
                f"The step's output has {size} bytes; at most {MAX_OUTPUT_BYTES} are kept."
                " Ask for less, or for a page at a time."
            )
            return StepError("output_too_large", message)
        lane = self.holder.lane
        total = self.run.size + (lane.size if lane is not None else 0) + self.written
        if total + size > MAX_RUN_BYTES:
            limit = f"{MAX_RUN_BYTES // 1_048_576} MiB"
            return StepError("run_too_large", f"The outputs of a run are at most {limit}.")
        self.written += size
        return None

    @property
    def has_open(self) -> bool:
        """Return whether something in the run may still be open when it ends."""
        return any(
            row.status in OPEN or row.kind in {"parallel", "map"} for row in self.current.values()
        )


def _is_of(event: Happening | Event, step: str) -> bool:
    """Return whether an event tells of a step; what a step published itself stays."""
    return not isinstance(event, Event) and event[1].get("step_id") == step


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
