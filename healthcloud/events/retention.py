"""Events and their deliveries are kept for 90 days, then deleted in small chunks.

The newest event always stays, since the next number is one more than the highest.
"""

from datetime import datetime, timedelta
from typing import Final

from healthcloud.events.models import Delivery, DeliveryAttempt, Event
from healthcloud.events.numbering import last_number, whole_tenant
from healthcloud.tenancy.scope import Scope, tenant_scope

KEPT_FOR: Final = timedelta(days=90)
CHUNK: Final = 1000


def purge(scope: Scope, *, now: datetime) -> int:
    """Delete what is too old in a tenant, one chunk a transaction; return how many events went."""
    purged = 0
    while chunk := _purge_chunk(whole_tenant(scope), now - KEPT_FOR):
        purged += chunk
    return purged


def _purge_chunk(scope: Scope, before: datetime) -> int:
    with tenant_scope(scope):
        old = Event.objects.filter(created_at__lt=before, sequence__lt=last_number())
        positions = list(old.order_by("created_at").values_list("position", flat=True)[:CHUNK])
        if not positions:
            return 0
        deliveries = Delivery.objects.filter(event_id__in=positions)
        DeliveryAttempt.objects.filter(delivery__in=deliveries)._raw_delete("default")
        deliveries._raw_delete("default")
        return Event.objects.filter(position__in=positions)._raw_delete("default")
