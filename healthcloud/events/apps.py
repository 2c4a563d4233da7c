"""What happened: typed events, the live stream and webhooks."""

from django.apps import AppConfig


class EventsConfig(AppConfig):
    """What happened: typed events, the live stream and webhooks."""

    name = "healthcloud.events"
    label = "events"
    default_auto_field = "django.db.models.BigAutoField"
