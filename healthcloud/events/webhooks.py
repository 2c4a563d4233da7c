"""The webhooks of a project: create, change, rotate, test, recover. All inside `tenant_scope`."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings

from healthcloud import http
from healthcloud.actors import SYSTEM, Actor
from healthcloud.audit import services as audit
from healthcloud.errors import Conflict, NotFound, ValidationFailed
from healthcloud.events import catalog, channels, deliveries, listeners, signing
from healthcloud.events.models import Delivery, Webhook
from healthcloud.events.services import publish
from healthcloud.secrets import seal
from healthcloud.tenancy.batch import send_now
from healthcloud.tenancy.scope import Scope, active_scope

LISTENER: Final = "webhook"
ROTATION_OVERLAP: Final = timedelta(hours=24)
MAX_WEBHOOKS: Final = 50


class WebhookNotFound(NotFound):
    """No webhook of that id in this project."""

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"There is no webhook `{webhook_id}` here.")


class DeliveryNotFound(NotFound):
    """No delivery of that id to this webhook."""

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"There is no delivery `{delivery_id}` to this webhook.")


class WebhookUrlRefused(ValidationFailed):
    """The URL can never be called, or leads into a private network."""


class TooManyWebhooks(Conflict):
    """The project has as many webhooks as it may have."""


class WebhookNotActive(Conflict):
    """The webhook is paused or disabled."""


class WebhookOwned(Conflict):
    """The webhook belongs to a resource and is changed with it."""

    def __init__(self, webhook: Webhook) -> None:
        super().__init__(
            f"Webhook `{webhook.id}` belongs to {webhook.subject}; change that resource instead."
        )


def loopback_allowed(scope: Scope) -> bool:
    """Say whether receivers on this machine may be called: in a sandbox, if settings allow it."""
    return scope.environment == "sandbox" and settings.ALLOW_LOOPBACK_WEBHOOKS


def create_webhook(
    *,
    url: str,
    types: Sequence[str],
    description: str,
    metadata: Mapping[str, str],
    actor: Actor,
    now: datetime,
    ordered: bool = False,
) -> tuple[Webhook, str]:
    """Create a webhook that gets the events from now on; return it and its secret, once.

    An `ordered` one gets each event only after the one before is delivered or given up.
    Raises WebhookUrlRefused, TooManyWebhooks, ValidationFailed for a type that doesn't exist.
    """
    scope = active_scope()
    check_url(url, scope)
    if Webhook.objects.filter(purpose="events").count() >= MAX_WEBHOOKS:
        raise TooManyWebhooks(f"A project has at most {MAX_WEBHOOKS} webhooks. Delete one first.")
    secret = signing.new_secret()
    webhook = Webhook.objects.create(
        project_id=scope.project_id or "",
        url=url,
        types=[catalog.check_pattern(pattern) for pattern in types] or ["*"],
        description=description,
        metadata=dict(metadata),
        ordered=ordered,
        secret=seal(scope, secret),
        created_at=now,
        updated_at=now,
    )
    listeners.attach(LISTENER, webhook.id)
    _audit(webhook, "webhook.create", actor, now)
    return webhook, secret


def update_webhook(
    *, webhook_id: str, changes: Mapping[str, object], actor: Actor, now: datetime
) -> Webhook:
    """Change url, types, description, metadata, ordered or status (`active`, `disabled`).

    Activating a paused webhook also sends what it missed; a disabled one begins anew.
    """
    webhook = _lock_own(webhook_id)
    if "url" in changes:
        check_url(str(changes["url"]), active_scope())
    if "types" in changes:
        for pattern in changes["types"]:  # type: ignore[attr-defined]  # a list, by the serializer
            catalog.check_pattern(pattern)
    for field in ("url", "types", "description", "metadata", "ordered"):
        if field in changes:
            setattr(webhook, field, changes[field])
    if "status" in changes:
        _change_status(webhook, str(changes["status"]), now)
    webhook.updated_at = now
    webhook.save()
    if changes.get("ordered") is False:
        deliveries.ask_for_pending(webhook)
    _audit(webhook, "webhook.update", actor, now, changed=sorted(changes))
    return webhook


def _change_status(webhook: Webhook, status: str, now: datetime) -> None:
    if status == webhook.status:
        return
    webhook.status = status
    webhook.consecutive_failures = 0
    if status == Webhook.Status.ACTIVE:
        webhook.status_reason = ""
        listeners.attach(LISTENER, webhook.id)
        deliveries.resume(webhook, now=now)
    else:
        webhook.status_reason = "owner"
        listeners.detach(LISTENER, webhook.id)


def delete_webhook(*, webhook_id: str, actor: Actor, now: datetime) -> None:
    """Delete a webhook with its deliveries; raise WebhookNotFound."""
    webhook = _lock_own(webhook_id)
    listeners.detach(LISTENER, webhook.id)
    _audit(webhook, "webhook.delete", actor, now)
    webhook.delete()


def open_channel(*, purpose: str, subject: str, url: str, actor: Actor, now: datetime) -> Webhook:
    """Return the webhook through which a resource's messages go, made or changed to the URL.

    It takes no events; what was pending goes on. Raises WebhookUrlRefused.
    """
    scope = active_scope()
    check_url(url, scope)
    webhook, created = Webhook.objects.select_for_update().get_or_create(
        project_id=scope.project_id or "",
        purpose=purpose,
        subject=subject,
        defaults={
            "url": url,
            "types": [],
            "secret": seal(scope, signing.new_secret()),
            "created_at": now,
            "updated_at": now,
        },
    )
    if not created:
        webhook.url, webhook.updated_at = url, now
        webhook.status, webhook.status_reason = Webhook.Status.ACTIVE, ""
        webhook.consecutive_failures = 0
        webhook.save()
        deliveries.resume(webhook, now=now)
    _audit(webhook, "webhook.create" if created else "webhook.update", actor, now)
    return webhook


def close_channel(*, purpose: str, subject: str, delete: bool, now: datetime) -> None:
    """Stop sending a resource's messages; with `delete` forget them and their log."""
    rows = Webhook.objects.filter(purpose=purpose, subject=subject)
    if delete:
        rows.delete()
    else:
        rows.update(status=Webhook.Status.DISABLED, status_reason="owner", updated_at=now)


