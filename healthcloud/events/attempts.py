"""One attempt after another: each delivery is made over HTTP by the schedule and written down.

Schedule of Standard Webhooks: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h,
24 h, each up to a tenth longer. Only 2xx is success; redirects are failures.
"""

import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import orjson
from django.conf import settings

from healthcloud import http
from healthcloud.events import channels, deliveries, queries, signing, webhooks
from healthcloud.events.channels import Message
from healthcloud.events.models import Delivery, DeliveryAttempt, Event, Webhook
from healthcloud.events.numbering import number_committed
from healthcloud.events.turns import Turns
from healthcloud.secrets import open_sealed
from healthcloud.tenancy.scope import Scope, active_scope, tenant_scope

TIMEOUT_SECONDS: Final = 15.0
EXCERPT_BYTES: Final = 1024
PAUSE_AFTER_FAILURES: Final = 10
_MINUTE, _HOUR = 60, 3600
RETRY_SECONDS: Final = (
    5,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
_turns = Turns(settings.WEBHOOK_THREADS)


@dataclass(frozen=True, slots=True)
class Request:
    """What one attempt sends, read before the connection is opened."""

    delivery_id: str
    webhook_id: str
    message: Message
    headers: dict[str, str]
    allow_loopback: bool
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, or the name of what went wrong."""

    status_code: int | None
    error: str
    duration_ms: int
    excerpt: str
    retry_after: float | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver took the event."""
        return self.status_code is not None and 200 <= self.status_code < 300


def attempt(delivery_id: str, scope: Scope, *, now: datetime) -> datetime | None:
    """Make one attempt and write it down; return when the next is due, None when none is.

    Opens its own transactions, and none while it waits for the receiver. A receiver that is
    busy with requests of this process is left alone for a while.
    """
    with tenant_scope(scope):
        request = _prepare(delivery_id, now)
    if request is None:
        return None
    wait = _turns.take(request.webhook_id)
    if wait:
        return now + timedelta(seconds=wait)
    began = time.monotonic()
    try:
        answer = _send(request)
    finally:
        _turns.give_back(request.webhook_id, time.monotonic() - began)
    with tenant_scope(scope):
        return _settle(request, answer, now)


def _prepare(delivery_id: str, now: datetime) -> Request | None:
    scope = active_scope()
    rows = Delivery.objects.select_related("webhook", "event")
    delivery = rows.filter(id=delivery_id, status=Delivery.Status.PENDING).first()
    if delivery is None or delivery.webhook.status != Webhook.Status.ACTIVE:
        return None
    if delivery.webhook.ordered:
        webhooks.lock_webhook(delivery.webhook_id)  # so that what ends just now asks for us
        if deliveries.waits_for_another(delivery):
            return None
    message = _compose(delivery, now)
    if message is None:
        delivery.status, delivery.next_attempt_at = Delivery.Status.FAILED, None
        delivery.last_error = "nothing_to_send"
        delivery.save(update_fields=["status", "next_attempt_at", "last_error"])
        return None
    kind = {"content-type": message.content_type} if message.content_type else {}
    return Request(
        delivery_id=delivery.id,
        webhook_id=delivery.webhook_id,
        message=message,
        headers={**message.headers, **kind, **_signature(delivery, message, now)},
        allow_loopback=webhooks.loopback_allowed(scope),
        started_at=now,
    )


def _compose(delivery: Delivery, now: datetime) -> Message | None:
    """Return what a delivery sends: its event, or what its channel makes of its content."""
    event, channel = delivery.event, channels.channel_of(delivery.webhook)
    if event is not None:
        if event.sequence is None:
            number_committed()
            event.refresh_from_db(fields=["sequence"])
        body = _body(event, active_scope())
        return Message(delivery.webhook.url, body, content_type="application/json")
    return channel.compose(delivery, now=now) if channel else None


def _signature(delivery: Delivery, message: Message, now: datetime) -> dict[str, str]:
    webhook, scope = delivery.webhook, active_scope()
    secrets = [open_sealed(scope, webhook.secret)]
    expires_at = webhook.previous_secret_expires_at
    if webhook.previous_secret is not None and expires_at is not None and expires_at > now:
        secrets.append(open_sealed(scope, webhook.previous_secret))
    name = delivery.event.event_id if delivery.event else delivery.id
    return signing.headers(secrets, message_id=name, at=now, body=message.body)


def _body(event: Event, scope: Scope) -> bytes:
    """Return the event with the two members that Standard Webhooks adds: timestamp and data."""
    document = queries.as_dict(event, scope)
    return orjson.dumps({**document, "timestamp": document["created_at"], "data": event.payload})


def _send(request: Request) -> Answer:
    client = http.OutboundClient(
        allow_loopback=request.allow_loopback,
        timeout=request.message.timeout or TIMEOUT_SECONDS,
        max_response_bytes=EXCERPT_BYTES,
        truncate_response=True,
        retries=0,
        user_agent="HealthCloud-Webhooks/1.0",
    )
    started = time.monotonic()
    try:
        message = request.message
        response = client.request(
            message.method, message.url, headers=request.headers, content=message.body, route="/…"
        )
    except http.OutboundError as failure:
        elapsed_ms = int((time.monotonic() - started) * 1000)
        return Answer(None, type(failure).__name__, elapsed_ms, "")
    error = "" if response.ok else f"status_{response.status}"
    excerpt = response.text.replace("\x00", "")
    return Answer(response.status, error, response.elapsed_ms, excerpt, response.retry_after)


def _settle(request: Request, answer: Answer, now: datetime) -> datetime | None:
    delivery = Delivery.objects.select_for_update().filter(id=request.delivery_id).first()
    if delivery is None:
        return None  # deleted with its webhook while we waited
    webhook = webhooks.lock_webhook(delivery.webhook_id)
    _write_attempt(delivery, request, answer)
    channel = channels.channel_of(webhook)
    if answer.delivered:
        _mark_delivered(delivery, webhook, request.started_at)
        deliveries.ask_for_next(webhook)
        if channel is not None:
            channel.delivered(delivery, now=now)
        return None
    webhook.consecutive_failures += 1
    webhook.save(update_fields=["consecutive_failures"])
    again = channel is None or channel.refused(delivery, reason=answer.error, now=now)
    due_at = _schedule_next(delivery, answer, now, again=again)
    if answer.status_code == 410:
        webhooks.stop(webhook, status=Webhook.Status.DISABLED, reason="gone", now=now)
        return None
    if (
        webhook.status == Webhook.Status.ACTIVE
        and webhook.consecutive_failures >= PAUSE_AFTER_FAILURES
    ):
        webhooks.stop(webhook, status=Webhook.Status.PAUSED, reason="failures", now=now)
        return None
    if due_at is None:
        deliveries.ask_for_next(webhook)
    return due_at


def _write_attempt(delivery: Delivery, request: Request, answer: Answer) -> None:
    delivery.attempt_count += 1
    delivery.last_status_code = answer.status_code
    delivery.last_error = answer.error[:60]
    DeliveryAttempt.objects.create(
        project_id=delivery.project_id,
        delivery=delivery,
        number=delivery.attempt_count,
        started_at=request.started_at,
        duration_ms=answer.duration_ms,
        status_code=answer.status_code,
        error=answer.error[:60],
        response_excerpt=answer.excerpt,
    )


def _mark_delivered(delivery: Delivery, webhook: Webhook, at: datetime) -> None:
    delivery.status = Delivery.Status.DELIVERED
    delivery.delivered_at = at
    delivery.next_attempt_at = None
    delivery.save()
    if webhook.consecutive_failures:
        webhook.consecutive_failures = 0
        webhook.save(update_fields=["consecutive_failures"])


def _schedule_next(
    delivery: Delivery, answer: Answer, now: datetime, *, again: bool
) -> datetime | None:
    step = delivery.schedule_step
    if step >= len(RETRY_SECONDS) or not again:
        delivery.status = Delivery.Status.FAILED
        delivery.next_attempt_at = None
    else:
        seconds = RETRY_SECONDS[step] * random.uniform(1.0, 1.1)  # noqa: S311  jitter
        if answer.retry_after is not None:
            seconds = max(seconds, min(answer.retry_after, RETRY_SECONDS[-1]))
        delivery.schedule_step = step + 1
        delivery.next_attempt_at = now + timedelta(seconds=seconds)
    delivery.save()
    return delivery.next_attempt_at
