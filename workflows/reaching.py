"""Steps that call out: they mostly wait for an answer, so they hold no worker process.

A worker's main thread commits that the attempt begins and gives the run to a thread beside it,
which calls out and carries the run on. The main thread goes on with other runs.
"""

from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from healthcloud.ledger.claims import move_with_commit
from healthcloud.ledger.doorbell import ring_after_commit
from healthcloud.ledger.handlers import Elsewhere, Outcome, Settled
from workflows import tracing
from workflows.bounds import timeout_of
from workflows.carrier import Carrier
from workflows.engine import Execute, StepError
from workflows.limits import StepTimedOut, time_limit
from workflows.models import StepRun
from workflows.steps import Call, Outside, effect_of
from workflows.steps.errors import step_error

_LEAST_SECONDS: Final = 0.05


class ReachingCarrier(Carrier):
    """Carries a run or lane, and calls out where its steps say so."""

    def execute(self, action: Execute) -> Outcome | None:
        """Do an effect, outside or of our own rows; answer the outcome where the turn ends."""
        effect = effect_of(action.step.kind)
        if isinstance(effect, Outside):
            return self.reach_out(effect, action)
        return super().execute(action)

    def reach_out(self, effect: Outside, action: Execute) -> Outcome | None:
        """Call out, in a thread beside where there is one: an answer may take long.

        Commits that the attempt begins, calls without a transaction, commits the result. When all
        threads are taken the run moves to their queue, before the attempt begins.
        """
        aside = self.work.aside
        if aside is None:
            self.call_out(effect, action)
            return None
        if not aside.reserve():
            self.commit(after=lambda: self.move(aside.queue, keep=False))
            return Settled()
        try:
            call, row = self.set_out(action)
            if row is not None:
                self.commit(after=lambda: self.move(aside.queue, keep=True))
        except BaseException:
            aside.let_go()
            raise
        if row is None:
            aside.let_go()
            return None
        self.work = replace(self.work, aside=None)
        return Elsewhere(partial(self.go_on, effect, call, row, action))

    def move(self, queue: str, *, keep: bool) -> None:
        """Move the run's due work, in the open transaction."""
        move_with_commit(self.work, queue, keep=keep)
        if not keep:
            ring_after_commit(queue)

    def set_out(self, action: Execute) -> tuple[Call, StepRun | None]:
        """Note that the attempt begins; no row when what is kept of an earlier one will do."""
        if self.closing:
            self.commit()
        call = self.call(action)
        row = self.begin(action, call)
        if action.step.cache is not None and self.reuse(action, row):
            return call, None
        return call, row

    def call_out(self, effect: Outside, action: Execute) -> None:
        """Do an effect that calls out where we are."""
        call, row = self.set_out(action)
        if row is not None:
            self.commit()
            self.outside(effect, call, row, action)

    def go_on(self, effect: Outside, call: Call, row: StepRun, action: Execute) -> Outcome:
        """Call out and carry the run on, in the thread that was reserved for it."""
        self.outside(effect, call, row, action)
        return self.go()

    def outside(self, effect: Outside, call: Call, row: StepRun, action: Execute) -> None:
        """Call out without a transaction, and commit the result."""
        with tracing.step(self.run, action, call.now):
            self.ask_outside(effect, call, row, action)
        self.work.lease.progress()

    def ask_outside(self, effect: Outside, call: Call, row: StepRun, action: Execute) -> None:
        limit = action.step.timeout
        left = _seconds_left(action, call.now)
        if left is not None and action.late is not None and (limit is None or left < limit):
            self.ask_in_time(effect, call, row, action, left, action.late)
        else:
            self.ask_in_time(effect, call, row, action, limit, timeout_of(action.step))

    def ask_in_time(
        self,
        effect: Outside,
        call: Call,
        row: StepRun,
        action: Execute,
        limit: float | None,
        late: StepError,
    ) -> None:
        """Call out within a limit, and put down what came of it, or that it took too long."""
        try:
            with time_limit(limit):
                prepared = effect.execute(call)
        except StepTimedOut:
            self.fail(row, action, late)
            return
        except Exception as error:
            late_too = self.is_late(call, limit)  # the answer may have been given up by then
            self.fail(row, action, late if late_too else step_error(error))
            return
        if self.is_late(call, limit):
            effect.abandon(call, prepared, TimeoutError(late.message))
            self.fail(row, action, late)
            return
        self.inside(
            lambda: effect.commit(call, prepared),
            row,
            action,
            refused=lambda error: effect.abandon(call, prepared, error),
        )

    def is_late(self, call: Call, limit: float | None) -> bool:
        """Say whether a call took longer than it may."""
        return limit is not None and (self.clock() - call.now).total_seconds() >= limit


def _seconds_left(action: Execute, now: datetime) -> float | None:
    """Return how long a call may take for what stands around its step, None for ever."""
    if action.until is None:
        return None
    return max((action.until - now).total_seconds(), _LEAST_SECONDS)
