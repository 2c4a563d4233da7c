"""The server-rendered interface."""

from django.apps import AppConfig


class StudioConfig(AppConfig):
    """The server-rendered interface."""

    name = "studio"
    label = "studio"
    default_auto_field = "django.db.models.BigAutoField"
