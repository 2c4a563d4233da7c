"""What is known of the platform on this machine: `local.json`, the lock, the ports."""

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import IO, Any, Final

from healthcloud.runtime.ports import free_port, is_free

LocalState = dict[str, Any]
_STOP_SECONDS: Final = 60.0


class StillRunning(RuntimeError):
    """The supervisor was asked to stop, and did not in time."""


class AlreadyRunning(RuntimeError):
    """Another supervisor holds this home."""


def state_path(home: Path) -> Path:
    """Return the path of `local.json`."""
    return home / "local.json"


def read_state(home: Path) -> LocalState:
    """Return the content of `local.json`, empty if there is none."""
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        state: LocalState = json.loads(state_path(home).read_text(encoding="utf-8"))
        return state
    return {}


def write_state(home: Path, state: LocalState) -> None:
    """Replace `local.json` in one step; only its owner can read it, since it holds keys."""
    draft = state_path(home).with_suffix(f".{os.getpid()}.draft")
    descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(state, file, indent=2)
        file.write("\n")
    draft.replace(state_path(home))


def update_state(home: Path, **changes: object) -> None:
    """Change some members of `local.json`, one process after the other."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "local.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_state(home, {**read_state(home), **changes})


def lock_home(home: Path) -> IO[str]:
    """Take the home for this process until it ends; raise AlreadyRunning if another has it."""
    home.mkdir(parents=True, exist_ok=True)
    file = (home / "supervisor.lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise AlreadyRunning(
            f"HealthCloud already runs from {home}: see `manage.py status`, or set"
            " HEALTHCLOUD_HOME and PORT to run a second one."
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def supervisor_pid(home: Path) -> int | None:
    """Return the pid of the supervisor that holds the home, or None."""
    path = home / "supervisor.lock"
    if not path.exists():
        return None
    with path.open("r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return int(file.read() or 0) or None
    return None


def join_running(default_home: Path, environment: MutableMapping[str, str]) -> None:
    """Let a command reach the embedded servers of the platform that runs from its home.

    Does nothing without one, in the platform's own processes, and where DATABASE_URL is set.
    """
    home = Path(environment.get("HEALTHCLOUD_HOME") or default_home)
    own = {"DATABASE_URL", "DATABASE_URL_FILE"} & environment.keys()
    if own or not (home / "postgres-password").exists() or supervisor_pid(home) is None:
        return
    state = read_state(home)
    found = {
        "DATABASE_URL": state.get("database_admin_url"),
        "VALKEY_URL": state.get("valkey_url"),
        "HEALTHCLOUD_SIMULATOR_URL": state.get("simulator_url"),
        "HEALTHCLOUD_BASE_URL": state.get("base_url"),
    }
    key = home / "secret-key"
    if key.exists() and not {"HEALTHCLOUD_SECRET_KEY_FILE"} & environment.keys():
        found["HEALTHCLOUD_SECRET_KEY"] = key.read_text(encoding="utf-8").strip()
    for name, value in found.items():
        if value:
            environment.setdefault(name, str(value))


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        return stat.rpartition(")")[2].split()[0] != "Z"
    return True


def stop_supervisor(home: Path) -> bool:
    """Ask the supervisor to stop everything and wait; return whether there was one.

    Raises StillRunning when it takes too long.
    """
    pid = supervisor_pid(home)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while is_alive(pid):
        if time.monotonic() > deadline:
            raise StillRunning(
                f"Process {pid} still stops after {_STOP_SECONDS:g} s: see {home / 'log'}, and ask"
                " again."
            )
        time.sleep(0.1)
    return True


def remembered_port(home: Path, name: str) -> int:
    """Return the port this home used before if it is free, else another one."""
    path = home / "ports.json"
    ports: dict[str, int] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if name not in ports or not is_free(ports[name]):
        ports[name] = free_port()
        path.write_text(json.dumps(ports), encoding="utf-8")
    return ports[name]
