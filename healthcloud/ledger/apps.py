"""The ledger as a Django app; loads the handlers that the other apps keep in `tasks.py`."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class LedgerConfig(AppConfig):
    """Due work in the public schema, claimed with a lease and a fencing token."""

    name = "healthcloud.ledger"
    label = "ledger"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import `<app>/tasks.py` of each app, where handlers of due work register themselves.

        The Celery application becomes the default one of all threads: a doorbell rung in a web
        thread would otherwise look for a broker of Celery's own defaults.
        """
        import_module("healthcloud.celery").app.set_default()
        autodiscover_modules("tasks")
