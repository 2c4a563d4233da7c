"""Carry a run: decide, execute, commit with the token, until it waits or ends.

One worker task carries a run step by step; there is a commit a step and no broker in between.
A worker that dies leaves the run to the next one, which finds in the rows how far it came.
"""

import random
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from django.db import DatabaseError
from django.utils import timezone

from healthcloud.actors import Actor
from healthcloud.events.services import Happening, publish_all
from healthcloud.ledger.claims import finish_with_commit, in_other_hands
from healthcloud.ledger.handlers import ClaimedWork, Done, LeaseLost, Outcome, RetryAt, Settled
from healthcloud.tenancy.scope import Scope, tenant_scope
from workflows.definition import Definition
from workflows.engine import (
    Complete,
    Execute,
    FailRun,
    Json,
    Record,
    Sleep,
    State,
    StepError,
    StepState,
    decide,
)
from workflows.journal import Journal, RunEnded
from workflows.models import FINAL, Run, RunStatus, StepRun, StepStatus
from workflows.parsing import parse
from workflows.runs import facts, timed
from workflows.steps import Call, Outside, effect_of
from workflows.steps.errors import STARTING, step_error
from workflows.steps.registry import Waits

Clock = Callable[[], datetime]
Read = Callable[[ClaimedWork, datetime], Run | None]
_STARTING_ATTEMPTS: Final = 16
_TAKE: Final = """
UPDATE workflows_run
   SET token = %s, status = 'running', resume_at = NULL, started_at = coalesce(started_at, %s)
 WHERE id = %s AND token < %s AND NOT status = ANY(%s)
RETURNING *
"""


def carry(work: ClaimedWork) -> Outcome:
    """Carry the run that `work.ref` names as far as it goes; the handler of `workflow.run`."""
    ahead = work.now - timezone.now()

    def clock() -> datetime:
        """Return the time by the database's clock, by which work falls due."""
        return timezone.now() + ahead

    try:
        return _carry(work, clock, find)
    except Overtaken:  # who held it before committed once more, after we had read
        return _carry(work, clock, take)


class Overtaken(Exception):
    """Another worker, whose lease had ended, has written since we read; we may take the run."""


class Sitting:
    """A transaction in the tenant's scope that is opened when it is needed."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._open: ExitStack | None = None

    def enter(self) -> None:
        """Open the transaction unless it is open."""
        if self._open is None:
            self._open = ExitStack()
            self._open.enter_context(tenant_scope(self._scope))

    def commit(self) -> None:
        """Commit what was written."""
        if self._open is not None:
            sitting, self._open = self._open, None
            sitting.close()

    def undo(self, error: BaseException) -> None:
        """Roll back what was written."""
        if self._open is not None:
            sitting, self._open = self._open, None
            with suppress(type(error)):
                sitting.__exit__(type(error), error, error.__traceback__)


def _carry(work: ClaimedWork, clock: Clock, read: Read) -> Outcome:
    sitting = Sitting(work.scope)
    try:
        sitting.enter()
        run = read(work, clock())
        if run is None:
            sitting.commit()
            return Done()
        journal = Journal.open(run, actor_of(run), work.token)
        state = journal.state(work.scope, clock())
        definition = _definition(work.scope.schema, run.version_id)
        return Carrier(work, sitting, journal, state, definition, clock).go()
    except RunEnded:
        return Done()
    except BaseException as error:
        sitting.undo(error)
        raise


def find(work: ClaimedWork, now: datetime) -> Run | None:
    """Return the run without a write, as most are still as they were left; None when it is over."""
    run = Run.objects.filter(id=work.ref).first()
    if run is None or run.final:
        return None
    if run.token > work.token:
        raise LeaseLost
    run.status, run.resume_at, run.started_at = RunStatus.RUNNING, None, run.started_at or now
    return run


def take(work: ClaimedWork, now: datetime) -> Run | None:
    """Make the run ours by writing the claim's token, whoever wrote last; None when it is over."""
    for run in Run.objects.raw(_TAKE, [work.token, now, work.ref, work.token, list(FINAL)]):
        return run
    found = Run.objects.filter(id=work.ref).first()
    if found is None or found.final:
        return None
    raise LeaseLost


def give_up(work: ClaimedWork, error: str) -> None:
    """Fail a run that workers could not carry: the handler of its dead letter."""
    with tenant_scope(work.scope):
        run = Run.objects.select_for_update().filter(id=work.ref).first()
        if run is None or run.final:
            return
        failure = StepError(error, "Workers could not carry this run.", remedy="Retry the run.")
        end_run(run, RunStatus.FAILED, timezone.now(), error={**failure.as_dict(), "step": None})


def end_run(
    run: Run, status: str, now: datetime, *, output: object = None, error: Json | None = None
) -> None:
    """Write the end of a run and publish it, in the caller's transaction."""
    run.status = status
    run.output = output
    run.error = error
    run.finished_at = now
    run.save(update_fields=["status", "output", "error", "finished_at"])
    publish_all([ending(run)], actor=actor_of(run))


