"""What can be installed, and where it runs."""

from django.apps import AppConfig


class AssetsConfig(AppConfig):
    """What can be installed, and where it runs."""

    name = "assets"
    label = "assets"
    default_auto_field = "django.db.models.BigAutoField"
