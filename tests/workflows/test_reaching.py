"""Steps that call out hold no worker: their runs go on in threads beside it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.utils import timezone

from healthcloud.actors import Actor
from healthcloud.ledger.models import DueWork
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant
from tests.waiting import wait_until
from tests.workflows.conftest import definition
from tests.working import start_working
from workflows import queries, runs, services
from workflows.limits import StepTimedOut, time_limit

__all__ = ["live_scope", "live_tenant", "start_working"]

RUNS = 20


class Slow:
    """A receiver that answers nobody until it is let."""

    def __init__(self) -> None:
        self.url = ""
        self.open = threading.Event()
        self.now = self.most = self.seen = 0
        self._guard = threading.Lock()

    def come(self) -> None:
        with self._guard:
            self.now, self.seen = self.now + 1, self.seen + 1
            self.most = max(self.most, self.now)
        self.open.wait(120)
        with self._guard:
            self.now -= 1


@contextmanager
def slow_receiver() -> Iterator[Slow]:
    slow = Slow()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            slow.come()
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    slow.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield slow
    finally:
        slow.open.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def slow(settings: Any) -> Iterator[Slow]:
    settings.WORKFLOW_HTTP_HOSTS = ["127.0.0.1"]
    with slow_receiver() as receiver:
        yield receiver


class Desk:
    """Starts runs and looks at them, each in its own transaction."""

    def __init__(self, scope: Scope, actor: Actor, now: datetime) -> None:
        self.scope = scope
        self.actor = actor
        self.now = now

    def publish(self, slug: str, *steps: dict[str, Any], **members: object) -> None:
        source = {**definition(*steps, **members), "slug": slug}
        with tenant_scope(self.scope):
            services.create_workflow(
                definition=source, actor=self.actor, now=self.now, publish=True
            )

    def start(self, slug: str) -> str:
        with tenant_scope(self.scope):
            return runs.start(actor=self.actor, workflow=slug, input={}, now=self.now).id

    def status(self, run_id: str) -> str:
        with tenant_scope(self.scope):
            return queries.run(run_id).status

    def cancel(self, run_id: str) -> None:
        with tenant_scope(self.scope):
            runs.cancel(run_id=run_id, actor=self.actor, now=self.now)


@pytest.fixture
def desk(live_tenant: Scope, alice_actor: Actor, now: datetime, slow: Slow) -> Desk:
    desk = Desk(live_tenant, alice_actor, now)
    call = {"id": "call", "kind": "http_request", "with": {"url": slow.url}, "timeout": "100s"}
    desk.publish("calling", call, {"id": "after", "kind": "transform", "with": {"x": 1}})
    desk.publish("quick", {"id": "a", "kind": "transform", "with": {"x": 1}})
    return desk


def test_one_worker_waits_for_many_answers_and_quick_runs_pass(
    desk: Desk, slow: Slow, start_working: Callable[[int], None]
) -> None:
    calling = [desk.start("calling") for _ in range(RUNS)]
    start_working(RUNS + 4)
    wait_until(lambda: slow.now == RUNS)
    quick = desk.start("quick")
    wait_until(lambda: desk.status(quick) == "completed")
    assert slow.now == slow.most == RUNS
    slow.open.set()
    wait_until(lambda: {desk.status(run) for run in calling} == {"completed"})
    assert slow.seen == RUNS


def test_what_finds_no_thread_waits_in_their_queue_and_holds_no_worker(
    desk: Desk, slow: Slow, start_working: Callable[[int], None]
) -> None:
    calling = [desk.start("calling") for _ in range(5)]
    start_working(2)
    wait_until(lambda: slow.now == 1)
    waiting = DueWork.objects.filter(queue="agents", state="ready")
    wait_until(lambda: waiting.count() == 4)
    quick = desk.start("quick")
    wait_until(lambda: desk.status(quick) == "completed")
    assert slow.now == slow.seen == 1, "the spare thread is for other tenants"
    slow.open.set()
    wait_until(lambda: {desk.status(run) for run in calling} == {"completed"})
    assert slow.seen == 5


def test_a_cancel_wins_over_an_answer_that_comes_later(
    desk: Desk, slow: Slow, start_working: Callable[[int], None]
) -> None:
    run = desk.start("calling")
    start_working(4)
    wait_until(lambda: slow.now == 1)
    desk.cancel(run)
    slow.open.set()
    wait_until(lambda: not DueWork.objects.filter(kind="workflow.run").exists())
    assert desk.status(run) == "canceled"
    with tenant_scope(desk.scope):
        steps = {row.step: row.status for row in queries.run(run).steps.all()}
    assert steps == {"call": "canceled"}


@pytest.mark.parametrize("around", ["loop", "run"])
def test_a_call_ends_with_the_time_of_what_stands_around_it(
    desk: Desk, slow: Slow, start_working: Callable[[int], None], around: str
) -> None:
    call = {
        "id": "call",
        "kind": "http_request",
        "with": {"url": slow.url},
        "retry": {"max_attempts": 1},
        "timeout": "100s",
    }
    loop = {
        "id": "loop",
        "kind": "loop",
        "with": {"until": "false"},
        "steps": [call],
        "timeout": "1s",
    }
    desk.now = timezone.now()
    limits = {"timeout": "1s"} if around == "run" else {}
    desk.publish("bounded", call if around == "run" else loop, **limits)
    start_working(4)
    run = desk.start("bounded")
    wait_until(lambda: desk.status(run) == "failed")
    with tenant_scope(desk.scope):
        error = queries.run(run).error or {}
    assert error["code"] == {"run": "run_timeout", "loop": "timeout"}[around]
    assert not slow.open.is_set()


def test_a_time_limit_ends_what_computes_in_a_thread() -> None:
    ended: list[str] = []

    def compute() -> None:
        try:
            with time_limit(0.05):
                while True:
                    pass
        except StepTimedOut:
            ended.append("timeout")

    thread = threading.Thread(target=compute, daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert ended == ["timeout"]


def test_a_time_limit_that_passes_as_the_block_ends_hits_nothing_after_it() -> None:
    ended: list[str] = []

    def finish() -> None:
        for _ in range(200):
            try:
                with time_limit(0.001):
                    time.sleep(0.001)
            except StepTimedOut:
                continue
            sum(range(100))
        ended.append("whole")

    thread = threading.Thread(target=finish, daemon=True)
    thread.start()
    thread.join(timeout=60)
    assert ended == ["whole"]
