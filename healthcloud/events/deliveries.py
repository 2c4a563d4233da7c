"""Deliveries of events to webhooks: which are made, begun anew, or resumed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.db.models import QuerySet

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
            sequence=event.sequence,
            next_attempt_at=now,
            created_at=now,
        )
        for event in events
    )
    _ask_all(webhook, rows)
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
    _ask_all(webhook, rows)
    return rows


def restart(webhook: Webhook, rows: Sequence[Delivery], *, now: datetime) -> None:
    """Begin the schedule of locked deliveries anew."""
    for row in rows:
        row.status = Delivery.Status.PENDING
        row.schedule_step = 0
        row.next_attempt_at = now
        row.save(update_fields=["status", "schedule_step", "next_attempt_at"])
    _ask_all(webhook, rows)


def resume(webhook: Webhook, *, now: datetime) -> None:
    """Go on with what was pending when the webhook was paused."""
    pending = webhook.deliveries.select_for_update().filter(status=Delivery.Status.PENDING)
    restart(webhook, list(pending.order_by("created_at", "sequence")), now=now)


def waits_for_another(delivery: Delivery) -> bool:
    """Say whether an event of a locked, ordered webhook has to wait for one before it."""
    webhook = delivery.webhook
    if not webhook.ordered or delivery.sequence is None:
        return False
    return _pending(webhook).filter(sequence__lt=delivery.sequence).exists()


def ask_for_next(webhook: Webhook) -> None:
    """Ask for the event that follows in a locked, ordered webhook, now that one is over."""
    following = _pending(webhook).order_by("sequence").first() if webhook.ordered else None
    if following is not None:
        _ask(following)


def ask_for_pending(webhook: Webhook) -> None:
    """Ask for what waited for its turn, in a webhook whose order no longer matters."""
    _ask_all(webhook, list(_pending(webhook).filter(schedule_step=0)))


def _pending(webhook: Webhook) -> QuerySet[Delivery]:
    return webhook.deliveries.filter(status=Delivery.Status.PENDING, sequence__isnull=False)


def _ask_all(webhook: Webhook, rows: Sequence[Delivery]) -> None:
    """Ask for deliveries to be made; in an ordered webhook each asks for the next one."""
    numbered = [row for row in rows if webhook.ordered and row.sequence is not None]
    first = min(numbered, key=lambda row: row.sequence or 0, default=None)
    for row in rows:
        if not webhook.ordered or row.sequence is None or row is first:
            _ask(row)


def _ask(row: Delivery) -> None:
    enqueue(scope=active_scope(), kind=DELIVER_KIND, ref=row.id, queue=QUEUE, dedupe_key=row.id)
