"""Django's entry for Studio."""

from django.apps import AppConfig


class StudioConfig(AppConfig):
    """Templates, static files and views; nothing is stored here."""

    name = "studio"
    verbose_name = "Studio"
