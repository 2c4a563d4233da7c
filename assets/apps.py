"""What can be installed, and where it runs."""

from importlib import import_module

from django.apps import AppConfig


class AssetsConfig(AppConfig):
    """What can be installed, and where it runs."""

    name = "assets"
    label = "assets"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the handlers of due work."""
        import_module("assets.tasks")
