"""Run the demonstration against the running platform."""

import logging
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from healthcloud.actors import SYSTEM
from healthcloud.organizations.services import reset_sandbox
from healthcloud.runtime import local
from healthcloud.runtime.demo import (
    Access,
    Demonstration,
    DemonstrationFailed,
    access_from_state,
    create_access,
    where,
)


class Command(BaseCommand):
    """Create the demonstration's organization and perform the five steps, once."""

    help = "Create the demo organization and perform the five steps over the API."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Accept --fresh."""
        parser.add_argument("--fresh", action="store_true", help="reset the sandbox first")

    def handle(self, *args: object, **options: bool) -> None:
        """Do what is not done yet, and print how to go on."""
        logging.getLogger("healthcloud.http").setLevel(logging.WARNING)  # it prints itself
        home = Path(settings.HOME).resolve()
        state = local.read_state(home)
        if "base_url" not in state:
            raise CommandError("HealthCloud is not running: start it with `manage.py up`.")
        access = access_from_state(state)
        if access is None:
            access = create_access()
            local.update_state(home, **access.as_state(), demonstrated=False)
        if options["fresh"]:
            now = datetime.now(UTC)
            reset_sandbox(organization_id=access.organization_id, actor=SYSTEM, now=now)
            local.update_state(home, demonstrated=False)
        if not local.read_state(home).get("demonstrated"):
            self._demonstrate(home, access)
        for line in where(home):
            self._say(line)

    def _demonstrate(self, home: Path, access: Access) -> None:
        state = local.read_state(home)
        begun = time.monotonic()
        demonstration = Demonstration(
            state["base_url"], state["simulator_url"], access, say=self._say
        )
        try:
            demonstration.run()
        except DemonstrationFailed as error:
            raise CommandError(str(error)) from error
        local.update_state(home, demonstrated=True)
        self._say(f"The five steps took {time.monotonic() - begun:.1f} s.")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
