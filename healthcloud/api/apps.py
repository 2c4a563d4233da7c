"""The REST kit: views, errors, pagination, idempotency, limits, OpenAPI."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """The REST kit: views, errors, pagination, idempotency, limits, OpenAPI."""

    name = "healthcloud.api"
    label = "api"
    default_auto_field = "django.db.models.BigAutoField"
