"""Supervision: start processes in order, wait until each is ready, restart what dies, stop all.

On Linux every child asks the kernel for a signal when the supervisor dies, so that even
`kill -9` of the supervisor leaves nothing running.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from healthcloud.runtime.embedded import ServerCommand

_PR_SET_PDEATHSIG: Final = 1
_BACKOFF_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEADY_SECONDS: Final = 60.0
_KILLED_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.1

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
                preexec_fn=partial(_die_with_parent, self.stop_signal),
            )
        self.started_at = time.monotonic()

    def wait_until_ready(self, seconds: float) -> None:
        """Return once it is ready; raise ProcessFailed with the end of its log otherwise."""
        deadline = time.monotonic() + seconds
        while not (self.ready is None or self.ready()):
            if self.pid is None or time.monotonic() > deadline:
                raise ProcessFailed(f"{self.name} did not start:\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

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
        killed = self.child is not None and self.child.returncode == -signal.SIGKILL
        if killed and moment - self.started_at > _KILLED_SECONDS:
            return _BACKOFF_SECONDS[0]
        pause = _BACKOFF_SECONDS[min(self.failures, len(_BACKOFF_SECONDS) - 1)]
        self.failures += 1
        return pause

    def kill_remains(self) -> None:
        """Kill what is left of its group, such as the children of a worker that was killed."""
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, signal.SIGKILL)


def _die_with_parent(stop_signal: signal.Signals) -> None:
    """Run in the child before exec: tie its life to the supervisor's (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(stop_signal))


class Supervisor:
    """Runs processes in the order in which they were added.

    Must be driven from one thread, the main one: the kernel ties a child to the thread that
    started it. `on_change` is called whenever a pid changed.
    """

    def __init__(self, *, log: Log, on_change: Callable[[], None]) -> None:
        self.processes: list[Process] = []
        self.log = log
        self.on_change = on_change
        self.stopping = False

    def start(self, process: Process, *, seconds: float = 120.0) -> None:
        """Start a process and wait until it is ready."""
        self.begin(process)
        process.wait_until_ready(seconds)
        self.on_change()

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
            for process in self.processes:
                self._look_after(process)
            time.sleep(_POLL_SECONDS)

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
            process.kill_remains()
            self.log(f"{process.name} ended with {code}; starting it again in {pause:g} s")
        elif moment >= process.restart_at:
            process.restart_at = 0.0
            if process.clear is not None:
                process.clear()
            process.start()
            self.log(f"{process.name} is back as process {process.pid}")
            self.on_change()

    def stop(self) -> None:
        """Stop everything, last started first; servers outlive what uses them."""
        for process in reversed(self.processes):
            process.ask_to_stop()
            process.finish()
        self.on_change()
