"""Routes of this room."""

from django.urls import path

from healthcloud.events.admission import StreamView
from healthcloud.events.api import dead_letter_views, views, webhook_views

_LETTER = "dead-letters/<int:letter_id>"
_WEBHOOK = "webhooks/<str:webhook_id>"
_DELIVERY = f"{_WEBHOOK}/deliveries/<str:delivery_id>"

urlpatterns = [
    path("events", views.EventListView.as_view(), name="events"),
    path("events/stream", StreamView.as_view(), name="event-stream"),
    path("events/<str:event_id>", views.EventView.as_view(), name="event"),
    path("event-types", views.EventTypeListView.as_view(), name="event-types"),
    path("stream-tickets", views.StreamTicketView.as_view(), name="stream-tickets"),
    path("dead-letters", dead_letter_views.DeadLetterListView.as_view(), name="dead-letters"),
    path(_LETTER, dead_letter_views.DeadLetterView.as_view(), name="dead-letter"),
    path(f"{_LETTER}/replay", dead_letter_views.ReplayView.as_view(), name="dead-letter-replay"),
    path("webhooks", webhook_views.WebhookListView.as_view(), name="webhooks"),
    path(_WEBHOOK, webhook_views.WebhookView.as_view(), name="webhook"),
    path(f"{_WEBHOOK}/test", webhook_views.WebhookTestView.as_view(), name="webhook-test"),
    path(
        f"{_WEBHOOK}/rotate-secret",
        webhook_views.WebhookSecretView.as_view(),
        name="webhook-rotate-secret",
    ),
    path(f"{_WEBHOOK}/recover", webhook_views.RecoverView.as_view(), name="webhook-recover"),
    path(
        f"{_WEBHOOK}/deliveries",
        webhook_views.DeliveryListView.as_view(),
        name="webhook-deliveries",
    ),
    path(_DELIVERY, webhook_views.DeliveryView.as_view(), name="webhook-delivery"),
    path(
        f"{_DELIVERY}/redeliver",
        webhook_views.RedeliverView.as_view(),
        name="webhook-redeliver",
    ),
]
