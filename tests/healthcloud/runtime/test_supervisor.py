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
