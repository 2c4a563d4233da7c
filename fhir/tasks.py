"""Due work of the clinical store: hand changes to what waits for them, carry jobs."""

from fhir import consumers
from fhir.jobs import service as jobs
from healthcloud.ledger.handlers import ClaimedWork, Done, Outcome, RetryAt, register

_MANY = 100


@register(consumers.DISPATCH_KIND, "control", max_attempts=_MANY)
def dispatch_changes(work: ClaimedWork) -> Done | RetryAt:
    """Hand the tenant's new changes over; the sweep looks again while anybody waits."""
    is_awaited = consumers.dispatch(work.scope)
    if work.ref != consumers.SWEEP or not is_awaited:
        return Done()
    consumers.purge(work.scope)
    return RetryAt(work.now + consumers.SWEEP_EVERY)


@register(jobs.JOB_KIND, "bulk", on_dead=jobs.give_up)
def carry_job(work: ClaimedWork) -> Outcome:
    """Carry an export, an import or another job to its end."""
    return jobs.carry(work)


@register(jobs.EXPIRY_KIND, "control")
def expire_job(work: ClaimedWork) -> Outcome:
    """Forget a job and its output when their time is over."""
    return jobs.expire(work)
