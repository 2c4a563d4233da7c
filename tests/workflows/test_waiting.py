"""Waiting for a run over HTTP, with a worker beside it whose commits are real."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest
from django.db import connection

from healthcloud.actors import Actor
from healthcloud.ledger import worker
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant
from tests.workflows.conftest import definition
from workflows import runs, services
from workflows.api.waiting import wait_for
from workflows.models import Run, Signal

__all__ = ["live_scope", "live_tenant"]


@pytest.fixture
def start(live_tenant: Scope, alice_actor: Actor, now: datetime) -> Callable[[], Run]:
    """Start a run of one step, committed."""
    with tenant_scope(live_tenant):
        source = definition({"id": "a", "kind": "transform", "with": {"x": 1}})
        services.create_workflow(definition=source, actor=alice_actor, now=now, publish=True)

    def begin() -> Run:
        with tenant_scope(live_tenant):
            return runs.start(actor=alice_actor, workflow="flow", input={}, now=now)

    return begin


@pytest.fixture
def working() -> Iterator[None]:
    """A worker in a thread of its own."""
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            worker.drain(["steps"], limit=10)
            stopping.wait(0.02)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stopping.set()
    thread.join(timeout=10)


def test_waiting_answers_as_soon_as_the_run_is_over(
    live_tenant: Scope, start: Callable[[], Run], working: None
) -> None:
    began = time.monotonic()
    run = wait_for(start(), scope=live_tenant, seconds=20)
    assert run.status == "completed"
    assert time.monotonic() - began < 20


def test_who_holds_a_run_asks_for_it_while_a_worker_ends_it(
    live_tenant: Scope, start: Callable[[], Run], alice_actor: Actor, now: datetime
) -> None:
    """Both lock the run first, and then its due work: neither waits for the other in a circle."""
    run = start()
    with tenant_scope(live_tenant):
        runs.locked(run.id)
        thread = threading.Thread(target=_drain)
        thread.start()
        until = time.monotonic() + 30
        while not _someone_waits() and time.monotonic() < until:
            time.sleep(0.01)
        runs.signal(run_id=run.id, name="go", payload=None, actor=alice_actor, now=now)
    thread.join(timeout=30)
    with tenant_scope(live_tenant):
        assert Run.objects.get(id=run.id).status == "completed"
        assert Signal.objects.filter(run=run).count() == 1


def _drain() -> None:
    worker.drain(["steps"], limit=10)
    connection.close()


def _someone_waits() -> bool:
    """Return whether a session waits for what this transaction has locked."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
        )
        return bool(cursor.fetchone()[0])


def test_waiting_ends_with_its_time_and_holds_no_transaction(
    live_tenant: Scope, start: Callable[[], Run]
) -> None:
    began = time.monotonic()
    run = wait_for(start(), scope=live_tenant, seconds=0.2)
    assert not run.final
    assert 0.2 <= time.monotonic() - began < 20
    assert not connection.in_atomic_block
