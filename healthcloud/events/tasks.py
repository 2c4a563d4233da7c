"""Due work of this room: hand events to listeners, make deliveries of webhooks."""

from collections.abc import Sequence
from datetime import timedelta

from django.utils import timezone

from healthcloud.events import attempts, deliveries, listeners, retention, webhooks
from healthcloud.events.models import Event, Webhook
from healthcloud.events.numbering import RETENTION_KIND
from healthcloud.events.services import DISPATCH_KIND
from healthcloud.ledger import claims
from healthcloud.ledger.handlers import ClaimedWork, Done, RetryAt, register

_MANY = 100  # attempts are counted in the delivery; the ledger's own count must not end it sooner


@register(DISPATCH_KIND, "control", max_attempts=_MANY)
def dispatch_events(work: ClaimedWork) -> Done:
    """Hand the tenant's new events to everything that listens."""
    claims.absorb(work)
    listeners.dispatch(work.scope)
    return Done()


@listeners.register(webhooks.LISTENER)
def deliver_to_webhook(webhook_id: str, events: Sequence[Event]) -> None:
    """Create the deliveries of a batch of events to one webhook; a paused one gets them later."""
    webhook = Webhook.objects.filter(id=webhook_id).first()
    if webhook is None or webhook.status == Webhook.Status.DISABLED:
        return
    if webhook.status == Webhook.Status.PAUSED:
        raise listeners.ListenerHeld
    chosen = [event for event in events if deliveries.wanted(webhook, event)]
    deliveries.create(webhook, chosen, now=timezone.now())


@listeners.register_held(webhooks.LISTENER)
def paused_webhooks() -> set[str]:
    """Return the webhooks whose events wait for them."""
    paused = Webhook.objects.filter(status=Webhook.Status.PAUSED)
    return set(paused.values_list("id", flat=True))


@register(deliveries.DELIVER_KIND, deliveries.QUEUE, max_attempts=_MANY)
def deliver(work: ClaimedWork) -> Done | RetryAt:
    """Make the next attempt of a delivery."""
    due_at = attempts.attempt(work.ref, work.scope, now=work.now)
    return Done() if due_at is None else RetryAt(due_at, "")


@register(RETENTION_KIND, "bulk")
def delete_old_events(work: ClaimedWork) -> RetryAt:
    """Delete what is too old, and look again tomorrow."""
    retention.purge(work.scope, now=work.now)
    return RetryAt(work.now + timedelta(days=1), "")
