"""`/v1/webhooks`: where events are sent, and what became of each delivery."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, cast

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.api.pagination import PAGE, paginate
from healthcloud.api.views import NO_METHODS, PlatformView
from healthcloud.errors import BadRequest
from healthcloud.events import webhooks
from healthcloud.events.api.serializers import (
    RecoverBody,
    WebhookBody,
    WebhookChanges,
    delivery_as_dict,
    webhook_as_dict,
)
from healthcloud.events.models import Delivery, Webhook

_SCOPE: Final = "webhooks:write"
_STATUS: Final = OpenApiParameter("status", str, enum=Delivery.Status.values)


class WebhookListView(PlatformView):
    """The webhooks of a project; without a project, of the whole organization."""

    required_scopes = {"GET": _SCOPE, "POST": _SCOPE}
    project_required = NO_METHODS

    @extend_schema(parameters=PAGE)
    def get(self, request: Request) -> Response:
        """List webhooks, newest first."""
        return Response(paginate(Webhook.objects.all(), request, serialize=self._serialize))

    @extend_schema(request=WebhookBody, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: Request) -> Response:
        """Create a webhook; the answer is the only one that holds its `secret`."""
        body = self.validated(WebhookBody)
        webhook, secret = webhooks.create_webhook(
            url=str(body["url"]),
            types=cast("Sequence[str]", body.get("types", [])),
            description=str(body.get("description", "")),
            metadata=cast("Mapping[str, str]", body.get("metadata", {})),
            ordered=bool(body.get("ordered", False)),
            actor=self.actor,
            now=self.now,
        )
        return Response({**self._serialize(webhook), "secret": secret}, status=201)

    def _serialize(self, webhook: Webhook) -> dict[str, object]:
        return webhook_as_dict(webhook, self.scope)


class WebhookView(PlatformView):
    """One webhook."""

    required_scopes = {"GET": _SCOPE, "PATCH": _SCOPE, "DELETE": _SCOPE}
    project_required = NO_METHODS

    def get(self, request: Request, webhook_id: str) -> Response:
        """Return a webhook."""
        return Response(webhook_as_dict(webhooks.find_webhook(webhook_id), self.scope))

    @extend_schema(request=WebhookChanges)
    def patch(self, request: Request, webhook_id: str) -> Response:
        """Change a webhook; `{"status": "active"}` resumes a paused one."""
        webhook = webhooks.update_webhook(
            webhook_id=webhook_id,
            changes=self.validated(WebhookChanges, partial=True),
            actor=self.actor,
            now=self.now,
        )
        return Response(webhook_as_dict(webhook, self.scope))

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def delete(self, request: Request, webhook_id: str) -> Response:
        """Delete a webhook and its deliveries."""
        webhooks.delete_webhook(webhook_id=webhook_id, actor=self.actor, now=self.now)
        return Response({"id": webhook_id, "object": "webhook", "deleted": True})


class WebhookSecretView(PlatformView):
    """Rotation of the signing secret."""

    required_scopes = {"POST": _SCOPE}
    project_required = NO_METHODS

    @extend_schema(request=None)
    def post(self, request: Request, webhook_id: str) -> Response:
        """Make a new secret, answered once; for 24 hours both sign."""
        webhook, secret = webhooks.rotate_secret(
            webhook_id=webhook_id, actor=self.actor, now=self.now
        )
        return Response({**webhook_as_dict(webhook, self.scope), "secret": secret})


class DeliveryAnswer(PlatformView):
    """Routes of webhooks that answer with a delivery."""

    project_required = NO_METHODS

    def answer(self, delivery: Delivery, *, status: int = 200) -> Response:
        """Return the delivery's JSON form."""
        return Response(delivery_as_dict(delivery, self.scope), status=status)


class WebhookTestView(DeliveryAnswer):
    """Test events."""

    required_scopes = {"POST": _SCOPE}

    @extend_schema(request=None, responses={202: OpenApiTypes.OBJECT})
    def post(self, request: Request, webhook_id: str) -> Response:
        """Send a `webhook.test` event to this webhook."""
        delivery = webhooks.send_test(webhook_id=webhook_id, actor=self.actor, now=self.now)
        return self.answer(delivery, status=202)


class DeliveryListView(PlatformView):
    """What was sent to a webhook."""

    required_scopes = {"GET": _SCOPE}

    @extend_schema(parameters=[_STATUS, *PAGE])
    def get(self, request: Request, webhook_id: str) -> Response:
        """List deliveries with their attempts, newest first; `status` filters."""
        rows = _deliveries(webhook_id)
        status = request.query_params.get("status")
        if status is not None:
            if status not in Delivery.Status.values:
                names = ", ".join(Delivery.Status.values)
                raise BadRequest(f"`status` is one of {names}.", param="status")
            rows = rows.filter(status=status)
        return Response(paginate(rows, request, serialize=self._serialize))

    def _serialize(self, delivery: Delivery) -> dict[str, object]:
        return delivery_as_dict(delivery, self.scope)


class DeliveryView(DeliveryAnswer):
    """One delivery."""

    required_scopes = {"GET": _SCOPE}

    def get(self, request: Request, webhook_id: str, delivery_id: str) -> Response:
        """Return a delivery with its attempts."""
        delivery = _deliveries(webhook_id).filter(id=delivery_id).first()
        if delivery is None:
            raise webhooks.DeliveryNotFound(delivery_id)
        return self.answer(delivery)


class RedeliverView(DeliveryAnswer):
    """Sending one event again."""

    required_scopes = {"POST": _SCOPE}

    @extend_schema(request=None, responses={202: OpenApiTypes.OBJECT})
    def post(self, request: Request, webhook_id: str, delivery_id: str) -> Response:
        """Send the event of a delivery again, with the same `webhook-id`."""
        delivery = webhooks.redeliver(
            webhook_id=webhook_id, delivery_id=delivery_id, actor=self.actor, now=self.now
        )
        return self.answer(delivery, status=202)


class RecoverView(PlatformView):
    """Sending again what failed."""

    required_scopes = {"POST": _SCOPE}
    project_required = NO_METHODS

    @extend_schema(request=RecoverBody, responses={202: OpenApiTypes.OBJECT})
    def post(self, request: Request, webhook_id: str) -> Response:
        """Send again all failed deliveries since a time."""
        since = cast(datetime, self.validated(RecoverBody)["since"])
        restarted = webhooks.recover(
            webhook_id=webhook_id, since=since, actor=self.actor, now=self.now
        )
        return Response({"object": "webhook_recovery", "restarted": restarted}, status=202)


def _deliveries(webhook_id: str) -> QuerySet[Delivery]:
    rows = webhooks.find_webhook(webhook_id).deliveries.select_related("event")
    return rows.prefetch_related("attempts")
