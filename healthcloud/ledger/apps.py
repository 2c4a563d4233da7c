"""The ledger as a Django app; loads the handlers that the other apps keep in `tasks.py`."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class LedgerConfig(AppConfig):
    """Due work in the public schema, claimed with a lease and a fencing token."""

    name = "healthcloud.ledger"
    label = "ledger"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import `<app>/tasks.py` of each app, where handlers of due work register themselves."""
        autodiscover_modules("tasks")
