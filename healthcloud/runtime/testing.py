"""Run the tests on servers of their own: `python -m healthcloud.runtime.testing [pytest options]`.

Database and cache start on free ports in a temporary folder and leave nothing behind. With
DATABASE_URL and VALKEY_URL in the environment those servers are used instead.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from healthcloud.runtime.embedded import EmbeddedPostgres, EmbeddedValkey, server_home
from healthcloud.runtime.ports import free_port
from healthcloud.runtime.supervisor import Process, Supervisor

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def main(arguments: list[str]) -> int:
    """Start what is missing, run pytest, stop everything; return pytest's exit code."""
    environment = dict(os.environ)
    environment["HEALTHCLOUD_CHROMIUM"] = _find_browser() or ""
    home = Path(tempfile.mkdtemp(prefix="healthcloud-tests-"))
    home.chmod(0o755)
    environment["HEALTHCLOUD_HOME"] = str(home)
    supervisor = Supervisor(log=_say, on_change=lambda: None)
    # Terminating the run must stop the servers as well.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _start_servers(supervisor, home, environment)
        command = [sys.executable, "-m", "pytest", *arguments]
        return subprocess.run(command, env=environment, check=False).returncode
    finally:
        supervisor.stop()
        for folder in {home, server_home(home)}:
            shutil.rmtree(folder, ignore_errors=True)


def _start_servers(supervisor: Supervisor, home: Path, environment: dict[str, str]) -> None:
    if "DATABASE_URL" not in environment:
        postgres = EmbeddedPostgres(home, port=free_port(), durable=False)
        postgres.prepare()
        database = Process(
            "PostgreSQL",
            "database",
            postgres.command(),
            environment,
            home / "postgres.log",
            ready=postgres.is_ready,
            stop_signal=signal.SIGINT,
        )
        supervisor.start(database)
        environment["DATABASE_URL"] = postgres.url("postgres")
    if "VALKEY_URL" not in environment:
        valkey = EmbeddedValkey(home, port=free_port(), durable=False)
        valkey.prepare()
        log = home / "valkey.log"
        cache = Process(
            "Valkey", "cache", valkey.command(), environment, log, ready=valkey.is_ready
        )
        supervisor.start(cache)
        environment["VALKEY_URL"] = valkey.url()


def _find_browser() -> str | None:
    """Return a Chromium; install Debian's where we may, else say what is skipped."""
    for name in _BROWSERS:
        if found := shutil.which(name):
            return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        _say("Installing Chromium for the browser tests …")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "check": False}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)  # type: ignore[call-overload]
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(install, env=environment, **quiet)  # type: ignore[call-overload]
        if found := shutil.which("chromium"):
            return found
    _say("No Chromium on this machine: the browser tests (marker `browser`) are skipped.")
    return None


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