def _lock_own(webhook_id: str) -> Webhook:
    """Return a locked webhook that its owner may change here; raise WebhookOwned."""
    webhook = lock_webhook(webhook_id)
    if channels.channel_of(webhook) is not None:
        raise WebhookOwned(webhook)
    return webhook


def rotate_secret(*, webhook_id: str, actor: Actor, now: datetime) -> tuple[Webhook, str]:
    """Give the webhook a new secret, returned once; the old one signs too for 24 hours."""
    webhook = lock_webhook(webhook_id)
    secret = signing.new_secret()
    webhook.previous_secret = webhook.secret
    webhook.previous_secret_expires_at = now + ROTATION_OVERLAP
    webhook.secret = seal(active_scope(), secret)
    webhook.updated_at = now
    webhook.save()
    _audit(webhook, "webhook.rotate_secret", actor, now)
    return webhook, secret


def send_test(*, webhook_id: str, actor: Actor, now: datetime) -> Delivery:
    """Send a `webhook.test` event to this webhook alone; raise WebhookNotActive if it's paused."""
    webhook = require_active(_lock_own(webhook_id))
    event = publish(
        type="webhook.test",
        payload={"webhook_id": webhook.id},
        actor=actor,
        now=now,
        project_id=webhook.project_id or None,
    )
    send_now()  # the delivery refers to the event's row
    return deliveries.create(webhook, [event], now=now)[0]


def redeliver(*, webhook_id: str, delivery_id: str, actor: Actor, now: datetime) -> Delivery:
    """Send one event again, with the same id; raise DeliveryNotFound or WebhookNotActive."""
    webhook = require_active(lock_webhook(webhook_id))
    delivery = webhook.deliveries.select_for_update().filter(id=delivery_id).first()
    if delivery is None:
        raise DeliveryNotFound(delivery_id)
    deliveries.restart(webhook, [delivery], now=now)
    _audit(webhook, "webhook.redeliver", actor, now, delivery_id=delivery.id)
    return delivery


def recover(*, webhook_id: str, since: datetime, actor: Actor, now: datetime) -> int:
    """Send again what failed since a time; return how many deliveries were restarted."""
    webhook = require_active(lock_webhook(webhook_id))
    failed = webhook.deliveries.select_for_update().filter(
        status=Delivery.Status.FAILED, created_at__gte=since
    )
    rows = list(failed.order_by("created_at")[:1000])
    deliveries.restart(webhook, rows, now=now)
    _audit(webhook, "webhook.recover", actor, now, deliveries=len(rows))
    return len(rows)


def stop(webhook: Webhook, *, status: str, reason: str, now: datetime) -> None:
    """Pause (after failures) or disable (410) a locked webhook, and say so in an event."""
    webhook.status = status
    webhook.status_reason = reason
    webhook.updated_at = now
    webhook.save()
    if status == Webhook.Status.DISABLED:
        listeners.detach(LISTENER, webhook.id)
    _audit(webhook, f"webhook.{status}", SYSTEM, now, reason=reason)
    publish(
        type="webhook.disabled",
        payload={
            "webhook_id": webhook.id,
            "reason": reason,
            "consecutive_failures": webhook.consecutive_failures,
        },
        actor=SYSTEM,
        now=now,
        project_id=webhook.project_id or None,
    )
    channel = channels.channel_of(webhook)
    if channel is not None:
        channel.stopped(webhook, reason=reason, now=now)


def find_webhook(webhook_id: str) -> Webhook:
    """Return a webhook; raise WebhookNotFound."""
    webhook = Webhook.objects.filter(id=webhook_id).first()
    if webhook is None:
        raise WebhookNotFound(webhook_id)
    return webhook


def lock_webhook(webhook_id: str) -> Webhook:
    """Return a webhook that nobody else changes until the transaction ends."""
    webhook = Webhook.objects.select_for_update().filter(id=webhook_id).first()
    if webhook is None:
        raise WebhookNotFound(webhook_id)
    return webhook


def require_active(webhook: Webhook) -> Webhook:
    """Return the webhook if it takes events; raise WebhookNotActive otherwise."""
    if webhook.status != Webhook.Status.ACTIVE:
        raise WebhookNotActive(
            f"The webhook is {webhook.status}. Activate it first with PATCH "
            f'/v1/webhooks/{webhook.id} {{"status": "active"}}.'
        )
    return webhook


def check_url(url: str, scope: Scope) -> None:
    """Refuse a URL that can never be called; raise WebhookUrlRefused."""
    try:
        http.check_url(url, allow_loopback=loopback_allowed(scope))
    except http.OutboundError as error:
        raise WebhookUrlRefused(error.message, param="url") from error


def _audit(webhook: Webhook, action: str, actor: Actor, now: datetime, **details: object) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_type="webhook",
        target_id=webhook.id,
        now=now,
        details=details,
        project_id=webhook.project_id or None,
    )
