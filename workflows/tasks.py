"""Due work of workflows: runs to be carried."""

from healthcloud.ledger.handlers import ClaimedWork, Outcome, register
from healthcloud.ledger.models import Queue
from workflows import worker
from workflows.runs import WORK_KIND


@register(WORK_KIND, Queue.STEPS, on_dead=worker.give_up)
def carry_run(work: ClaimedWork) -> Outcome:
    """Carry a run as far as it goes."""
    return worker.carry(work)
