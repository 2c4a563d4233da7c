"""Tell what of the platform runs on this machine."""

from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from healthcloud.runtime import local


class Command(BaseCommand):
    """List processes and addresses; exit with 1 when it isn't running."""

    help = "Tell what of the platform runs on this machine."
    requires_system_checks = ()
    requires_migrations_checks = False

    def handle(self, *args: object, **options: object) -> None:
        """Print a line a process."""
        home = Path(settings.HOME).resolve()
        pid = local.supervisor_pid(home)
        if pid is None:
            raise CommandError("HealthCloud is not running: start it with `manage.py up`.")
        state = local.read_state(home)
        self.stdout.write(f"supervisor  {pid}  {'ready' if state.get('ready') else 'starting'}")
        for role, pids in state.get("pids", {}).items():
            alive = [str(number) for number in pids if local.is_alive(number)]
            self.stdout.write(f"{role:<11} {' '.join(alive) or 'not running'}")
        self.stdout.write(f"Studio      {state.get('studio_url')}")
