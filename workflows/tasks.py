"""Due work of workflows: runs to be carried."""

from healthcloud.ledger.handlers import ClaimedWork, Outcome, register
from healthcloud.ledger.models import Queue
from workflows import worker
from workflows.due import LANE_KIND, WORK_KIND


@register(WORK_KIND, Queue.STEPS, on_dead=worker.give_up)
def carry_run(work: ClaimedWork) -> Outcome:
    """Carry a run as far as it goes."""
    return worker.carry(work)


@register(LANE_KIND, Queue.STEPS, on_dead=worker.give_up_lane)
def carry_lane(work: ClaimedWork) -> Outcome:
    """Carry a branch or an item as far as it goes."""
    return worker.carry_lane(work)
