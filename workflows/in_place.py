"""Runs that are over before they are written: carried by who starts them, in the start's commit.

A run of steps that are data or rows of our own needs no worker: it is decided in memory, and
committed whole, its steps, its events and its end together with its start. Nobody can see it half
done, and a process that dies before the commit leaves nothing of it. Steps that read and write
resources do so in the transaction of the start. What turns out to be more than that (an error
that a worker would treat, too much data, too long) is handed over: nothing was written, or it was
undone, so the run is queued as any other and a worker begins it afresh.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.utils import timezone

from healthcloud.events.models import Event
from healthcloud.ledger.handlers import ClaimedWork, Lease, Outcome, Settled
from healthcloud.tenancy.scope import active_scope
from workflows import tracing
from workflows.carrier import Carrier
from workflows.definition import Definition
from workflows.due import WORK_KIND
from workflows.ending import actor_of
from workflows.engine import Action, Execute, Json, Record, State, StepError
from workflows.journal import Journal
from workflows.lanes import Holder
from workflows.models import Lane, LaneStatus, Run, RunStatus, StepRun, StepStatus
from workflows.published import OWN, Published, note_quick, note_slow
from workflows.sitting import Sitting
from workflows.step_rows import as_json
from workflows.steps import Outside, effect_of
from workflows.steps.registry import Tells, Waits, holds_nothing
from workflows.stored import INLINE_BYTES
from workflows.telling import ending

SECONDS: Final = 0.1  # of computing, after which a worker may do it
_PASSED: Final = 1.0  # seconds, waits for the database and for other threads included


class HandOver(Exception):
    """A worker has to do it."""


class TooSlow(HandOver):
    """The steps take long."""


@dataclass(slots=True)
class Patience(Lease):
    """The hold on a run that nobody else can know of, for as long as the caller has patience."""

    until: float = 0.0

    def check(self) -> None:
        """Raise TooSlow when the time is up."""
        if time.thread_time() > self.until:
            raise TooSlow


@dataclass(slots=True)
class Carried:
    """What a run did: rows and events that are not written yet."""

    steps: list[StepRun] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def carry(run: Run, found: Published, now: datetime) -> Carried | None:
    """Carry a run that is not written to its end; return None, the run unchanged, if that fails."""
    if not found.is_quick:
        return None
    try:
        carried = _carried(Desk, run, found, now)
    except TooSlow:
        note_slow(found)
        return None
    except HandOver:
        return None
    note_quick(found)
    return carried


def carry_own(run: Run, found: Published, now: datetime) -> Carried:
    """Carry a run with steps of our own rows to its end, in the caller's transaction.

    Raises HandOver, after which the caller undoes all of that transaction.
    """
    return _carried(OwnDesk, run, found, now)


def _carried(kind: "type[Desk]", run: Run, found: Published, now: datetime) -> Carried:
    scope = active_scope()
    journal = Journal(Holder(run), actor_of(run))
    lease = Patience(until=time.thread_time() + SECONDS)
    work = ClaimedWork(0, scope, WORK_KIND, run.id, 0, 1, now, lease=lease)
    desk = kind(work, journal, journal.state(scope, now), found.version.definition)
    desk.go()
    return desk.carried


class Desk(Carrier):
    """Carries in memory: a carrier whose commits never happen."""

    def __init__(
        self, work: ClaimedWork, journal: Journal, state: State, definition: Definition | None
    ) -> None:
        super().__init__(work, Sitting(work.scope), journal, state, definition, timezone.now)
        self.carried = Carried()
        self.began = state.now
        self.until = time.monotonic() + _PASSED

    def put_down(self, action: Action) -> None:
        """Note a step that is data; a worker does all else."""
        if not isinstance(action, Record) or action.closes:
            raise HandOver
        self.record(action)

    def execute(self, action: Execute) -> Outcome | None:
        """Note the event of a step; a worker does all else."""
        if not isinstance(effect_of(action.step.kind), Tells):
            raise HandOver
        return super().execute(action)

    def enter(self) -> None:
        """Stay in the scope in which the run is started."""

    def fail(self, row: StepRun, action: Execute, error: StepError) -> None:
        """Leave the error to a worker, who treats it as the step says."""
        raise HandOver(error.code)

    def finish(self, status: str, *, output: object = None, error: Json | None = None) -> Outcome:
        """Note the end, which nothing can stop any more."""
        if any(_is_large(row) for row in self.journal.fresh):
            raise HandOver
        if self.lane is None:
            self.end_run_here(status, output, error)
        elif status == RunStatus.COMPLETED:
            self.end_item_here(self.lane, output)
        else:
            raise HandOver
        self.carried.steps = self.journal.fresh
        self.carried.events = self.journal.told()
        return Settled()

    def end_run_here(self, status: str, output: object, error: Json | None) -> None:
        run = self.run
        run.status, run.output, run.error = status, output, error
        run.started_at, run.finished_at = self.began, self.clock()
        run.size = self.journal.written
        self.journal.events.append(ending(run))

    def end_item_here(self, lane: Lane, output: object) -> None:
        lane.status, lane.output = LaneStatus.SUCCEEDED, output
        lane.started_at, lane.finished_at = self.began, self.clock()
        lane.size = self.journal.written


class OwnDesk(Desk):
    """Carries in the transaction of the start, in which steps read and write our own rows.

    An effect that others may have to wait for is the last one, as it is in a worker's transaction.
    """

    holds = False

    def execute(self, action: Execute) -> Outcome | None:
        """Do an effect of our own rows; a worker does all else."""
        effect = effect_of(action.step.kind)
        if action.step.kind not in OWN:
            return super().execute(action)
        assert not isinstance(effect, Outside | Waits | Tells)
        if self.holds:
            raise HandOver
        if time.monotonic() > self.until:
            raise TooSlow
        call = self.call(action)
        row = self.begin(action, call)
        with tracing.step(self.run, action, call.now):
            try:
                output = effect(call)
            except Exception as error:
                raise HandOver from error  # a worker treats it as the step says
        if self.journal.measured(output):
            raise HandOver
        self.holds = not holds_nothing(action.step.kind, call.arguments)
        self.journal.end(row, StepStatus.SUCCEEDED, self.clock(), output=output)
        self.note(action.key, "succeeded", action.attempt, output=output)
        return None


def _is_large(row: StepRun) -> bool:
    """Return whether a step has values that are kept apart from its row."""
    return any(len(as_json(value) or "") > INLINE_BYTES for value in (row.input, row.output))
