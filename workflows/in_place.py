"""Runs that are over before they are written: carried by who starts them, in the start's commit.

A run of steps that are data or rows of our own needs no worker: it is decided in memory, and
committed whole, its steps, its events and its end together with its start. Nobody can see it half
done, and a process that dies before the commit leaves nothing of it. What turns out to be more
than that (an error that a worker would treat, too much data, too long) is handed over: nothing
was written, so the run is queued as any other and a worker begins it afresh.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.utils import timezone

from healthcloud.events.models import Event
from healthcloud.ledger.handlers import ClaimedWork, Lease, Outcome, Settled
from healthcloud.tenancy.scope import active_scope
from workflows.carrier import Carrier
from workflows.definition import Definition
from workflows.due import WORK_KIND
from workflows.ending import actor_of
from workflows.engine import Action, Execute, Json, Record, State, StepError
from workflows.journal import Journal
from workflows.lanes import Holder
from workflows.models import Lane, LaneStatus, Run, RunStatus, StepRun
from workflows.published import Published, note_quick, note_slow
from workflows.sitting import Sitting
from workflows.step_rows import as_json
from workflows.steps import effect_of
from workflows.steps.registry import Tells
from workflows.stored import INLINE_BYTES
from workflows.telling import ending

SECONDS: Final = 0.1  # of computing, after which a worker may do it


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
    scope = active_scope()
    journal = Journal(Holder(run), actor_of(run))
    lease = Patience(until=time.thread_time() + SECONDS)
    work = ClaimedWork(0, scope, WORK_KIND, run.id, 0, 1, now, lease=lease)
    desk = Desk(work, journal, journal.state(scope, now), found.version.definition)
    try:
        desk.go()
    except TooSlow:
        note_slow(found)
        return None
    except HandOver:
        return None
    note_quick(found)
    return desk.carried


class Desk(Carrier):
    """Carries in memory: a carrier whose commits never happen."""

    def __init__(
        self, work: ClaimedWork, journal: Journal, state: State, definition: Definition | None
    ) -> None:
        super().__init__(work, Sitting(work.scope), journal, state, definition, timezone.now)
        self.carried = Carried()
        self.began = state.now

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


def _is_large(row: StepRun) -> bool:
    """Return whether a step has values that are kept apart from its row."""
    return any(len(as_json(value) or "") > INLINE_BYTES for value in (row.input, row.output))
