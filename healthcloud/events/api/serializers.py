"""Bodies of the webhook routes, and the JSON forms of webhooks and deliveries."""

import re
from datetime import datetime

from rest_framework import serializers

from healthcloud.events import queries
from healthcloud.events.models import Delivery, DeliveryAttempt, Webhook
from healthcloud.tenancy.scope import Scope

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,40}")


class WebhookBody(serializers.Serializer[object]):
    """What a webhook is created from."""

    url = serializers.CharField(max_length=2000)
    types = serializers.ListField(
        child=serializers.CharField(max_length=80), max_length=50, required=False
    )
    description = serializers.CharField(max_length=500, allow_blank=True, required=False)
    metadata = serializers.DictField(
        child=serializers.CharField(max_length=500, allow_blank=True), required=False
    )

    ordered = serializers.BooleanField(required=False)

    def validate_metadata(self, value: dict[str, str]) -> dict[str, str]:
        """Refuse more than 50 pairs."""
        if len(value) > 50 or not all(_NAME.fullmatch(name) for name in value):
            raise serializers.ValidationError(
                "At most 50 pairs; names of 1 to 40 printable characters."
            )
        return value


class WebhookChanges(WebhookBody):
    """What of a webhook may change."""

    status = serializers.ChoiceField(
        choices=[Webhook.Status.ACTIVE, Webhook.Status.DISABLED], required=False
    )


class RecoverBody(serializers.Serializer[object]):
    """From when on failed deliveries are sent again."""

    since = serializers.DateTimeField()


def timestamp(value: datetime | None) -> str | None:
    """Return a time in the platform's one form."""
    return None if value is None else value.isoformat().replace("+00:00", "Z")


def webhook_as_dict(webhook: Webhook, scope: Scope) -> dict[str, object]:
    """Return the JSON form of a webhook, without its secret."""
    return {
        "id": webhook.id,
        "object": "webhook",
        "url": webhook.url,
        "types": webhook.types,
        "ordered": webhook.ordered,
        "purpose": webhook.purpose,
        "subject": webhook.subject or None,
        "description": webhook.description,
        "status": webhook.status,
        "status_reason": webhook.status_reason or None,
        "consecutive_failures": webhook.consecutive_failures,
        "previous_secret_expires_at": timestamp(webhook.previous_secret_expires_at),
        "metadata": webhook.metadata,
        "created_at": timestamp(webhook.created_at),
        "updated_at": timestamp(webhook.updated_at),
        "organization_id": scope.organization_id,
        "project_id": webhook.project_id or None,
        "environment": scope.environment,
    }


def delivery_as_dict(delivery: Delivery, scope: Scope) -> dict[str, object]:
    """Return the JSON form of a delivery, with its event and its attempts if they were loaded."""
    attempts = sorted(delivery.attempts.all(), key=lambda attempt: attempt.number)
    return {
        "id": delivery.id,
        "object": "webhook_delivery",
        "webhook_id": delivery.webhook_id,
        "event": queries.as_dict(delivery.event, scope) if delivery.event else None,
        "content": delivery.content or None,
        "status": delivery.status,
        "attempt_count": delivery.attempt_count,
        "next_attempt_at": timestamp(delivery.next_attempt_at),
        "last_status_code": delivery.last_status_code,
        "last_error": delivery.last_error or None,
        "delivered_at": timestamp(delivery.delivered_at),
        "created_at": timestamp(delivery.created_at),
        "attempts": [_attempt_as_dict(attempt) for attempt in attempts],
        "organization_id": scope.organization_id,
        "project_id": delivery.project_id or None,
        "environment": scope.environment,
    }


def _attempt_as_dict(attempt: DeliveryAttempt) -> dict[str, object]:
    return {
        "number": attempt.number,
        "started_at": timestamp(attempt.started_at),
        "duration_ms": attempt.duration_ms,
        "status_code": attempt.status_code,
        "error": attempt.error or None,
        "response_excerpt": attempt.response_excerpt,
    }
