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

from healthcloud import http
from healthcloud.events import queries, signing, webhooks
from healthcloud.events.models import Delivery, DeliveryAttempt, Event, Webhook
from healthcloud.events.numbering import number_committed
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


@dataclass(frozen=True, slots=True)
class Request:
    """What one attempt sends, read before the connection is opened."""

    delivery_id: str
    url: str
    headers: dict[str, str]
    body: bytes
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

    Opens its own transactions, and none while it waits for the receiver.
    """
    with tenant_scope(scope):
        request = _prepare(delivery_id, now)
    if request is None:
        return None
    answer = _send(request)
    with tenant_scope(scope):
        return _settle(request, answer, now)


def _prepare(delivery_id: str, now: datetime) -> Request | None:
    scope = active_scope()
    rows = Delivery.objects.select_related("webhook", "event")
    delivery = rows.filter(id=delivery_id, status=Delivery.Status.PENDING).first()
    if delivery is None or delivery.webhook.status != Webhook.Status.ACTIVE:
        return None
    webhook, event = delivery.webhook, delivery.event
    if event.sequence is None:
        number_committed()
        event.refresh_from_db(fields=["sequence"])
    body = _body(event, scope)
    secrets = [open_sealed(scope, webhook.secret)]
    expires_at = webhook.previous_secret_expires_at
    if webhook.previous_secret is not None and expires_at is not None and expires_at > now:
        secrets.append(open_sealed(scope, webhook.previous_secret))
    return Request(
        delivery_id=delivery.id,
        url=webhook.url,
        headers={
            "content-type": "application/json",
            **signing.headers(secrets, message_id=event.event_id, at=now, body=body),
        },
        body=body,
        allow_loopback=webhooks.loopback_allowed(scope),
        started_at=now,
    )


def _body(event: Event, scope: Scope) -> bytes:
    """Return the event with the two members that Standard Webhooks adds: timestamp and data."""
    document = queries.as_dict(event, scope)
    return orjson.dumps({**document, "timestamp": document["created_at"], "data": event.payload})


def _send(request: Request) -> Answer:
    client = http.OutboundClient(
        allow_loopback=request.allow_loopback,
        timeout=TIMEOUT_SECONDS,
        max_response_bytes=EXCERPT_BYTES,
        truncate_response=True,
        retries=0,
        user_agent="HealthCloud-Webhooks/1.0",
    )
    started = time.monotonic()
    try:
        response = client.request(
            "POST", request.url, headers=request.headers, content=request.body, route="/…"
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
    if answer.delivered:
        _mark_delivered(delivery, webhook, request.started_at)
        return None
    webhook.consecutive_failures += 1
    webhook.save(update_fields=["consecutive_failures"])
    due_at = _schedule_next(delivery, answer, now)
    if answer.status_code == 410:
        webhooks.stop(webhook, status=Webhook.Status.DISABLED, reason="gone", now=now)
        return None
    if (
        webhook.status == Webhook.Status.ACTIVE
        and webhook.consecutive_failures >= PAUSE_AFTER_FAILURES
    ):
        webhooks.stop(webhook, status=Webhook.Status.PAUSED, reason="failures", now=now)
        return None
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


def _schedule_next(delivery: Delivery, answer: Answer, now: datetime) -> datetime | None:
    step = delivery.schedule_step
    if step >= len(RETRY_SECONDS):
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
