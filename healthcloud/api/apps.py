"""The REST kit as a Django app; its one table, for idempotency, stands in each tenant."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """Views, errors, pagination, idempotency, rate limits and OpenAPI."""

    name = "healthcloud.api"
    label = "api"
    default_auto_field = "django.db.models.BigAutoField"
