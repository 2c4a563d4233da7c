"""The tenancy room as a Django app."""

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    """Schemas, roles and row-level security of tenants."""

    name = "healthcloud.tenancy"
    label = "tenancy"
    default_auto_field = "django.db.models.BigAutoField"
