"""Branches and items as rows: begun together, each carried on its own, joined by counting.

Whoever ends a lane locks the row of counts, so that exactly one sees that enough have ended and
asks for the step that waits; and starts the next one that had no room before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Final

from django.db.models import Q

from workflows.due import ask_for
from workflows.models import (
    LANE_FINAL,
    FanOut,
    Lane,
    LaneStatus,
    Run,
    RunStatus,
    StepRun,
    StepStatus,
    Task,
    TaskStatus,
)
from workflows.state import FanOut as FanOutAction
from workflows.state import FanOutState, LanePlace, deeper, key_of

OPEN: Final = (StepStatus.RUNNING, StepStatus.WAITING, StepStatus.RETRYING)
STATUS_BESIDE_RUN: Final = {
    RunStatus.RUNNING: LaneStatus.RUNNING,
    RunStatus.WAITING: LaneStatus.WAITING,
    RunStatus.COMPLETED: LaneStatus.SUCCEEDED,
    RunStatus.FAILED: LaneStatus.FAILED,
}
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Holder:
    """What is carried by one worker at a time: a run, or one branch or item of it."""

    run: Run
    lane: Lane | None = None

    @property
    def lane_id(self) -> str:
        """Return the lane's id, empty for the run itself."""
        return self.lane.id if self.lane is not None else ""

    @property
    def place(self) -> LanePlace | None:
        """Return the lane as the engine names it."""
        lane = self.lane
        if lane is None:
            return None
        return LanePlace(lane.path, lane.index, lane.iteration, lane.item)


def begin(holder: Holder, action: FanOutAction, identifier: str) -> FanOut:
    """Write the lanes of a step and ask for as many as may run at once; inside a transaction."""
    run = holder.run
    count = len(action.items)
    fan_out = FanOut.objects.create(
        id=identifier,
        project_id=run.project_id,
        run=run,
        lane=holder.lane_id,
        path=action.step.path,
        iteration=action.iteration,
        total=count,
        started=min(action.concurrency, count),
        needed=action.needed,
        tolerated=action.tolerated,
    )
    lanes = rows_of(holder, action, identifier)
    for lane in lanes:
        lane.status = LaneStatus.QUEUED if lane.index < fan_out.started else LaneStatus.READY
    Lane.objects.bulk_create(lanes, batch_size=_BATCH)
    for lane in lanes[: fan_out.started]:
        ask_for(run.id, lane.id)
    return fan_out


def rows_of(holder: Holder, action: FanOutAction, identifier: str) -> list[Lane]:
    """Return the rows of branches or items, not written yet."""
    around = holder.lane
    lineage = f"{around.lineage}{around.id}/" if around is not None else ""
    return [
        Lane(
            project_id=holder.run.project_id,
            run=holder.run,
            fan_out_id=identifier,
            lineage=lineage,
            path=action.step.path,
            iteration=action.iteration,
            index=index,
            item=item,
        )
        for index, item in enumerate(action.items)
    ]


def write_done(holder: Holder, action: FanOutAction, done: Sequence[Lane]) -> FanOutState:
    """Write items that have all succeeded already; inside a transaction."""
    count = len(done)
    fan_out = FanOut.objects.create(
        id=done[0].fan_out_id,
        project_id=holder.run.project_id,
        run=holder.run,
        lane=holder.lane_id,
        path=action.step.path,
        iteration=action.iteration,
        total=count,
        started=count,
        succeeded=count,
        needed=action.needed,
        tolerated=action.tolerated,
    )
    Lane.objects.bulk_create(done, batch_size=_BATCH)
    results = [
        {"index": lane.index, "status": lane.status, "output": lane.output, "error": lane.error}
        for lane in done
    ]
    return counts_of(fan_out, results)


