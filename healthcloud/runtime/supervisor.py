"""Supervision: start processes in order, wait until each is ready, restart what dies, stop all.

On Linux every child asks the kernel for a signal when the supervisor dies, so that even
`kill -9` of the supervisor leaves nothing running.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from healthcloud.runtime.embedded import ServerCommand
from healthcloud.runtime.lifetime import ends_with_parent

_BACKOFF_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEADY_SECONDS: Final = 60.0
_KILLED_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.1
_SLOW_SECONDS: Final = 5.0
_ATTEMPTS: Final = 5
_HOPELESS: Final = 3
SERVERS: Final = frozenset({"database", "cache"})

Ready = Callable[[], bool]
Log = Callable[[str], None]


class ProcessFailed(RuntimeError):
    """A process ended, or was not ready in time, while everything was being started."""


@dataclass
class Process:
    """A child of the supervisor.

    `role` groups pids in `local.json`; `ready` is polled after a start; `stop_signal` asks for a
    clean end, after `stop_seconds` it is killed. `clear` takes away what a process that died may
    have left, before it is started again.
    """

    name: str
    role: str
    command: ServerCommand
    environment: Mapping[str, str]
    log_path: Path
    ready: Ready | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15.0
    clear: Callable[[], None] | None = None
    child: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    started_at: float = 0.0
    failures: int = 0
    restart_at: float = 0.0

    @property
    def pid(self) -> int | None:
        """Return the pid while it runs."""
        return self.child.pid if self.child and self.child.poll() is None else None

    def start(self) -> None:
        """Start it; its output is appended to the log file."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.child = subprocess.Popen(
                self.command.argv,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self.command.account,
                cwd="/" if self.command.account else None,
                preexec_fn=ends_with_parent(self.stop_signal),
            )
        self.started_at = time.monotonic()

    @property
    def was_killed(self) -> bool:
        """Tell whether it ended because somebody killed it."""
        return self.child is not None and self.child.poll() == -signal.SIGKILL

    @property
    def gave_up(self) -> bool:
        """Tell whether it ended by itself and did not come back, or did so again and again."""
        ended = self.pid is None and not self.restart_at and not self.was_killed
        return ended or self.failures >= _HOPELESS

    def is_ready(self) -> bool:
        """Tell whether it runs and does its work."""
        return self.pid is not None and (self.ready is None or self.ready())

    def log_tail(self, lines: int = 15) -> str:
        """Return the last lines of its log."""
        with contextlib.suppress(FileNotFoundError):
            text = self.log_path.read_text(encoding="utf-8", errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def ask_to_stop(self) -> None:
        """Send the signal that ends it cleanly."""
        if self.pid is not None and self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                self.child.send_signal(self.stop_signal)

    def finish(self) -> None:
        """Wait for its end, and kill its whole group if it takes too long."""
        if self.child is None:
            return
        try:
            self.child.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill_remains()
            self.child.wait(5)

    def pause_before_restart(self, moment: float) -> float:
        """Return how long to wait before it is started again, longer each time it fails.

        What was killed from outside after it had begun did not fail: it comes back at once,
        however often that happens.
        """
        if self.was_killed and moment - self.started_at > _KILLED_SECONDS:
            return _BACKOFF_SECONDS[0]
        pause = _BACKOFF_SECONDS[min(self.failures, len(_BACKOFF_SECONDS) - 1)]
        self.failures += 1
        return pause

    def kill_remains(self) -> None:
        """Kill what is left of its group, such as the children of a worker that was killed."""
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, signal.SIGKILL)


