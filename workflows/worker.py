"""Carry a run: decide, execute, commit with the token, until it waits or ends.

One worker task carries a run step by step; there is a commit a step and no broker in between.
Branches and items (lanes) are carried in the same way, each on its own. A worker that dies leaves
the run to the next one, which finds in the rows how far it came.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from django.utils import timezone

from healthcloud.ledger.handlers import ClaimedWork, Done, Elsewhere, LeaseLost, Outcome
from healthcloud.tenancy.scope import tenant_scope
from workflows import lanes, run_rows
from workflows.carrier import Clock
from workflows.ending import actor_of, end_run
from workflows.items import RunCarrier
from workflows.journal import Journal, RunEnded
from workflows.lanes import Holder
from workflows.models import FINAL, LANE_FINAL, Lane, LaneStatus, Run, RunStatus
from workflows.published import version_of
from workflows.sitting import Apart, Overtaken, Sitting
from workflows.state import StepError

Read = Callable[[ClaimedWork, datetime], Holder | None]
_TAKE: Final = """
UPDATE workflows_run
   SET token = %s, status = 'running', resume_at = NULL, started_at = coalesce(started_at, %s)
 WHERE id = %s AND token < %s AND NOT status = ANY(%s)
RETURNING *
"""
_TAKE_LANE: Final = """
UPDATE workflows_lane
   SET token = %s, status = 'running', resume_at = NULL, started_at = coalesce(started_at, %s)
 WHERE id = %s AND token < %s AND NOT status = ANY(%s)
RETURNING *
"""


def carry(work: ClaimedWork) -> Outcome:
    """Carry the run that `work.ref` names as far as it goes; the handler of `workflow.run`."""
    return _carry(work, find, take)


def carry_lane(work: ClaimedWork) -> Outcome:
    """Carry a branch or an item as far as it goes; the handler of `workflow.lane`."""
    return _carry(work, find_lane, take_lane)


def _carry(work: ClaimedWork, read: Read, seize: Read) -> Outcome:
    ahead = work.now - timezone.now()

    def clock() -> datetime:
        """Return the time by the database's clock, by which work falls due."""
        return timezone.now() + ahead

    # After a crash each step is committed by itself, so that the next one shows where it was.
    return _again(work, clock, read, seize, shares=work.attempt == 1)


def _again(work: ClaimedWork, clock: Clock, read: Read, seize: Read, *, shares: bool) -> Outcome:
    try:
        return _sit(work, clock, read, seize, shares=shares)
    except Overtaken:  # who held it before committed once more, after we had read
        return _again(work, clock, seize, seize, shares=False)
    except Apart:  # nothing of it is written: the next reading shows what each step comes to
        return _again(work, clock, read, seize, shares=False)


def _sit(work: ClaimedWork, clock: Clock, read: Read, seize: Read, *, shares: bool) -> Outcome:
    sitting = Sitting(work.scope, shares=shares)

    def go() -> Outcome:
        sitting.enter()
        holder = read(work, clock())
        if holder is None:
            sitting.commit()
            return Done()
        return _carrier(work, sitting, holder, clock).go()

    outcome = _seated(sitting, go)
    if isinstance(outcome, Elsewhere):
        alone = replace(work, aside=None)
        return Elsewhere(partial(_go_on, alone, sitting, outcome.rest, clock, seize))
    return outcome


def _go_on(
    work: ClaimedWork, sitting: Sitting, rest: Callable[[], Outcome], clock: Clock, seize: Read
) -> Outcome:
    """Carry on in another thread what was begun in one."""
    try:
        return _seated(sitting, rest)
    except (Overtaken, Apart):
        return _again(work, clock, seize, seize, shares=False)


def _seated(sitting: Sitting, go: Callable[[], Outcome]) -> Outcome:
    try:
        return go()
    except RunEnded:
        return Done()
    except BaseException as error:
        sitting.undo(error)
        raise


def _carrier(work: ClaimedWork, sitting: Sitting, holder: Holder, clock: Clock) -> RunCarrier:
    """Read how far a run or lane came."""
    run = holder.run
    definition = version_of(work.scope.schema, run.version_id).definition
    place = holder.place
    kind = definition.at(place.path).kind if definition and place else ""
    loops = definition is None or definition.loops_in(place.path if place else "")
    journal = Journal.open(holder, actor_of(run), work.token, kind, loops=loops)
    state = journal.state(work.scope, clock())
    return RunCarrier(work, sitting, journal, state, definition, clock)


def find(work: ClaimedWork, now: datetime) -> Holder | None:
    """Return the run without a write, as most are still as they were left; None when it is over."""
    run = run_rows.find(work.ref)
    if run is None or run.final:
        return None
    if run.token > work.token:
        raise LeaseLost
    run.status, run.resume_at, run.started_at = RunStatus.RUNNING, None, run.started_at or now
    return Holder(run)


def take(work: ClaimedWork, now: datetime) -> Holder | None:
    """Make the run ours by writing the claim's token, whoever wrote last; None when it is over."""
    for run in Run.objects.raw(_TAKE, [work.token, now, work.ref, work.token, list(FINAL)]):
        return Holder(run)
    found = Run.objects.filter(id=work.ref).first()
    if found is None or found.final:
        return None
    raise LeaseLost


def find_lane(work: ClaimedWork, now: datetime) -> Holder | None:
    """Return a branch or item as it was left; None when it, or its run, is over."""
    lane = Lane.objects.select_related("run").filter(id=work.ref).first()
    if lane is None or lane.final or lane.run.final:
        return None
    if lane.token > work.token:
        raise LeaseLost
    lane.status, lane.resume_at, lane.started_at = LaneStatus.RUNNING, None, lane.started_at or now
    return Holder(lane.run, lane)


def take_lane(work: ClaimedWork, now: datetime) -> Holder | None:
    """Make a branch or item ours, whoever wrote last; None when it is over."""
    known = [work.token, now, work.ref, work.token, list(LANE_FINAL)]
    for lane in Lane.objects.raw(_TAKE_LANE, known):
        return None if lane.run.final else Holder(lane.run, lane)
    found = Lane.objects.filter(id=work.ref).first()
    if found is None or found.final:
        return None
    raise LeaseLost


def give_up(work: ClaimedWork, error: str) -> None:
    """Fail a run that workers could not carry: the handler of its dead letter."""
    with tenant_scope(work.scope):
        run = Run.objects.select_for_update(no_key=True).filter(id=work.ref).first()
        if run is None or run.final:
            return
        failure = StepError(error, "Workers could not carry this run.", remedy="Retry the run.")
        end_run(run, RunStatus.FAILED, timezone.now(), error={**failure.as_dict(), "step": None})


def give_up_lane(work: ClaimedWork, error: str) -> None:
    """Fail a branch or item that workers could not carry."""
    failure = StepError(error, "Workers could not carry this branch or item.")
    with tenant_scope(work.scope):
        lane = Lane.objects.select_for_update(no_key=True).filter(id=work.ref).first()
        if lane is None or lane.final:
            return
        lane.status = LaneStatus.FAILED
        lane.error = {**failure.as_dict(), "step": None}
        lane.finished_at = timezone.now()
        lane.save(update_fields=["status", "error", "finished_at"])
        lanes.count_in(lane)