def count_in(lane: Lane) -> None:
    """Count a lane that ended, start the next, and ask for the step that waits if it may go on."""
    fan_out = FanOut.objects.select_for_update().get(id=lane.fan_out_id)
    fan_out.succeeded += lane.status == LaneStatus.SUCCEEDED
    fan_out.failed += lane.status == LaneStatus.FAILED
    upcoming = None
    if not fan_out.closed and fan_out.started < fan_out.total:
        ready = Lane.objects.filter(fan_out=fan_out, status=LaneStatus.READY)
        upcoming = ready.filter(index__gte=fan_out.started).order_by("index").first()
        fan_out.started = fan_out.total if upcoming is None else upcoming.index + 1
    fan_out.save(update_fields=["succeeded", "failed", "started"])
    counts = counts_of(fan_out)
    if counts.broken or counts.joined:
        ask_for(lane.run_id, fan_out.lane)
    elif upcoming is not None:
        Lane.objects.filter(id=upcoming.id).update(status=LaneStatus.QUEUED)
        ask_for(lane.run_id, upcoming.id)


def counts_of(fan_out: FanOut, results: Sequence[dict[str, object]] = ()) -> FanOutState:
    """Return a fan-out as the engine sees it."""
    return FanOutState(
        total=fan_out.total,
        succeeded=fan_out.succeeded,
        failed=fan_out.failed,
        needed=fan_out.needed,
        tolerated=fan_out.tolerated,
        results=tuple(results),
    )


def read(ids: Sequence[str]) -> dict[str, FanOutState]:
    """Return fan-outs by id, with the results of those that are joined or broken."""
    found: dict[str, FanOutState] = {}
    for fan_out in FanOut.objects.filter(id__in=ids):
        counts = counts_of(fan_out)
        if counts.broken or counts.joined:
            rows = Lane.objects.filter(fan_out=fan_out).order_by("index")
            values = rows.values("index", "status", "output", "error")
            counts = counts_of(fan_out, [dict(value) for value in values])
        found[fan_out.id] = counts
    return found


def items_inside(run: Run, path: str, iteration: str) -> dict[str, tuple[object, ...]]:
    """Return the items of a map and of the maps in it, each as it was begun last, by its key."""
    place = Q(path=path, iteration=iteration)
    nested = Q(path__startswith=f"{path}/")
    if iteration:
        nested &= Q(iteration__startswith=f"{iteration}.")
    rows = Lane.objects.filter(place | nested, run=run).order_by("fan_out_id", "index")
    kept = rows.values_list("path", "iteration", "fan_out_id", "item")
    found: dict[str, tuple[object, ...]] = {}
    for (at, within, _), items in groupby(kept, key=itemgetter(0, 1, 2)):
        found[key_of(at, within)] = tuple(item for *_, item in items)
    return found


def close(run: Run, path: str, iteration: str, now: datetime) -> list[str]:
    """End what is open under a step (all of the run for an empty path); return child runs.

    Whoever carries one of the lanes finds that at its next commit, which then fails.
    """
    under = Q() if not path else Q(path=path) | Q(path__startswith=f"{path}/")
    if iteration:
        under &= Q(iteration=iteration) | Q(iteration__startswith=f"{iteration}.")
    fan_outs = FanOut.objects.filter(under, run=run, closed=False)
    ids = list(fan_outs.values_list("id", flat=True))
    if ids:
        lanes = Lane.objects.filter(fan_out__in=ids).exclude(status__in=LANE_FINAL)
        lanes.update(status=LaneStatus.CANCELED, finished_at=now)
        fan_outs.update(closed=True)
    inside = Q() if not path else Q(path__startswith=f"{path}/")
    if iteration:
        inside &= Q(iteration=iteration) | Q(iteration__startswith=f"{iteration}.")
    rows = StepRun.objects.filter(inside, run=run, superseded=False, status__in=OPEN)
    waits = list(rows.values_list("waiting", flat=True))
    rows.update(status=StepStatus.CANCELED, finished_at=now)
    Task.objects.filter(inside, run=run, status=TaskStatus.OPEN).update(status=TaskStatus.CANCELED)
    return [wait["child"] for wait in waits if wait and wait.get("child")]


def inner_iteration(lane: Lane, kind: str) -> str:
    """Return the iteration in which the steps of a lane run."""
    return deeper(lane.iteration, str(lane.index)) if kind == "map" else lane.iteration
