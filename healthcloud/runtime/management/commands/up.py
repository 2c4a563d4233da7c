"""Start the whole platform on this machine and keep it running."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from healthcloud.runtime import local
from healthcloud.runtime.demo import was_done, where
from healthcloud.runtime.embedded import EmbeddedServerMissing
from healthcloud.runtime.platform import LocalPlatform, PortTaken, stop_leftovers
from healthcloud.runtime.supervisor import Log, ProcessFailed

_DETACHED_SECONDS = 300.0


class Command(BaseCommand):
    """Supervise database, cache, web, worker, scheduler and simulators until Ctrl-C."""

    help = "Start everything on this machine: database, cache, web, worker, simulators, demo."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Accept --detach and --no-demo."""
        parser.add_argument("--detach", action="store_true", help="return once all is ready")
        parser.add_argument("--no-demo", action="store_true", help="start without the demo")

    def handle(self, *args: object, **options: bool) -> None:
        """Run in the foreground, or start a copy of this command in the background."""
        logging.getLogger("healthcloud.http").setLevel(logging.WARNING)  # its own polling
        home = Path(settings.HOME).resolve()
        if options["detach"]:
            self._detach(home, demo=not options["no_demo"])
            return
        begun = time.monotonic()

        def log(line: str) -> None:
            with contextlib.suppress(OSError):  # on a full disk nothing is told, and all goes on
                self.stdout.write(f"[{time.monotonic() - begun:6.1f} s] {line}")
                self.stdout.flush()

        try:
            lock = local.lock_home(home)
        except local.AlreadyRunning as error:
            raise CommandError(str(error)) from error
        with lock:
            self._run(home, log, demo=not options["no_demo"])

    def _run(self, home: Path, log: Log, *, demo: bool) -> None:
        stop_leftovers(home)
        local.update_state(home, ready=False, supervisor=os.getpid())
        platform = LocalPlatform(home, dict(os.environ), log=log)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, _interrupt)
        try:
            platform.start()
            if demo:
                self._demonstrate(home, platform)
            local.update_state(home, ready=True)
            log(f"Ready: {platform.base_url}/studio/  (Ctrl-C stops everything)")
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, platform.supervisor.request_stop)
            platform.supervisor.run()
        except (ProcessFailed, PortTaken, EmbeddedServerMissing) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            log("Interrupted while starting")
        finally:
            log("Stopping")
            with contextlib.suppress(OSError):
                local.update_state(home, ready=False)
            platform.supervisor.stop()

    def _demonstrate(self, home: Path, platform: LocalPlatform) -> None:
        """Run the demonstration once; afterwards say where everything is."""
        if not was_done(home):
            platform.demonstrate()
            return
        for line in where(home):
            self.stdout.write(line)

    def _detach(self, home: Path, *, demo: bool) -> None:
        if pid := local.supervisor_pid(home):
            self.stdout.write(f"HealthCloud already runs as process {pid}.")
            return
        log_path = home / "log" / "up.log"
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log_path.write_bytes(b"")
        arguments = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "up"]
        with log_path.open("ab") as log:
            child = subprocess.Popen(
                arguments if demo else [*arguments, "--no-demo"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _DETACHED_SECONDS
        while not _is_ready(home, child.pid):
            if child.poll() is not None and (pid := local.supervisor_pid(home)):
                self.stdout.write(f"HealthCloud already runs as process {pid}.")  # it was quicker
                return
            if child.poll() is not None or time.monotonic() > deadline:
                raise CommandError(
                    f"HealthCloud did not start:\n{log_path.read_text('utf-8')[-3000:]}"
                )
            time.sleep(0.2)
        self.stdout.write(log_path.read_text("utf-8"))


def _is_ready(home: Path, supervisor: int) -> bool:
    state = local.read_state(home)
    return bool(state.get("ready")) and state.get("supervisor") == supervisor


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
