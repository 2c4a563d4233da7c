"""The organizations room as a Django app."""

from django.apps import AppConfig


class OrganizationsConfig(AppConfig):
    """Organizations, environments, projects, people and keys: all in the public schema."""

    name = "healthcloud.organizations"
    label = "organizations"
    default_auto_field = "django.db.models.BigAutoField"
