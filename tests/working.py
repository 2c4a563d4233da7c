"""A worker in a thread of its own, with hands beside it, for tests whose commits are real."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from healthcloud.ledger import hands, worker
from healthcloud.ledger.heartbeat import Heartbeat
from healthcloud.tenancy.scope import Scope
from tests.waiting import wait_until


@pytest.fixture
def start_working(
    settings: Any, monkeypatch: pytest.MonkeyPatch, live_tenant: Scope
) -> Iterator[Callable[[int], None]]:
    """Start a worker, with so many threads beside it, that is gone after the test."""
    monkeypatch.setattr(hands, "_IDLE_SECONDS", 0.05)
    monkeypatch.setattr(worker, "_leaving", threading.Event())  # another test may have left
    stopping = threading.Event()
    threads: list[threading.Thread] = []
    hands.hands.cache_clear()

    def work() -> None:
        while not stopping.is_set():
            worker.drain(["steps", "agents"], limit=1000, beside=True)
            stopping.wait(0.02)
        connection.close()

    with Heartbeat(timedelta(seconds=settings.LEASE_SECONDS)) as shared:
        monkeypatch.setattr(worker, "_heartbeat", lambda lease: shared)

        def begin(count: int) -> None:
            settings.STEP_THREADS = count
            threads.append(threading.Thread(target=work))
            threads[-1].start()

        yield begin
        stopping.set()
        for thread in threads:
            thread.join(timeout=60)
        for hand in hands.hands(worker._lend_a_hand).values():
            assert hand.wait(timedelta(seconds=60))
            wait_until(lambda hand=hand: hand._hired == 0)  # type: ignore[misc]
        hands.hands.cache_clear()
