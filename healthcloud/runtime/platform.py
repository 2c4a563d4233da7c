"""The whole platform as processes of one machine, in the order in which they need each other."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import psycopg
from django.conf import settings

from healthcloud.http import OutboundError, client
from healthcloud.runtime import local
from healthcloud.runtime.embedded import (
    EmbeddedPostgres,
    EmbeddedValkey,
    ServerCommand,
    secret_file,
)
from healthcloud.runtime.fingerprint import fingerprint
from healthcloud.runtime.lifetime import ends_with_parent
from healthcloud.runtime.ports import is_free
from healthcloud.runtime.supervisor import Log, Process, ProcessFailed, Ready, Supervisor

_ROOT: Final = Path(__file__).resolve().parents[2]
_MANAGE: Final = str(_ROOT / "manage.py")
_LOG_LIMIT_BYTES: Final = 20 * 1024 * 1024
_LEFTOVER_SECONDS: Final = 10.0
_READY_SECONDS: Final = 120.0


class PortTaken(RuntimeError):
    """Something else listens on the port of the web server."""


def _most_connections() -> int:
    """Return how many sessions all processes of this machine may have at once, and some more."""
    worker = 4 + settings.STEP_THREADS + settings.WEBHOOK_THREADS
    web = 4 + settings.WEB_THREADS + settings.WEB_CONNECTIONS
    return max(200, 100 + web + worker * settings.WORKER_PROCESSES)


class LocalPlatform:
    """Starts and supervises database, cache, web, worker, scheduler and simulators.

    `environment` are the variables to start from; what they leave open (DATABASE_URL,
    VALKEY_URL, the secret key) is filled with embedded defaults below `home`.
    """

    def __init__(self, home: Path, environment: dict[str, str], *, log: Log) -> None:
        self.home = home
        self.log = log
        self.port = int(environment.get("PORT", "8000"))
        self.environment = {
            **environment,
            "PORT": str(self.port),
            "HEALTHCLOUD_HOME": str(home),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(_ROOT),  # whatever folder the command was started from
        }
        self.database: EmbeddedPostgres | None = None
        self.supervisor = Supervisor(log=log, on_change=self.write_pids)

    @property
    def base_url(self) -> str:
        """Return where the web server is reached on this machine."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start everything; raise ProcessFailed or PortTaken with what to do."""
        if not is_free(self.port):
            raise PortTaken(
                f"Port {self.port} is taken: stop what listens there, or choose another with PORT."
            )
        self._trim_logs()
        self.environment.setdefault("HEALTHCLOUD_BASE_URL", self.base_url)
        if "HEALTHCLOUD_SECRET_KEY" not in self.environment:
            key = secret_file(self.home / "secret-key")
            self.environment["HEALTHCLOUD_SECRET_KEY"] = key
        self._start_database()
        self._start_cache()
        simulators = self._begin_simulators()
        self.step("Database schema up to date", self.migrate)
        web = self._begin_web()
        self._begin_workers()
        if simulators is not None:
            self.step("Vendor simulators ready", partial(self._await, simulators))
        self.step(f"Web ready on {self.base_url}", partial(self._await, web))
        self.write_pids()

    def step(self, done: str, action: Callable[[], object]) -> None:
        """Do something and log how long it took."""
        begun = time.monotonic()
        action()
        self.log(f"{done} ({time.monotonic() - begun:.1f} s)")

    def _await(self, process: Process) -> None:
        self.supervisor.wait_until_ready(process, seconds=_READY_SECONDS)

    def migrate(self) -> None:
        """Bring every schema up to date, unless the same code has done that in this database."""
        mark = fingerprint(_ROOT, self.environment)
        if self.database is not None and self.database.mark() == mark:
            return
        self.supervisor.persist(partial(self.manage, "migrate_tenants"))
        if self.database is not None:
            with contextlib.suppress(psycopg.Error):  # it is looked at again then, no more
                self.database.set_mark(mark)

    def demonstrate(self) -> None:
        """Run the demonstration in a process of its own, its output passed through."""
        self.supervisor.persist(partial(self.manage, "demo", shown=True))

    def manage(self, *arguments: str, shown: bool = False) -> None:
        """Run a management command with the platform's settings; raise ProcessFailed if it fails.

        What dies meanwhile is started again. Its output is `shown`, or part of the error.
        """
        with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
            child = subprocess.Popen(
                [sys.executable, _MANAGE, *arguments],
                env=self.environment,
                stdout=None if shown else output,
                stderr=None if shown else subprocess.STDOUT,
                preexec_fn=ends_with_parent(),
            )
            try:
                code = self.supervisor.attend(child)
            finally:
                child.kill()
                child.wait()
            output.seek(0)
            said = "what it printed above says why" if shown else f"\n{output.read()[-3000:]}"
        if code:
            raise ProcessFailed(f"manage.py {arguments[0]} failed: {said}")

    def write_pids(self) -> None:
        """Name the processes that run now in `local.json`."""
        pids = {"web": [], "worker": [], "database": [], "cache": [], **self.supervisor.pids()}
        local.update_state(
            self.home,
            base_url=self.base_url,
            studio_url=f"{self.base_url}/studio/",
            database_admin_url=self.environment.get("DATABASE_URL", ""),
            valkey_url=self.environment.get("VALKEY_URL", ""),
            simulator_url=self.environment.get("HEALTHCLOUD_SIMULATOR_URL", ""),
            pids=pids,
        )

    def _start_database(self) -> None:
        if "DATABASE_URL" in self.environment:
            self.log("PostgreSQL: using DATABASE_URL")
            return
        port = local.remembered_port(self.home, "postgres")
        server = EmbeddedPostgres(self.home, port=port, connections=_most_connections())
        self.environment["DATABASE_URL"] = server.url()
        self.database = server

        def start() -> None:
            server.end_orphans()  # of a supervisor and a server that were killed together
            server.prepare()
            process = self._process("PostgreSQL", "database", server.command(), server.is_ready)
            process.stop_signal = signal.SIGINT  # fast shutdown: open sessions are ended
            process.clear = server.end_orphans
            self.supervisor.start(process)
            server.create_database()

        self.step(f"PostgreSQL ready on 127.0.0.1:{server.port}", start)

    def _start_cache(self) -> None:
        if "VALKEY_URL" in self.environment:
            self.log("Valkey: using VALKEY_URL")
            return
        server = EmbeddedValkey(self.home, port=local.remembered_port(self.home, "valkey"))
        server.prepare()
        self.environment["VALKEY_URL"] = server.url()
        process = self._process("Valkey", "cache", server.command(), server.is_ready)
        start = partial(self.supervisor.start, process)
        self.step(f"Valkey ready on 127.0.0.1:{server.port}", start)

    def _begin_simulators(self) -> Process | None:
        if "HEALTHCLOUD_SIMULATOR_URL" in self.environment:
            return None
        port = local.remembered_port(self.home, "simulators")
        url = f"http://127.0.0.1:{port}"
        self.environment["HEALTHCLOUD_SIMULATOR_URL"] = url
        command = self._python(_MANAGE, "runsimulators", "--port", str(port))
        ready = partial(_answers, f"{url}/health")
        process = self._process("Vendor simulators", "simulators", command, ready)
        self.supervisor.begin(process)
        return process

    def _begin_web(self) -> Process:
        command = self._python(
            "-m",
            "uvicorn",
            "healthcloud.asgi:application",
            f"--port={self.port}",
            "--host=127.0.0.1",
            "--loop=uvloop",
            "--http=httptools",
            "--ws=websockets-sansio",
            "--no-access-log",
            "--ws-per-message-deflate=false",  # hints are small; a window a socket is not
            "--timeout-graceful-shutdown=10",
            "--timeout-keep-alive=75",  # longer than clients and proxies keep what they don't use
        )
        ready = partial(_answers, f"{self.base_url}/livez")
        process = self._process("Web", "web", command, ready)
        self.supervisor.begin(process)
        return process

    def _begin_workers(self) -> None:
        count = settings.WORKER_PROCESSES
        for number in range(1, count + 1):
            command = self._python(
                "-m",
                "celery",
                "--app=healthcloud.celery",
                "worker",
                f"--hostname=worker{number}@%h",
                "--concurrency=1",
                "--queues=control,steps,agents,webhooks,bulk",
                "--without-mingle",
                "--without-gossip",
                "--loglevel=WARNING",
            )
            self.supervisor.begin(self._process(f"Worker {number}", "worker", command, None))
        scheduler = self._python(_MANAGE, "scheduler")
        self.supervisor.begin(self._process("Scheduler", "scheduler", scheduler, None))
        self.log(f"{count} workers and the scheduler started")

    def _process(
        self, name: str, role: str, command: ServerCommand, ready: Ready | None
    ) -> Process:
        log = self.home / "log" / f"{name.lower().replace(' ', '-')}.log"
        return Process(name, role, command, self.environment, log, ready)

    def _python(self, *arguments: str) -> ServerCommand:
        return ServerCommand(argv=(sys.executable, *arguments))

    def _trim_logs(self) -> None:
        for path in (self.home / "log").glob("*.log"):
            if path.stat().st_size > _LOG_LIMIT_BYTES:
                path.replace(path.with_suffix(".log.1"))


def _answers(url: str) -> bool:
    try:
        return client(allow_hosts=None, allow_loopback=True, timeout=2.0).get(url).ok
    except OutboundError:
        return False


def stop_leftovers(home: Path) -> None:
    """End processes that a supervisor which was killed could not take along."""
    recorded = [pid for pids in local.read_state(home).get("pids", {}).values() for pid in pids]
    ours = [pid for pid in recorded if _is_ours(pid, home)]
    for pid in ours:
        os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + _LEFTOVER_SECONDS
    while any(map(local.is_alive, ours)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in filter(local.is_alive, ours):
        os.kill(pid, signal.SIGKILL)


def _is_ours(pid: int, home: Path) -> bool:
    """Tell whether a pid of an earlier start still is the process that it named."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"HEALTHCLOUD_HOME={home}".encode() in environment.split(b"\0")