class Supervisor:
    """Runs processes in the order in which they were added.

    Must be driven from one thread, the main one: the kernel ties a child to the thread that
    started it. `on_change` is called whenever a pid changed.
    """

    def __init__(self, *, log: Log, on_change: Callable[[], None]) -> None:
        self.processes: list[Process] = []
        self.log = log
        self._tell_change = on_change
        self.stopping = False
        self.deaths = 0

    def start(self, process: Process, *, seconds: float = 120.0) -> None:
        """Start a process and wait until it is ready."""
        self.begin(process)
        self.wait_until_ready(process, seconds=seconds)
        self.on_change()

    def wait_until_ready(self, process: Process, *, seconds: float = 120.0) -> None:
        """Return once it is ready, and start again what is killed meanwhile.

        Raises ProcessFailed with the end of its log when it ended by itself, or takes too long.
        """
        deadline = time.monotonic() + seconds
        while not process.is_ready():
            if process.gave_up or time.monotonic() > deadline:
                raise ProcessFailed(f"{process.name} did not start:\n{process.log_tail()}")
            self.look_after_all()
            time.sleep(_POLL_SECONDS)

    def attend(self, child: subprocess.Popen[Any]) -> int:
        """Wait for a command to end, and start again what dies meanwhile; return its exit code."""
        while child.poll() is None:
            self.look_after_all()
            time.sleep(_POLL_SECONDS)
        return int(child.returncode)

    def persist(self, action: Callable[[], None]) -> None:
        """Do what needs the processes; again when it failed while they died, else once more.

        A session of the database may have been killed, which resets all of its sessions.
        """
        calm = 0
        for attempt in range(1, _ATTEMPTS + 1):
            deaths = self.deaths
            try:
                action()
                return
            except ProcessFailed as error:
                time.sleep(_POLL_SECONDS)  # whatever broke it is dead by now
                self.look_after_all()
                calm += self.deaths == deaths
                if calm > 1 or attempt == _ATTEMPTS:
                    raise
                self.log(f"{str(error).partition(':')[0]}; trying again")
                for process in self.processes:
                    self.wait_until_ready(process)

    def begin(self, process: Process) -> None:
        """Start a process without waiting for it."""
        self.processes.append(process)
        process.start()

    def pids(self) -> dict[str, list[int]]:
        """Return the pids of what runs, by role."""
        found: dict[str, list[int]] = {}
        for process in self.processes:
            pids = found.setdefault(process.role, [])
            if process.pid is not None:
                pids.append(process.pid)
        return found

    def request_stop(self, *_: object) -> None:
        """Ask `run` to return; safe in a signal handler."""
        self.stopping = True

    def run(self) -> None:
        """Restart what dies, with growing pauses, until a stop is requested."""
        while not self.stopping:
            self.look_after_all()
            time.sleep(_POLL_SECONDS)

    def look_after_all(self) -> None:
        """Start again what is dead and had its pause."""
        for process in self.processes:
            self._look_after(process)

    def on_change(self) -> None:
        """Tell that a pid changed; what can't be noted, as on a full disk, ends nothing."""
        try:
            self._tell_change()
        except OSError as error:
            self.log(f"The change of a process could not be noted: {error}")

    def _look_after(self, process: Process) -> None:
        moment = time.monotonic()
        if process.pid is not None:
            if process.failures and moment - process.started_at > _STEADY_SECONDS:
                process.failures = 0
            return
        if not process.restart_at:
            code = process.child.returncode if process.child else None
            pause = process.pause_before_restart(moment)
            process.restart_at = moment + pause
            self.deaths += 1
            process.kill_remains()
            self.log(f"{process.name} ended with {code}; starting it again in {pause:g} s")
        elif moment >= process.restart_at:
            self._start_again(process, moment)

    def _start_again(self, process: Process, moment: float) -> None:
        try:
            if process.clear is not None:
                process.clear()
            process.start()
        except OSError as error:  # a full disk, no more processes: that may pass
            process.restart_at = moment + process.pause_before_restart(moment)
            self.log(f"{process.name} can't be started: {error}")
            return
        process.restart_at = 0.0
        self.log(f"{process.name} is back as process {process.pid}")
        self.on_change()

    def stop(self) -> None:
        """Stop what uses the servers all at once, then the servers, last started first."""
        users = [process for process in self.processes if process.role not in SERVERS]
        servers = [process for process in self.processes if process.role in SERVERS]
        for group in (users, *([server] for server in reversed(servers))):
            begun = time.monotonic()
            for process in group:
                process.ask_to_stop()
            for process in group:
                process.finish()
                if (seconds := time.monotonic() - begun) > _SLOW_SECONDS:
                    self.log(f"{process.name} took {seconds:.0f} s to stop")
        self.on_change()
