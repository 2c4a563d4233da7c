"""Deliveries of events to webhooks: which are made, begun anew, or resumed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from healthcloud.events import catalog
from healthcloud.events.models import Delivery, Event, Webhook
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import active_scope

DELIVER_KIND: Final = "webhook.deliver"
QUEUE: Final = "webhooks"


def wanted(webhook: Webhook, event: Event) -> bool:
    """Say whether a webhook gets an event: its project, its types, and tests meant for it."""
    if webhook.project_id and event.project_id != webhook.project_id:
        return False
    if event.type == "webhook.test":
        return False  # made directly, for the webhook it tests
    return any(catalog.matches(pattern, event.type) for pattern in webhook.types)


def create(webhook: Webhook, events: Sequence[Event], *, now: datetime) -> list[Delivery]:
    """Create the deliveries of events to a webhook and ask for them to be made."""
    rows = Delivery.objects.bulk_create(
        Delivery(
            project_id=event.project_id,
            webhook=webhook,
            event=event,
            next_attempt_at=now,
            created_at=now,
        )
        for event in events
    )
    for row in rows:
        _ask(row)
    return rows


def create_content(webhook: Webhook, contents: Sequence[str], *, now: datetime) -> list[Delivery]:
    """Create the deliveries of a channel's own contents and ask for them to be made."""
    rows = Delivery.objects.bulk_create(
        Delivery(
            project_id=webhook.project_id,
            webhook=webhook,
            content=content,
            next_attempt_at=now,
            created_at=now,
        )
        for content in contents
    )
    for row in rows:
        _ask(row)
    return rows


def restart(rows: Sequence[Delivery], *, now: datetime) -> None:
    """Begin the schedule of locked deliveries anew."""
    for row in rows:
        row.status = Delivery.Status.PENDING
        row.schedule_step = 0
        row.next_attempt_at = now
        row.save(update_fields=["status", "schedule_step", "next_attempt_at"])
        _ask(row)


def resume(webhook: Webhook, *, now: datetime) -> None:
    """Go on with what was pending when the webhook was paused."""
    pending = webhook.deliveries.select_for_update().filter(status=Delivery.Status.PENDING)
    restart(list(pending.order_by("created_at")), now=now)


def _ask(row: Delivery) -> None:
    enqueue(scope=active_scope(), kind=DELIVER_KIND, ref=row.id, queue=QUEUE, dedupe_key=row.id)
