"""Workflows as a Django app; takes the definitions that assets bring."""

from django.apps import AppConfig


class WorkflowsConfig(AppConfig):
    """Steps, run durably."""

    name = "workflows"
    label = "workflows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register what happens when an asset that brings workflows is installed."""
        from assets.hooks import on_installed
        from workflows.services import install_from_asset

        on_installed(install_from_asset)