def ending(run: Run) -> Happening:
    """Return the event that says how a run ended."""
    payload = timed(run)
    if run.error is not None:
        payload |= {"code": run.error["code"]}
        payload |= {"step_id": run.error["step"]} if run.error["step"] else {}
    return f"workflow.{run.status}", payload, run.finished_at or run.created_at


def actor_of(run: Run) -> Actor:
    """Return the run as the doer of what its steps do."""
    return Actor("workflow", run.id, f"{run.slug} v{run.number}")


@lru_cache(maxsize=256)
def _definition(schema: str, version_id: str) -> Definition | None:
    """Return a version's parsed definition; versions never change, so it is kept."""
    from workflows.models import WorkflowVersion

    return parse(WorkflowVersion.objects.get(id=version_id).definition).definition


class Carrier:
    """One worker's turn with one run."""

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
        self.state = state
        self.definition = definition
        self.clock = clock
        self.begun_waiting = False

    def go(self) -> Outcome:
        """Do one action after the other until the run waits or ends."""
        if self.definition is None:
            error = StepError("definition_invalid", "This version can't be read any more.")
            return self.finish(RunStatus.FAILED, error={**error.as_dict(), "step": None})
        while True:
            self.work.lease.check()
            self.state.now = self.clock()
            match decide(self.definition, self.state):
                case Record() as record:
                    self.record(record)
                case Execute() as execute:
                    self.execute(execute)
                case Sleep(step=step, until=until):
                    return self.sleep(step.path, until)
                case Complete(output=output):
                    return self.finish(RunStatus.COMPLETED, output=output)
                case FailRun(step=failing, error=failure):
                    failed = {**failure, "step": failing.id if failing else None}
                    return self.finish(RunStatus.FAILED, error=failed)

    def record(self, record: Record) -> None:
        """Note a step that needed no effect, or whose waiting is over."""
        now = self.state.now
        row = self.journal.current.get(record.step.path)
        if row is None or row.status != StepStatus.WAITING:
            row = self.journal.begin(record.step, record.attempt, record.input, now)
        if record.signal is not None:
            self.journal.taken[record.signal] = record.step.path
            self.state.signals = tuple(s for s in self.state.signals if s.id != record.signal)
        if record.expired_task is not None:
            self.journal.expired.append(record.expired_task)
        too_large = self.journal.measured(record.output)
        status = "failed" if too_large else record.status
        error = too_large or record.error
        output = None if too_large else record.output
        self.journal.end(row, status, now, output=output, error=error)
        self.note(record.step.path, status, record.attempt, output=output, error=error)

    def execute(self, action: Execute) -> None:
        """Do an effect and commit its result with all that was noted before."""
        effect = effect_of(action.step.kind)
        call = self.call(action)
        row = self.journal.begin(action.step, action.attempt, action.arguments, call.now)
        if isinstance(effect, Waits):
            self.wait(effect, call, row, action)
        elif isinstance(effect, Outside):
            self.outside(effect, call, row, action)
        else:
            self.inside(lambda: effect(call), row, action)
        self.work.lease.progress()

    def call(self, action: Execute) -> Call:
        path = action.step.path
        return Call(
            run=self.run,
            step=action.step,
            arguments=action.arguments,
            attempt=action.attempt,
            key=f"{self.run.id}/{path}/{self.journal.repeated.get(path, 0)}",
            actor=self.journal.actor,
            now=self.clock(),
            scope=self.scope,
        )

    def wait(self, effect: Waits, call: Call, row: StepRun, action: Execute) -> None:
        try:
            begun = effect.begin(call)
        except Exception as error:
            self.fail(row, action, step_error(error))
            return
        self.begun_waiting = True
        self.journal.wait(row, begun.waiting, begun.task, call.now)
        waiting = StepState("waiting", action.attempt, waiting=begun.waiting)
        self.state.steps[action.step.path] = waiting
        self.sitting.enter()
        self.journal.refresh(self.state)

    def outside(self, effect: Outside, call: Call, row: StepRun, action: Execute) -> None:
        """Commit that the attempt begins, call out without a transaction, commit the result."""
        self.commit()
        try:
            prepared = effect.execute(call)
        except Exception as error:
            self.fail(row, action, step_error(error))
            return
        limit = action.step.timeout
        if limit is not None and (self.clock() - call.now).total_seconds() > limit:
            message = f"The step took longer than its timeout of {limit:g} s."
            effect.abandon(call, prepared, TimeoutError(message))
            self.fail(row, action, StepError("timeout", message, retryable=True))
            return
        self.inside(
            lambda: effect.commit(call, prepared),
            row,
            action,
            refused=lambda error: effect.abandon(call, prepared, error),
        )

    def inside(
        self,
        effect: Callable[[], Any],
        row: StepRun,
        action: Execute,
        *,
        refused: Callable[[Exception], None] | None = None,
    ) -> None:
        """Do the effect and put down its result in one transaction, with the token checked.

        `refused` is told the error, after the rollback, when the effect could not be committed.
        """
        try:
            self.sitting.enter()
            output = effect()
            error = self.journal.measured(output)
            if error is not None:
                raise StepFailed(error)
            self.journal.end(row, StepStatus.SUCCEEDED, self.clock(), output=output)
            self.commit()
        except (LeaseLost, RunEnded, Overtaken):
            raise
        except Exception as failure:
            self.sitting.undo(failure)
            self.journal.discard(row)
            if refused is not None:
                refused(failure)
            error = failure.error if isinstance(failure, StepFailed) else step_error(failure)
            self.fail(row, action, error)
            return
        self.note(action.step.path, "succeeded", action.attempt, output=output)

    def fail(self, row: StepRun, action: Execute, error: StepError) -> None:
        """Put down a failed attempt, and when the next one is due if its policy allows one."""
        now = self.clock()
        interval = _until_next(action, error)
        again = interval is not None
        due_at = now + interval if interval is not None else None
        status = StepStatus.RETRYING if again else StepStatus.FAILED
        self.journal.end(row, status, now, error=error, due_at=due_at)
        self.commit()
        self.note(action.step.path, "retrying" if again else "failed", action.attempt, error=error)
        if again:
            found = self.state.steps[action.step.path]
            self.state.steps[action.step.path] = StepState(
                found.status, found.attempt, error=found.error, due_at=due_at
            )

    def note(
        self,
        path: str,
        status: Any,  # noqa: ANN401  # one of the engine's words
        attempt: int,
        *,
        output: object = None,
        error: StepError | None = None,
    ) -> None:
        """Tell the engine's state how a step ended."""
        self.state.steps[path] = StepState(
            status, attempt, output=output, error=error.as_dict() if error else None
        )

    def commit(self, **state: Any) -> None:  # noqa: ANN401  # see Journal.write
        """Write what was noted, and the run's state, while the run is still ours."""
        try:
            self.sitting.enter()
            self.journal.write(self.clock(), **state)
            self.sitting.commit()
        except DatabaseError as error:
            self.sitting.undo(error)
            if in_other_hands(error):
                raise self.whose_it_is() from error
            raise
        self.journal.written_down()

    def whose_it_is(self) -> Exception:
        """Return why the run could not be written: it ended, or someone else wrote since."""
        with tenant_scope(self.scope):
            run = Run.objects.filter(id=self.run.id).first()
        if run is None or run.final:
            return RunEnded()
        return Overtaken() if run.token < self.work.token else LeaseLost()

    def sleep(self, path: str, until: datetime | None) -> Outcome:
        """Leave the run until a time, or until somebody rings for it."""
        row = self.journal.current[path]
        waits = row.status == StepStatus.WAITING
        if waits and self.begun_waiting:
            self.journal.events.append(self.waiting_event(row))
        status = RunStatus.WAITING if waits else RunStatus.RUNNING
        self.commit(status=status, resume_at=until)
        return Done() if until is None else RetryAt(until)

    def waiting_event(self, row: StepRun) -> Happening:
        wait = row.waiting or {}
        reason = "task" if wait.get("task") else "signal" if wait.get("signal") else "timer"
        payload = facts(self.run) | {"step_id": row.step, "reason": reason}
        if wait.get("task"):
            payload["task_id"] = wait["task"]
        return "workflow.waiting", payload, self.clock()

    def finish(self, status: str, *, output: object = None, error: Json | None = None) -> Outcome:
        """Write the last steps, the end of the run and that of its due work together."""
        run = self.run
        now = self.clock()
        run.status, run.output, run.error, run.finished_at = status, output, error, now
        self.journal.events.append(ending(run))
        again: list[bool] = []
        self.sitting.enter()
        finish_with_commit(self.work, again.append)
        self.commit(status=status, output=output, error=error, finished_at=now)
        return Settled(again=any(again))


class StepFailed(Exception):
    """Rolls the step's transaction back and carries its error out."""

    def __init__(self, error: StepError) -> None:
        super().__init__(error.code)
        self.error = error


def _until_next(action: Execute, error: StepError) -> timedelta | None:
    """Return the pause before the next attempt, None when there is none.

    A deployment that is still starting is waited for whatever the step's policy, for about a
    minute: whoever deploys and runs in one breath means the run to succeed.
    """
    policy = action.step.retry
    if error.code == STARTING and action.attempt < _STARTING_ATTEMPTS:
        return timedelta(seconds=min(0.2 * 1.6**action.attempt, 5.0))
    if (
        error.retryable
        and action.attempt < policy.max_attempts
        and error.code not in policy.non_retryable
    ):
        return policy.interval(action.attempt, random.random())  # noqa: S311
    return None
