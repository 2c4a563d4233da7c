"""Items of a map that are data only: carried with their run, and written in one commit.

An item as a lane (`workflows.lanes`) costs a claim and a commit, which for a few values is a
hundred times the work. Where the steps of a map are data or events, the worker of the run decides
all items in memory and writes lanes, steps and events together. One item that fails, is large or
computes for long, and all of them are begun as lanes in the usual way; nothing was written yet.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, TypeVar

from healthcloud.events.models import Event
from healthcloud.events.services import announce_after_commit, recording
from healthcloud.tenancy.scope import execute
from workflows import lanes, step_rows
from workflows.engine import FanOut, FanOutState, StepState, Waiting
from workflows.in_place import Desk, HandOver, Patience
from workflows.journal import MAX_RUN_BYTES, Journal
from workflows.lanes import Holder
from workflows.models import StepRun, fan_out_id
from workflows.published import are_plain
from workflows.reaching import ReachingCarrier

SECONDS: Final = 20.0  # of computing for all items of a step
_BATCH: Final = 1000
_Row = TypeVar("_Row", StepRun, Event)


class RunCarrier(ReachingCarrier):
    """Carries a run or lane for a worker, and the items that need no worker of their own."""

    def fan_out(self, action: FanOut) -> None:
        """Carry items that are data at once; begin all others as due work of their own."""
        identifier = fan_out_id()
        try:
            desks = list(self.items(action, identifier))
        except HandOver:
            super().fan_out(action)
            return
        now = self.state.now
        row = self.journal.begin(action.step, action.attempt, action.input, now, action.iteration)
        waiting = Waiting(fan_out=identifier)
        self.journal.wait(row, waiting, None, now)
        counts: list[FanOutState] = []
        self.commit(after=lambda: counts.append(self.write(action, desks)))
        self.state.steps[action.key] = StepState("waiting", action.attempt, waiting=waiting)
        self.state.fan_outs = {**self.state.fan_outs, identifier: counts[0]}
        self.work.lease.progress()

    def items(self, action: FanOut, identifier: str) -> Iterator[Desk]:
        """Carry each item in memory; raises HandOver when one can't be."""
        step, definition, holder = action.step, self.definition, self.journal.holder
        inner = (
            [s for s in definition.all if s.path.startswith(f"{step.path}/")] if definition else []
        )
        if step.kind != "map" or step.timeout is not None or not are_plain(inner):
            raise HandOver
        room = MAX_RUN_BYTES - self.run.size - self.journal.written
        patience = Patience(until=time.thread_time() + SECONDS)
        for lane in lanes.rows_of(holder, action, identifier):
            self.work.lease.check()
            own = Holder(self.run, lane)
            journal = Journal(own, self.journal.actor, sequence=self.journal.sequence)
            state = replace(
                self.state,
                now=self.clock(),
                steps=dict(self.state.steps),
                signals=(),
                lane=own.place,
                deadline=None,
            )
            desk = Desk(replace(self.work, lease=patience), journal, state, definition)
            desk.go()
            room -= lane.size
            if room < 0:
                raise HandOver
            yield desk

    def write(self, action: FanOut, desks: Sequence[Desk]) -> FanOutState:
        """Write items with their steps and events, in the transaction of the step."""
        done = [desk.lane for desk in desks if desk.lane is not None]
        counts = lanes.write_done(self.journal.holder, action, done)
        for steps in _batches([row for desk in desks for row in desk.carried.steps]):
            execute([step_rows.inserting(steps)])
        for events in _batches([event for desk in desks for event in desk.carried.events]):
            announce_after_commit(execute(recording(events))[1])
        return counts


def _batches(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
