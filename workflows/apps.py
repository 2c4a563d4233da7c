"""Steps, run durably."""

from django.apps import AppConfig


class WorkflowsConfig(AppConfig):
    """Steps, run durably."""

    name = "workflows"
    label = "workflows"
    default_auto_field = "django.db.models.BigAutoField"
