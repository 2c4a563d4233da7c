"""Items of a map that are data, or few that read and create: carried with their run, in one commit.

An item as a lane (`workflows.lanes`) costs a claim and a commit, which for a few values is a
hundred times the work. Where the steps of a map are data or events, the worker of the run decides
all items in memory and writes lanes, steps and events together. A few hundred items whose steps
read and create resources do so in that transaction, as long as that is a matter of seconds. One
item that fails, is large or takes long, and all of them are begun as lanes in the usual way;
nothing was written yet, or it was undone.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, TypeVar

from healthcloud.events.models import Event
from healthcloud.events.services import announce_after_commit, recording
from healthcloud.ledger.handlers import Outcome
from healthcloud.tenancy.scope import execute
from workflows import lanes, step_rows
from workflows.engine import Execute, FanOut, FanOutState, StepState, Waiting
from workflows.in_place import Desk, HandOver, OwnDesk, Patience, TooSlow
from workflows.journal import MAX_RUN_BYTES, Journal
from workflows.lanes import Holder
from workflows.models import StepRun, fan_out_id
from workflows.published import are_light, are_plain
from workflows.reaching import ReachingCarrier

SECONDS: Final = 20.0  # of computing for all items of a step
_OWN_COMPUTING: Final = 1.0  # seconds for items that read and create: others wait, too
_OWN_SECONDS: Final = 4.0  # the same with all that is waited for, such as a busy machine
_SOUNDED: Final = 10  # items after which it shows how long all of them will take
_OWN_ITEMS: Final = 500
_BATCH: Final = 1000
_Row = TypeVar("_Row", StepRun, Event)


class ItemDesk(OwnDesk):
    """Carries an item whose steps read and create, in the transaction of its run."""

    def execute(self, action: Execute) -> Outcome | None:
        """Do an effect; a worker of its own does one that others may have to wait for."""
        outcome = super().execute(action)
        if self.holds:
            raise HandOver
        return outcome


class RunCarrier(ReachingCarrier):
    """Carries a run or lane for a worker, and the items that need no worker of their own."""

    def fan_out(self, action: FanOut) -> None:
        """Carry items at once that need nobody else; begin all others as due work of their own."""
        identifier, kind = fan_out_id(), self.desk_for(action)
        if kind is None:
            super().fan_out(action)
            return
        if kind is ItemDesk:
            self.make_room()
        try:
            desks = list(self.items(action, identifier, kind))
        except HandOver as over:
            if kind is ItemDesk:
                self.sitting.undo(over)
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

    def desk_for(self, action: FanOut) -> type[Desk] | None:
        """Return what carries the items of a step here; None where each is due work of its own."""
        step, definition = action.step, self.definition
        if step.kind != "map" or step.timeout is not None or definition is None:
            return None
        inner = [s for s in definition.all if s.path.startswith(f"{step.path}/")]
        if are_plain(inner):
            return Desk
        few = len(action.items) <= _OWN_ITEMS
        return ItemDesk if few and self.sitting.shares and are_light(inner) else None

    def make_room(self) -> None:
        """Open a transaction for what items do, and for nothing else, as it may be undone."""
        if self.closing:
            self.commit()
        self.sitting.enter()
        self.sitting.leave(holding=False)

    def items(self, action: FanOut, identifier: str, kind: type[Desk]) -> Iterator[Desk]:
        """Carry each item; raises HandOver when one can't be."""
        holder = self.journal.holder
        began, limit = time.monotonic(), math.inf if kind is Desk else _OWN_SECONDS
        room = MAX_RUN_BYTES - self.run.size - self.journal.written
        computing = SECONDS if kind is Desk else _OWN_COMPUTING
        patience = Patience(until=time.thread_time() + computing)
        for lane in lanes.rows_of(holder, action, identifier):
            self.work.lease.check()
            passed = time.monotonic() - began
            ahead = len(action.items) / lane.index if lane.index >= _SOUNDED else 1.0
            if passed * ahead > limit:
                raise TooSlow
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
            desk = kind(replace(self.work, lease=patience), journal, state, self.definition)
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
