"""One command: embedded servers, supervision, the demonstration."""

from django.apps import AppConfig


class RuntimeConfig(AppConfig):
    """One command: embedded servers, supervision, the demonstration."""

    name = "healthcloud.runtime"
    label = "runtime"
    default_auto_field = "django.db.models.BigAutoField"
