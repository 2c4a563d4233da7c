"""One worker's turn with one run, or with one branch or item of it: decide, execute, commit."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError
from django.utils import timezone

from healthcloud.events.doorbell import say_after_commit
from healthcloud.ledger.claims import finish_with_commit, in_other_hands
from healthcloud.ledger.handlers import (
    ClaimedWork,
    Done,
    LeaseLost,
    Outcome,
    RetryAt,
    Settled,
)
from healthcloud.tenancy.scope import Scope
from workflows import caching, ending, lanes, tracing
from workflows.definition import Definition
from workflows.engine import (
    Action,
    Advance,
    Complete,
    Escalate,
    Execute,
    FailRun,
    FanOut,
    Json,
    Open,
    Recall,
    Record,
    Sleep,
    State,
    StepError,
    StepState,
    Waiting,
    decide,
)
from workflows.journal import Journal, RunEnded
from workflows.models import RunStatus, StepRun, StepStatus, fan_out_id
from workflows.pauses import until_next
from workflows.sitting import Apart, Overtaken, Sitting, who_has_it
from workflows.steps import Call, Outside, effect_of
from workflows.steps.errors import StepFailed, step_error
from workflows.steps.escalation import escalate
from workflows.steps.registry import Tells, Waits, holds_nothing
from workflows.telling import ending as ending_event
from workflows.telling import waiting as waiting_event

Clock = Callable[[], datetime]


class Carrier:
    """Carries a run or a lane until it waits or ends."""

    def __init__(
        self,
        work: ClaimedWork,
        sitting: Sitting,
        journal: Journal,
        state: State,
        definition: Definition | None,
        clock: Clock,
    ) -> None:
        self.work = work
        self.sitting = sitting
        self.scope: Scope = work.scope
        self.journal = journal
        self.run = journal.run
        self.lane = journal.holder.lane
        self.state = state
        self.definition = definition
        self.clock = clock
        self.begun_waiting = False
        self.closing = False  # whether the open transaction has ended what was under a step

    def go(self) -> Outcome:
        """Do one action after the other until the run waits or ends."""
        if self.definition is None:
            error = StepError("definition_invalid", "This version can't be read any more.")
            return self.finish(RunStatus.FAILED, error={**error.as_dict(), "step": None})
        while True:
            match action := self.decide(self.definition):
                case Sleep():
                    return self.sleep(action)
                case Complete(output=output):
                    return self.complete(output)
                case FailRun(step=failing, error=failure):
                    failed = {**failure, "step": failing.id if failing else None}
                    return self.finish(RunStatus.FAILED, error=failed)
                case Execute():
                    outcome = self.execute(action)
                    if outcome is not None:
                        return outcome
                case _:
                    self.put_down(action)

    def decide(self, definition: Definition) -> Action:
        """Return what is to be done next, with what has to be committed before it committed."""
        self.work.lease.check()
        self.state.now = self.clock()
        action = decide(definition, self.state)
        if self.sitting.unsettled and self.stands_apart(action):
            self.commit()
        return action

    def stands_apart(self, action: Action) -> bool:
        """Return whether what is not committed yet has to be before this is done."""
        match action:
            case Complete() | FailRun():
                return self.sitting.holds and (self.lane is not None or self.followed)
            case Execute(step=step):
                return self.sitting.full or isinstance(effect_of(step.kind), Waits)
            case Record(closes=True) | FanOut() | Escalate():
                return True
            case _:
                return self.sitting.full

    # --- what is only noted -------------------------------------------------------------------

    def put_down(self, action: Record | Open | Advance | Escalate | FanOut | Recall) -> None:
        """Note what needs no effect outside the run's own rows."""
        match action:
            case Record():
                self.record(action)
            case Open():
                self.open(action)
            case Advance():
                self.advance(action)
            case Escalate():
                self.escalate(action)
            case FanOut():
                self.fan_out(action)
            case Recall():
                self.sitting.enter()
                self.journal.recall(self.state, action.step.path, action.iteration)

    def record(self, record: Record) -> None:
        """Note a step that needed no effect, or whose waiting is over."""
        now = self.state.now
        row = self.journal.current.get(record.key)
        underway = row is not None and (
            row.status == StepStatus.WAITING
            or (row.status == StepStatus.RUNNING and row.kind == "loop")
        )
        if row is None or not underway:
            row = self.journal.begin(
                record.step, record.attempt, record.input, now, record.iteration
            )
        if record.signal is not None:
            self.journal.taken[record.signal] = record.step.path
            self.state.signals = tuple(s for s in self.state.signals if s.id != record.signal)
        if record.expired_task is not None:
            self.journal.expired.append(record.expired_task)
        if record.closes:
            self.close(record, row)
        too_large = self.journal.measured(record.output)
        status = "failed" if too_large else record.status
        error = too_large or record.error
        output = None if too_large else record.output
        self.journal.end(row, status, now, output=output, error=error)
        self.note(record.key, status, record.attempt, output=output, error=error)

    def close(self, record: Record, row: StepRun) -> None:
        """End what is still open under a step, in the transaction that is written next."""
        self.sitting.enter()
        self.closing = True
        child = (row.waiting or {}).get("child")
        if child:
            ending.cancel_child(child, self.run, self.state.now)
        ending.close_open(self.run, self.state.now, record.step.path, record.iteration)
        if record.step.fans_out:
            self.journal.joined()
            if record.step.kind == "parallel":
                self.journal.see_branches(self.state)
        for key, state in list(self.state.steps.items()):
            inside = self.journal.current[key].path.startswith(f"{record.step.path}/")
            if inside and state.status in {"running", "waiting", "retrying"}:
                del self.state.steps[key]

    def open(self, action: Open) -> None:
        """Note that a loop begins."""
        now = self.state.now
        row = self.journal.begin(
            action.step, action.attempt, action.arguments, now, action.iteration
        )
        limit = now + timedelta(seconds=action.step.timeout) if action.step.timeout else None
        row.waiting = {"round": 1, "limit": limit.isoformat() if limit else None}
        self.state.steps[action.key] = StepState("running", action.attempt, limit=limit)

    def advance(self, action: Advance) -> None:
        """Note that a loop goes into its next round."""
        row = self.journal.current[action.key]
        row.waiting = {
            **(row.waiting or {}),
            "round": action.round,
            "previous": action.previous,
        }
        self.journal.touch(row)
        found = self.state.steps[action.key]
        self.state.steps[action.key] = replace(found, round=action.round, previous=action.previous)
        self.work.lease.progress()

    def escalate(self, action: Escalate) -> None:
        """Ask others too, and go on waiting."""
        row = self.journal.current[action.key]
        found = self.state.steps[action.key]
        waiting = replace(found.waiting or Waiting(), escalate_at=None)
        self.sitting.enter()
        self.closing = True
        self.journal.events.extend(
            escalate(action.task, action.step, self.run, row, self.state.now)
        )
        self.journal.wait(row, waiting, None, self.state.now)
        self.state.steps[action.key] = replace(found, waiting=waiting)

    # --- effects ------------------------------------------------------------------------------

    def execute(self, action: Execute) -> Outcome | None:
        """Do an effect and commit its result with all that was noted before.

        Answers the outcome of this turn where the run goes on in another thread.
        """
        effect = effect_of(action.step.kind)
        assert not isinstance(effect, Outside)  # `workflows.reaching` does those
        if self.closing and not isinstance(effect, Tells):
            self.commit()  # an effect that fails would undo what was ended with it
        call = self.call(action)
        row = self.begin(action, call)
        if action.step.cache is not None and self.reuse(action, row):
            return None
        with tracing.step(self.run, action, call.now):
            if isinstance(effect, Waits):
                self.wait(effect, call, row, action)
            elif isinstance(effect, Tells):
                self.tell(effect, call, row, action)
            else:
                self.inside(
                    lambda: effect(call),
                    row,
                    action,
                    lockless=holds_nothing(action.step.kind, call.arguments),
                )
        if not self.sitting.unsettled:
            self.work.lease.progress()
        return None

    def begin(self, action: Execute, call: Call) -> StepRun:
        return self.journal.begin(
            action.step, action.attempt, action.arguments, call.now, action.iteration
        )

    def call(self, action: Execute) -> Call:
        key = action.key
        return Call(
            run=self.run,
            step=action.step,
            arguments=action.arguments,
            attempt=action.attempt,
            key=f"{self.run.id}/{key}/{self.journal.repeated.get(key, 0)}",
            actor=self.journal.actor,
            now=self.clock(),
            scope=self.scope,
            lane=self.journal.holder.lane_id,
        )

    def reuse(self, action: Execute, row: StepRun) -> bool:
        """Put down the output of an earlier step with the same arguments, if one is kept."""
        self.sitting.enter()
        found = caching.find(action, self.run, self.state.now)
        if found is None:
            return False
        self.journal.measured(found.output)
        self.journal.end(row, StepStatus.SUCCEEDED, self.clock(), output=found.output)
        self.note(action.key, "succeeded", action.attempt, output=found.output)
        return True

    def wait(self, effect: Waits, call: Call, row: StepRun, action: Execute) -> None:
        self.sitting.enter()
        try:
            begun = effect.begin(call)
        except Exception as error:
            self.sitting.undo(error)
            self.journal.discard(row)
            self.fail(row, action, step_error(error))
            return
        waiting = begun.waiting
        if action.step.timeout is not None:
            limit = call.now + timedelta(seconds=action.step.timeout)
            waiting = replace(waiting, limit=limit)
        self.begun_waiting = True
        self.journal.wait(row, waiting, begun.task, call.now)
        self.state.steps[action.key] = StepState("waiting", action.attempt, waiting=waiting)
        self.journal.refresh(self.state)

    def fan_out(self, action: FanOut) -> None:
        """Begin branches or items, each as due work of its own."""
        now = self.state.now
        row = self.journal.begin(action.step, action.attempt, action.input, now, action.iteration)
        limit = now + timedelta(seconds=action.step.timeout) if action.step.timeout else None
        identifier = fan_out_id()
        waiting = Waiting(fan_out=identifier, limit=limit)
        self.journal.wait(row, waiting, None, now)
        self.commit(after=lambda: lanes.begin(self.journal.holder, action, identifier))
        self.state.steps[action.key] = StepState("waiting", action.attempt, waiting=waiting)
        self.work.lease.progress()

    def tell(self, effect: Tells, call: Call, row: StepRun, action: Execute) -> None:
        """Note an event and that its step is done; both are written with the next commit."""
        try:
            self.enter()  # an event belongs to a project, whoever writes it when
            event = effect.compose(call)
        except Exception as failure:
            self.fail(row, action, step_error(failure))
            return
        output = effect.output(event)
        if error := self.journal.measured(output):
            self.fail(row, action, error)
            return
        self.journal.events.append(event)
        self.journal.end(row, StepStatus.SUCCEEDED, self.clock(), output=output)
        if action.step.cache is not None:
            self.sitting.enter()
            caching.keep(action, self.run, output, self.state.now)
        self.note(action.key, "succeeded", action.attempt, output=output)

    def enter(self) -> None:
        """Have the run's scope, which an earlier step may have left with its commit."""
        self.sitting.enter()

    def inside(
        self,
        effect: Callable[[], Any],
        row: StepRun,
        action: Execute,
        *,
        lockless: bool | None = None,
        refused: Callable[[Exception], None] | None = None,
    ) -> None:
        """Do the effect and put down its result in one transaction, with the token checked.

        One of which `lockless` is known may be committed with what follows. `refused` is told the
        error, after the rollback, when the effect could not be committed.
        """
        try:
            self.sitting.enter()
            output = effect()
            error = self.journal.measured(output)
            if error is not None:
                raise StepFailed(error)
            self.journal.end(row, StepStatus.SUCCEEDED, self.clock(), output=output)
            if action.step.cache is not None:
                caching.keep(action, self.run, output, self.state.now)
                lockless = None  # what is kept is locked
            if lockless is None or not self.sitting.leave(holding=not lockless):
                self.commit()
        except (LeaseLost, RunEnded, Overtaken, Apart):
            raise
        except Exception as failure:
            if self.sitting.unsettled:
                raise Apart from failure
            self.sitting.undo(failure)
            self.journal.discard(row)
            if refused is not None:
                refused(failure)
            error = failure.error if isinstance(failure, StepFailed) else step_error(failure)
            self.fail(row, action, error)
            return
        self.note(action.key, "succeeded", action.attempt, output=output)

    def fail(self, row: StepRun, action: Execute, error: StepError) -> None:
        """Put down a failed attempt, and when the next one is due if its policy allows one."""
        now = self.clock()
        interval = until_next(action, error)
        again = interval is not None
        due_at = now + interval if interval is not None else None
        status = StepStatus.RETRYING if again else StepStatus.FAILED
        self.journal.end(row, status, now, error=error, due_at=due_at)
        self.commit()
        self.note(action.key, "retrying" if again else "failed", action.attempt, error=error)
        if again:
            found = self.state.steps[action.key]
            self.state.steps[action.key] = replace(found, due_at=due_at)

    def note(
        self,
        key: str,
        status: Any,  # noqa: ANN401  # one of the engine's words
        attempt: int,
        *,
        output: object = None,
        error: StepError | None = None,
    ) -> None:
        """Tell the engine's state how a step ended."""
        self.state.steps[key] = StepState(
            status, attempt, output=output, error=error.as_dict() if error else None
        )

    # --- commits ------------------------------------------------------------------------------

    def commit(self, *, after: Callable[[], object] | None = None, **state: Any) -> None:  # noqa: ANN401  # see Journal.write
        """Write what was noted, and the run's state, while the run is still ours.

        `after` writes more in the same transaction, once our own row is locked.
        """
        if self.lane is not None:
            state["status"] = lanes.STATUS_BESIDE_RUN[state.get("status", RunStatus.RUNNING)]
        try:
            self.sitting.enter()
            self.journal.write(self.clock(), **state)
            if after is not None:
                after()
            self.sitting.commit()
        except DatabaseError as error:
            several = self.sitting.unsettled
            self.sitting.undo(error)
            if in_other_hands(error):
                raise who_has_it(self.scope, self.journal.holder, self.work.token) from error
            if several:
                raise Apart from error
            raise
        self.journal.written_down()
        self.closing = False

    def sleep(self, action: Sleep) -> Outcome:
        """Leave the run until a time, or until somebody rings for it."""
        row = self.journal.current[action.key]
        waits = row.status == StepStatus.WAITING and not (row.waiting or {}).get("fan_out")
        if waits and self.begun_waiting:
            self.journal.events.append(waiting_event(self.run, row, self.clock()))
        status = RunStatus.WAITING if waits else RunStatus.RUNNING
        if self.lane is not None:
            status = RunStatus.WAITING
        self.commit(status=status, resume_at=action.until)
        return Done() if action.until is None else RetryAt(action.until)

    def complete(self, output: object) -> Outcome:
        """End the run or lane with its output, unless that is too large."""
        error = self.journal.measured(output)
        if error is not None:
            return self.finish(RunStatus.FAILED, error={**error.as_dict(), "step": None})
        return self.finish(RunStatus.COMPLETED, output=output)

    def finish(self, status: str, *, output: object = None, error: Json | None = None) -> Outcome:
        """Write the last steps, the end of the run and that of its due work together.

        The due work comes last: who signals or cancels holds the run when they ask for it.
        """
        now = max(self.clock(), self.run.started_at or self.state.now)  # another's clock began it
        again: list[bool] = []
        self.sitting.enter()
        if self.lane is not None:
            self.lane.status = lanes.STATUS_BESIDE_RUN[RunStatus(status)]
            follow: Callable[[], object] | None = self.end_lane
        else:
            run = self.run
            run.status, run.output, run.error, run.finished_at = status, output, error, now
            self.journal.events.append(ending_event(run))
            follow = self.end_run if self.followed else None
            say_after_commit(run.id)

        def after() -> None:
            if follow is not None:
                follow()
            finish_with_commit(self.work, again.append)

        self.commit(status=status, output=output, error=error, finished_at=now, after=after)
        return Settled(again=any(again))

    @property
    def followed(self) -> bool:
        """Return whether anything has to be done after the end of this run."""
        run = self.run
        return bool(
            run.parent
            or run.limit_key is not None
            or self.journal.has_open
            or (self.definition is not None and self.definition.has_secrets)
        )

    def end_run(self) -> None:
        """Do what follows the end of the run, in its transaction."""
        if self.journal.has_open:
            ending.close_open(self.run, timezone.now())
        secrets = self.definition is not None and self.definition.has_secrets
        ending.wind_up(self.run, timezone.now(), sensitive=secrets)

    def end_lane(self) -> None:
        """Count the lane in, in its transaction; what it left open is closed."""
        lane = self.lane
        assert lane is not None  # only called for lanes
        lanes.count_in(lane)
