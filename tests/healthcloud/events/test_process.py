"""Streams of a real web process, started as `make run` starts it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from django.conf import settings
from django.db import connections
from websockets.sync.client import ClientConnection, connect

from healthcloud.organizations.models import ApiKey
from healthcloud.tenancy.scope import Scope

ROOT = Path(__file__).resolve().parents[3]
Key = Callable[..., tuple[str, ApiKey]]
Happen = Callable[..., str]
GRACEFUL_SECONDS = 10
IDLE_SOCKETS = int(os.environ.get("HEALTHCLOUD_IDLE_SOCKETS", "100"))


@pytest.fixture
def web(live_tenant: Scope) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A uvicorn process on the test database."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    owner = settings.DATABASE_OWNER
    password, name = quote(owner["PASSWORD"]), connections["default"].settings_dict["NAME"]
    url = f"postgresql://{owner['USER']}:{password}@{owner['HOST']}:{owner['PORT']}/{name}"
    command = [sys.executable, "-m", "uvicorn", "healthcloud.asgi:application"]
    options = ["--loop=uvloop", "--http=httptools", "--ws=websockets", "--no-access-log"]
    process = subprocess.Popen(
        [*command, f"--port={port}", *options, f"--timeout-graceful-shutdown={GRACEFUL_SECONDS}"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        stderr=subprocess.DEVNULL,
    )
    host = f"127.0.0.1:{port}"
    for _ in range(300):
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://{host}/livez", trust_env=False)
            break
        time.sleep(0.1)
    try:
        yield process, host
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_both_streams_work_beside_the_rest_of_the_api_and_end_with_the_process(
    web: tuple[subprocess.Popen[bytes], str], live_key: Key, happen: Happen
) -> None:
    process, host = web
    headers = {"Authorization": f"Bearer {live_key()[0]}"}
    with (
        httpx.Client(base_url=f"http://{host}", headers=headers, trust_env=False) as client,
        client.stream("GET", "/v1/events/stream?after=0") as sse,
        connect(f"ws://{host}/v1/events/ws?after=0", additional_headers=headers, proxy=None) as ws,
    ):
        event_id = happen()
        lines = (line for line in sse.iter_lines() if line.startswith("data: "))
        assert json.loads(next(lines)[6:])["id"] == event_id
        messages = [json.loads(ws.recv(timeout=30)) for _ in range(3)]
        assert [message["type"] for message in messages] == ["hello", "subscribed", "event"]
        assert messages[2]["event"]["id"] == event_id
        assert client.get(f"/v1/events/{event_id}").json()["sequence"] == 1
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert list(lines) == []
        assert process.wait(timeout=30) in {0, -signal.SIGTERM}
        assert time.monotonic() - started < GRACEFUL_SECONDS


def threads(process: subprocess.Popen[bytes]) -> int:
    return len(os.listdir(f"/proc/{process.pid}/task"))


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def next_message(opened: ClientConnection) -> dict[str, object]:
    """Return the next message that is no heartbeat."""
    while True:
        message = json.loads(opened.recv(timeout=30))
        if message["type"] != "ping":
            return message


@pytest.mark.slow
def test_many_idle_websockets_cost_no_threads_and_hardly_any_time(
    web: tuple[subprocess.Popen[bytes], str], live_key: Key, happen: Happen
) -> None:
    process, host = web
    url, headers = f"ws://{host}/v1/events/ws?type=*", {"Authorization": f"Bearer {live_key()[0]}"}
    with contextlib.ExitStack() as stack:

        def open_socket() -> ClientConnection:
            opened = stack.enter_context(connect(url, additional_headers=headers, proxy=None))
            assert [next_message(opened)["type"] for _ in range(2)] == ["hello", "subscribed"]
            return opened

        sockets = [open_socket() for _ in range(10)]
        few = threads(process)
        sockets += [open_socket() for _ in range(IDLE_SOCKETS - 10)]
        assert threads(process) <= few + 4
        before = processor_seconds(process)
        time.sleep(3)
        assert (processor_seconds(process) - before) / 3 < 0.2
        event_id = happen()
        for opened in sockets:
            assert next_message(opened)["event"]["id"] == event_id
