"""Workers that are awake: who is called, and when the broker is needed."""

import threading
import time
from collections.abc import Iterator
from unittest import mock

import pytest
import redis
from django.db import connection

from healthcloud.ledger import doorbell, handlers, wake, worker
from healthcloud.ledger.handlers import ClaimedWork, Done
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import Scope

KIND = "test.awake"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin without calls, and without what an earlier failure silenced."""
    monkeypatch.setitem(wake._valkey, "silent_until", 0.0)
    monkeypatch.setitem(doorbell._broker, "silent_until", 0.0)
    client = wake._client()
    _forget(client)
    yield
    _forget(client)


def _forget(client: redis.Redis) -> None:
    for queue in worker.ALL_QUEUES:
        place = f"hc:work:{wake._place(queue)}"
        client.delete(f"{place}:calls", f"{place}:awake", f"{place}:asked")


def test_nobody_who_is_awake_hears_a_call() -> None:
    assert not wake.call("control")


def test_a_worker_that_is_awake_hears_the_calls_of_its_queues() -> None:
    with wake.Watch(["control", "steps"]) as watch:
        assert wake.call("steps")
        assert not wake.call("bulk")
        assert watch.hear(1.0) == "steps"
        assert watch.hear(0.01) is None
    assert not wake.call("steps")


def test_the_broker_is_asked_once_in_a_while_when_all_are_busy() -> None:
    with wake.Watch(["steps"]):
        assert [wake.call("steps") for _ in range(4)] == [True, False, True, True]


def test_a_worker_that_was_killed_is_awake_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake, "_AWAKE_SECONDS", 0)
    wake.Watch(["steps"]).__enter__()
    assert not wake.call("steps")


def test_without_valkey_the_broker_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = redis.Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.1)
    monkeypatch.setattr(wake, "_client", lambda: nowhere)
    monkeypatch.setattr(wake, "_script", nowhere.register_script)
    with mock.patch.object(doorbell, "current_app") as app:
        assert doorbell.ring("control")
        assert app.send_task.call_count == 1
    with wake.Watch(["control"]) as watch:
        assert watch.deaf


def test_a_worker_that_lingers_does_what_it_is_called_for_and_then_rests(
    live_tenant: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def handle(work: ClaimedWork) -> Done:
        done.append(work.ref)
        return Done()

    monkeypatch.setitem(handlers._registry, KIND, handlers.Registration(KIND, "bulk", handle))
    monkeypatch.setattr(doorbell, "current_app", mock.Mock())

    def drain() -> None:
        worker.drain(["control", "bulk"], limit=100, linger=0.6)
        connection.close()

    began = time.monotonic()
    thread = threading.Thread(target=drain)
    thread.start()
    time.sleep(0.3)
    for number in range(3):
        enqueue(scope=live_tenant, kind=KIND, ref=str(number), queue="bulk")
    thread.join(timeout=10)
    assert sorted(done) == ["0", "1", "2"]
    assert 0.6 < time.monotonic() - began < 5
    assert doorbell.current_app.send_task.call_count <= 1  # type: ignore[attr-defined]  # a mock


def test_a_worker_that_is_told_to_stop_does_not_linger(live_tenant: Scope) -> None:
    began = time.monotonic()
    assert worker.drain(["control"], limit=100, linger=60.0, stopping=lambda: True) == 0
    assert time.monotonic() - began < 5
