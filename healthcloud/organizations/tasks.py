"""What remains of organizations whose creation was broken off is taken back."""

from healthcloud.ledger.handlers import ClaimedWork, Done, Outcome, register
from healthcloud.organizations.services.organizations import (
    LOOK_AFTER_KIND,
    take_back_abandoned,
)


@register(LOOK_AFTER_KIND, "bulk")
def look_after(work: ClaimedWork) -> Outcome:
    """Take the organization back unless it is there; asked for when its creation began."""
    take_back_abandoned(organization_id=work.ref)
    return Done()
