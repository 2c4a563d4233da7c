"""Due work of this room: extend the hash chain of a tenant."""

from healthcloud.audit.chain import extend_chain
from healthcloud.audit.services import CHAIN_KIND
from healthcloud.ledger.handlers import ClaimedWork, Done, register
from healthcloud.tenancy.scope import tenant_scope


@register(CHAIN_KIND, "bulk")
def extend(work: ClaimedWork) -> Done:
    """Link the rows that were committed since the last time."""
    with tenant_scope(work.scope):
        extend_chain()
    return Done()
