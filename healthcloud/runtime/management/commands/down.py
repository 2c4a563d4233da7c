"""Stop the platform that `manage.py up` started."""

from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from healthcloud.runtime import local


class Command(BaseCommand):
    """Stop everything cleanly; say so when nothing runs."""

    help = "Stop what `manage.py up` started."
    requires_system_checks = ()
    requires_migrations_checks = False

    def handle(self, *args: object, **options: object) -> None:
        """Ask the supervisor to stop and wait for it."""
        try:
            stopped = local.stop_supervisor(Path(settings.HOME).resolve())
        except local.StillRunning as error:
            raise CommandError(str(error)) from error
        self.stdout.write("HealthCloud has stopped." if stopped else "HealthCloud is not running.")
