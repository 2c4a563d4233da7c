"""Notifications over a rest-hook, as a channel of the platform's webhook engine.

R4 itself: a POST without a body, or with `channel.payload` the resource as an update,
`PUT [endpoint]/[type]/[id]` (https://hl7.org/fhir/R4/subscription.html#rest-hook). The backport:
a Bundle, posted to the endpoint.
"""

from datetime import datetime
from typing import Final

from fhir.subscriptions import lifecycle, registry, subscribers
from fhir.subscriptions.headers import open_headers
from fhir.subscriptions.notifications import notification_bundle
from fhir.subscriptions.registry import Subscription
from healthcloud.events.channels import Message
from healthcloud.events.models import Delivery, Webhook
from healthcloud.tenancy.scope import active_project

HANDSHAKES: Final = 2  # attempts before the Subscription is in error
_JSON: Final = "application/fhir+json"


class SubscriptionChannel:
    """Composes notifications when they are due, and keeps the Subscription's status."""

    def compose(self, delivery: Delivery, *, now: datetime) -> Message | None:
        """Return the request that carries a handshake, a heartbeat or a range of numbers."""
        subscription = _subscription(delivery.webhook)
        if subscription is None or subscription.status not in {"requested", "active"}:
            return None
        for told in subscribers.ended([subscription], now=now).values():
            name = subscription.id
            lifecycle.fail(_project(), name, reason=subscribers.CODE, error=told, now=now)
            return None
        if delivery.content in {lifecycle.HANDSHAKE, lifecycle.HEARTBEAT}:
            kind = "handshake" if delivery.content == lifecycle.HANDSHAKE else "heartbeat"
            return _bundle(subscription, notification_bundle(subscription, kind, now=now))  # type: ignore[arg-type]  # one of the two literals
        first, last = (int(number) for number in delivery.content.split("-"))
        events = registry.notifications(subscription, first, last)
        if not events:
            return None  # forgotten after ninety days
        if subscription.definition.is_backport:
            content = notification_bundle(subscription, "event-notification", events, now=now)
            return _bundle(subscription, content)
        return _resource(subscription, events[0])

    def delivered(self, delivery: Delivery, *, now: datetime) -> None:
        """Activate the Subscription whose handshake was answered."""
        if delivery.content == lifecycle.HANDSHAKE:
            lifecycle.activate(_project(), _id(delivery.webhook), now=now)

    def refused(self, delivery: Delivery, *, reason: str, now: datetime) -> bool:
        """Give a handshake up after its second attempt; all else follows the schedule."""
        if delivery.content != lifecycle.HANDSHAKE or delivery.attempt_count < HANDSHAKES:
            return True
        lifecycle.fail(_project(), _id(delivery.webhook), reason=reason, now=now)
        return False

    def stopped(self, webhook: Webhook, *, reason: str, now: datetime) -> None:
        """Put the Subscription in error; requested again, it goes on with what is pending."""
        lifecycle.fail(_project(), _id(webhook), reason=reason, now=now)


def _project() -> int:
    _, project = active_project()
    return project


def _id(webhook: Webhook) -> str:
    return webhook.subject.partition("/")[2]


def _subscription(webhook: Webhook) -> Subscription | None:
    return registry.find(_project(), _id(webhook))


def _bundle(subscription: Subscription, content: bytes) -> Message:
    return _message(subscription, subscription.definition.endpoint, content)


def _resource(subscription: Subscription, event: registry.Notification) -> Message:
    endpoint = subscription.definition.endpoint
    if not subscription.definition.payload or event.content is None:
        return _message(subscription, endpoint, b"")
    address = f"{endpoint.rstrip('/')}/{event.reference}"
    return _message(subscription, address, event.content, method="PUT")


def _message(subscription: Subscription, url: str, body: bytes, *, method: str = "POST") -> Message:
    definition = subscription.definition
    return Message(
        url=url,
        body=body,
        content_type=(definition.payload or _JSON) if body else "",
        method=method,
        headers=open_headers(
            definition.header_pairs(), rid=subscription.id, endpoint=definition.endpoint
        ),
        timeout=float(definition.timeout) or None,
    )
