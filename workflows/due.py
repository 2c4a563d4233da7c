"""Asking for runs, and for their branches and items, to be carried on.

In the transaction of what gave reason to, so that whatever is committed is also looked at.
"""

from typing import Final

from healthcloud.ledger.models import Queue
from healthcloud.ledger.services import enqueue, enqueuing
from healthcloud.tenancy.pipeline import Statement
from healthcloud.tenancy.scope import active_scope
from workflows.models import Lane, LaneStatus, Run

WORK_KIND: Final = "workflow.run"
LANE_KIND: Final = "workflow.lane"
_ASLEEP: Final = (LaneStatus.QUEUED, LaneStatus.RUNNING, LaneStatus.WAITING)


def ask(run: Run) -> None:
    """Ask for the run to be carried on."""
    ask_for(run.id)


def ask_for(run_id: str, lane_id: str = "") -> None:
    """Ask for a run, or for one of its branches or items, to be carried on."""
    enqueue(
        scope=active_scope(),
        kind=LANE_KIND if lane_id else WORK_KIND,
        ref=lane_id or run_id,
        queue=Queue.STEPS,
        dedupe_key=lane_id or run_id,
    )


def asking_for(run_id: str) -> Statement:
    """Return the statement that asks for a run; ring the queue of steps after the commit."""
    return enqueuing(scope=active_scope(), kind=WORK_KIND, ref=run_id, queue=Queue.STEPS.value)


def ask_all(run: Run) -> None:
    """Ask for the run and for every branch and item of it that was begun and is not over."""
    ask(run)
    for lane_id in Lane.objects.filter(run=run, status__in=_ASLEEP).values_list("id", flat=True):
        ask_for(run.id, lane_id)
