"""Due work of the clinical store: hand changes to what waits for them."""

from fhir import consumers
from healthcloud.ledger.handlers import ClaimedWork, Done, RetryAt, register

_MANY = 100


@register(consumers.DISPATCH_KIND, "control", max_attempts=_MANY)
def dispatch_changes(work: ClaimedWork) -> Done | RetryAt:
    """Hand the tenant's new changes over; the sweep looks again while anybody waits."""
    is_awaited = consumers.dispatch(work.scope)
    if work.ref != consumers.SWEEP or not is_awaited:
        return Done()
    consumers.purge(work.scope)
    return RetryAt(work.now + consumers.SWEEP_EVERY)
