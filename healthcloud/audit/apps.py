"""Who did what to whose data: an append-only, hash-chained trail."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Who did what to whose data: an append-only, hash-chained trail."""

    name = "healthcloud.audit"
    label = "audit"
    default_auto_field = "django.db.models.BigAutoField"
