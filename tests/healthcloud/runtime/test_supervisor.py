"""The supervisor starts, restarts and stops processes."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from healthcloud.runtime.embedded import ServerCommand
from healthcloud.runtime.local import is_alive
from healthcloud.runtime.supervisor import Process, ProcessFailed, Supervisor
from tests.waiting import wait_until

FOREVER = "import time; time.sleep(600)"


def process(folder: Path, code: str, **options: object) -> Process:
    command = ServerCommand(argv=(sys.executable, "-c", code))
    return Process("Sleeper", "web", command, dict(os.environ), folder / "log", **options)


@pytest.fixture
def supervisor():
    lines: list[str] = []
    running = Supervisor(log=lines.append, on_change=lambda: None)
    running.lines = lines
    yield running
    running.stop()


def test_it_names_the_pids_by_role(supervisor, tmp_path) -> None:
    child = process(tmp_path, FOREVER)
    supervisor.start(child)
    assert supervisor.pids() == {"web": [child.pid]}


def test_a_process_that_ends_at_once_is_reported_with_its_log(supervisor, tmp_path) -> None:
    child = process(tmp_path, "print('no such table'); raise SystemExit(3)", ready=lambda: False)
    with pytest.raises(ProcessFailed, match="no such table"):
        supervisor.start(child)


def test_a_killed_process_comes_back(supervisor, tmp_path) -> None:
    child = process(tmp_path, FOREVER)
    supervisor.start(child)
    first = child.pid
    os.kill(first, signal.SIGKILL)
    threading.Timer(1.5, supervisor.request_stop).start()
    supervisor.run()
    assert child.pid not in {None, first}
    assert supervisor.lines[-1] == f"Sleeper is back as process {child.pid}"


def test_stop_leaves_nothing_running(supervisor, tmp_path) -> None:
    child = process(tmp_path, FOREVER)
    supervisor.start(child)
    pid = child.pid
    supervisor.stop()
    assert not is_alive(pid)


def test_a_process_that_ignores_the_signal_is_killed(supervisor, tmp_path) -> None:
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True)"
    code = f"{ignore}; {FOREVER}"
    child = process(tmp_path, code, stop_seconds=0.3)
    supervisor.start(child)
    wait_until(lambda: child.log_path.read_bytes() != b"")
    pid = child.pid
    supervisor.stop()
    assert not is_alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_killing_the_supervisor_takes_its_children_along(tmp_path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path\n"
        "from healthcloud.runtime.embedded import ServerCommand\n"
        "from healthcloud.runtime.supervisor import Process, Supervisor\n"
        f"command = ServerCommand(argv=(sys.executable, '-c', {FOREVER!r}))\n"
        f"child = Process('x', 'web', command, dict(os.environ), Path({str(tmp_path / 'log')!r}))\n"
        "Supervisor(log=print, on_change=lambda: None).start(child)\n"
        "print(child.pid, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child_pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not is_alive(child_pid))


def test_what_is_killed_again_and_again_comes_back_at_once_each_time(tmp_path) -> None:
    child = process(tmp_path, FOREVER)
    child.start()
    child.child.kill()
    child.child.wait()
    pauses = [child.pause_before_restart(child.started_at + 5) for _ in range(10)]
    assert pauses == [0.1] * 10


def test_what_fails_by_itself_is_started_after_growing_pauses(tmp_path) -> None:
    child = process(tmp_path, "raise SystemExit(3)")
    child.start()
    child.child.wait()
    pauses = [child.pause_before_restart(child.started_at + 5) for _ in range(4)]
    assert pauses == [0.1, 0.5, 1.0, 2.0]


def test_what_is_killed_before_it_is_ready_is_started_again(supervisor, tmp_path) -> None:
    killed = tmp_path / "killed"
    code = f"import os; from pathlib import Path; p = Path({str(killed)!r})\n"
    code += "if not p.exists(): p.touch(); os.kill(os.getpid(), 9)\n" + FOREVER
    child = process(tmp_path, code, ready=lambda: child.failures + len(supervisor.lines) > 0)
    supervisor.start(child)
    assert killed.exists()
    assert child.pid is not None
    assert supervisor.deaths == 1


def test_what_dies_while_a_command_runs_is_started_again_meanwhile(supervisor, tmp_path) -> None:
    child = process(tmp_path, FOREVER)
    supervisor.start(child)
    first = child.pid
    waits = f"import os, time\nwhile os.path.exists({str(tmp_path / 'wait')!r}): time.sleep(0.05)"
    (tmp_path / "wait").touch()
    command = subprocess.Popen([sys.executable, "-c", waits])
    supervisor.on_change = (tmp_path / "wait").unlink  # when it is back
    os.kill(first, signal.SIGKILL)
    assert supervisor.attend(command) == 0
    assert child.pid not in {None, first}
    supervisor.on_change = lambda: None


def test_what_failed_because_a_process_died_is_done_again(supervisor, tmp_path) -> None:
    child = process(tmp_path, FOREVER)
    supervisor.start(child)
    pids = []

    def use() -> None:
        pids.append(child.pid)
        if len(pids) < 3:
            child.child.kill()
            child.child.wait()
            raise ProcessFailed("migrate failed: no connection")

    supervisor.persist(use)
    assert len(set(pids)) == 3
    assert "migrate failed; trying again" in supervisor.lines


def test_what_fails_by_itself_is_done_once_more_and_reported(supervisor) -> None:
    tried = []

    def fail() -> None:
        tried.append(1)
        raise ProcessFailed("migrate failed: no such column")

    with pytest.raises(ProcessFailed, match="no such column"):
        supervisor.persist(fail)
    assert len(tried) == 2


def test_a_full_disk_ends_neither_the_supervisor_nor_what_it_runs(supervisor, tmp_path) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    child = process(tmp_path, FOREVER)
    supervisor.start(child)
    supervisor._tell_change = full
    first, child.clear = child.pid, full
    os.kill(first, signal.SIGKILL)
    child.child.wait()
    for _ in range(2):
        supervisor.look_after_all()
        child.restart_at = min(child.restart_at, 1.0)  # its pause is over
    assert "Sleeper can't be started: [Errno 28] No space left on device" in supervisor.lines
    child.clear = None
    supervisor.look_after_all()
    assert child.pid not in {None, first}
    assert supervisor.lines[-1].endswith("could not be noted: [Errno 28] No space left on device")


def test_what_uses_the_servers_is_stopped_before_them_and_all_at_once(tmp_path) -> None:
    told: list[str] = []
    running = Supervisor(log=lambda line: None, on_change=lambda: None)

    class Told(Process):
        def ask_to_stop(self) -> None:
            told.append(f"ask {self.role}")
            super().ask_to_stop()

        def finish(self) -> None:
            told.append(f"finish {self.role}")
            super().finish()

    command = ServerCommand(argv=(sys.executable, "-c", FOREVER))
    for role in ("database", "cache", "web", "worker"):
        running.begin(Told(role, role, command, dict(os.environ), tmp_path / role))
    running.stop()
    assert told == [
        *("ask web", "ask worker", "finish web", "finish worker"),
        *("ask cache", "finish cache", "ask database", "finish database"),
    ]
