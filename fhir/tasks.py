"""Due work of the clinical store: hand changes over, keep Subscriptions, carry jobs."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from django.utils import timezone

from fhir import consumers, deferred
from fhir.feed import Change
from fhir.jobs import service as jobs
from fhir.subscriptions import lifecycle, registry, taking
from fhir.subscriptions.delivery import SubscriptionChannel
from healthcloud.events import channels, deliveries
from healthcloud.events.models import Webhook
from healthcloud.ledger import claims
from healthcloud.ledger.handlers import ClaimedWork, Done, Outcome, RetryAt, register
from healthcloud.tenancy.scope import active_project, tenant_scope

DEFERRED: Final = deferred.KIND  # imported so that workers know this kind of job
_MANY: Final = 100
NOTIFICATIONS_KEPT: Final = timedelta(days=90)

channels.register(lifecycle.PURPOSE, SubscriptionChannel())


@register(consumers.DISPATCH_KIND, "control", max_attempts=_MANY)
def dispatch_changes(work: ClaimedWork) -> Done | RetryAt:
    """Hand the tenant's new changes over; the sweep looks again while anybody waits."""
    claims.absorb(work)
    is_awaited = consumers.dispatch(work.scope)
    if work.ref != consumers.SWEEP or not is_awaited:
        return Done()
    consumers.purge(work.scope)
    with tenant_scope(work.scope):
        registry.purge(work.now - NOTIFICATIONS_KEPT)
    return RetryAt(work.now + consumers.SWEEP_EVERY)


@register(jobs.JOB_KIND, "bulk", on_dead=jobs.give_up)
def carry_job(work: ClaimedWork) -> Outcome:
    """Carry an export, an import or another job to its end."""
    return jobs.carry(work)


@register(jobs.EXPIRY_KIND, "control")
def expire_job(work: ClaimedWork) -> Outcome:
    """Forget a job and its output when their time is over."""
    return jobs.expire(work)


@consumers.register(lifecycle.CONSUMER)
def notify_subscriptions(ref: str, changes: Sequence[Change]) -> None:
    """Number and send what meets the criteria of active Subscriptions."""
    taking.take(changes, now=timezone.now())


@register(lifecycle.ACTIVATE_KIND, "control")
def activate_subscription(work: ClaimedWork) -> Done:
    """Make a Subscription active that needs no handshake."""
    with tenant_scope(work.scope):
        _, project = active_project()
        lifecycle.activate(project, work.ref, now=work.now)
    return Done()


@register(lifecycle.WATCH_KIND, "control", max_attempts=_MANY)
def watch_subscription(work: ClaimedWork) -> Done | RetryAt:
    """Send the heartbeat that is due, or end what has come to its end."""
    with tenant_scope(work.scope):
        _, project = active_project()
        subscription = registry.lock(project, work.ref)
        if subscription is None or subscription.status != "active":
            return Done()
        ends_at = subscription.definition.ends_at
        if ends_at is not None and ends_at <= work.now:
            lifecycle.expire(subscription, now=work.now)
            return Done()
        due_at = lifecycle.next_look(subscription, now=work.now)
        if due_at is not None and due_at <= work.now:
            _beat(subscription, work)
            subscription = registry.find(project, work.ref) or subscription
            due_at = lifecycle.next_look(subscription, now=work.now)
        return Done() if due_at is None else RetryAt(due_at)


def _beat(subscription: registry.Subscription, work: ClaimedWork) -> None:
    """Say that all is well; an open websocket says so by itself."""
    registry.touch(subscription.project, subscription.id, now=work.now)
    webhook = Webhook.objects.filter(
        purpose=lifecycle.PURPOSE, subject=subscription.reference
    ).first()
    if webhook is not None:
        deliveries.create_content(webhook, [lifecycle.HEARTBEAT], now=work.now)
