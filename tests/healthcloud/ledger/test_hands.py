"""Hands: threads beside a worker's main thread, how many, for whom, and what they are given."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from unittest import mock

import pytest
from django.db import connection, transaction
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from healthcloud.ledger import claims, handlers, hands, services
from healthcloud.ledger.handlers import ClaimedWork, Done, Outcome
from healthcloud.ledger.hands import Hands
from healthcloud.ledger.models import DueWork, Queue
from healthcloud.tenancy.scope import Scope
from tests.waiting import wait_until
from tests.working import start_working

__all__ = ["start_working"]

LONG = timedelta(seconds=60)
TERMS = claims.Terms(LONG, 2)


class Gate:
    """Holds all who come until it is opened, and counts them."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.inside = 0
        self.crowded: list[bool] = []
        self._guard = threading.Lock()

    def __call__(self) -> None:
        with self._guard:
            self.inside += 1
        self.opened.wait(60)

    def turn(self, own: Hands) -> None:
        self.crowded.append(own.crowded)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setattr(hands, "_IDLE_SECONDS", 0.05)
    gate = Gate()
    yield gate
    gate.opened.set()


def test_jobs_are_done_at_once_and_some_hands_are_kept_back(gate: Gate) -> None:
    own = Hands("agents", count=8, turn=gate.turn)
    reserved = [own.reserve() for _ in range(8)]
    assert reserved == [True] * 7 + [False]
    for _ in range(7):
        own.lend(gate)
    wait_until(lambda: gate.inside == 7)
    assert not own.reserve()
    own.call()
    wait_until(lambda: True in gate.crowded)
    assert False not in gate.crowded
    gate.opened.set()
    assert own.wait(LONG)
    assert own.reserve()


def test_a_hand_that_is_let_go_can_be_reserved_again(gate: Gate) -> None:
    own = Hands("agents", count=2, turn=gate.turn)
    assert own.reserve()
    assert not own.reserve()
    own.let_go()
    assert own.reserve()


def test_after_a_job_the_hand_looks_into_its_queue(gate: Gate) -> None:
    own = Hands("agents", count=2, turn=gate.turn)
    assert own.reserve()
    gate.opened.set()
    own.lend(gate)
    wait_until(lambda: False in gate.crowded)


def _fail() -> None:
    raise ValueError("a job that fails")


def test_a_job_that_fails_harms_no_other(gate: Gate) -> None:
    own = Hands("agents", count=2, turn=gate.turn)
    gate.opened.set()
    for _ in range(3):
        wait_until(own.reserve)
        own.lend(_fail)
    wait_until(own.reserve)
    own.lend(gate)
    wait_until(lambda: gate.inside == 1)


def _ask(scope: Scope, *refs: str) -> None:
    for ref in refs:
        services.enqueue(scope=scope, kind="test.work", ref=ref, queue=Queue.STEPS)


def _move(work: ClaimedWork, *, keep: bool) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT public.ledger_move(%s, %s, %s, %s)", [work.id, work.token, "agents", keep]
        )
        return bool(cursor.fetchone()[0])


def test_what_a_tenant_holds_in_one_queue_leaves_its_place_in_another(
    riverside_scope: Scope,
) -> None:
    _ask(riverside_scope, "a", "b", "c", "d")
    for _ in range(2):
        work = claims.claim("steps", after="", terms=TERMS)
        assert work is not None
        assert _move(work, keep=True)
    held = claims.claim("steps", after="", terms=TERMS)
    assert held is not None
    assert claims.claim("agents", after="", terms=TERMS) is None
    assert DueWork.objects.filter(queue="agents", state="running").count() == 2
    assert _move(held, keep=False)
    assert claims.claim("agents", after="", terms=TERMS) is None, "two are held there, the cap"
    other = claims.claim("agents", after="", terms=claims.Terms(LONG, 3))
    assert other is not None
    assert other.ref == held.ref
    assert other.token > held.token


def test_only_who_holds_the_work_moves_it(riverside_scope: Scope) -> None:
    _ask(riverside_scope, "a")
    work = claims.claim("steps", after="", terms=TERMS)
    assert work is not None
    assert claims.release(work, due_at=work.now, error="") is True
    assert not _move(work, keep=True)
    assert DueWork.objects.get().queue == "steps"


def test_work_that_waits_again_goes_back_to_its_queue(riverside_scope: Scope) -> None:
    _ask(riverside_scope, "a")
    work = claims.claim("steps", after="", terms=TERMS)
    assert work is not None
    assert _move(work, keep=True)
    claims.release(work, due_at=work.now, error="", queue="steps")
    assert DueWork.objects.get().queue == "steps"


def test_a_locked_row_is_not_waited_for_and_not_lost(live_tenant: Scope) -> None:
    _ask(live_tenant, "a", "b")
    works = [claims.claim("steps", after="", terms=TERMS) for _ in range(2)]
    first, second = (work for work in works if work is not None)
    answers: list[dict[int, bool]] = []

    def beat() -> None:
        answers.append(claims.extend([(first, False), (second, False)], lease=LONG))
        connection.close()

    with transaction.atomic():
        list(DueWork.objects.select_for_update().filter(id=first.id))
        thread = threading.Thread(target=beat)
        thread.start()
        thread.join(timeout=60)
    assert answers == [{first.id: False, second.id: True}]


class Blocked:
    """A handler that ends its first piece only when it is let, all others at once."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun: list[str] = []
        self.ended: list[str] = []

    def __call__(self, work: ClaimedWork) -> Outcome:
        self.begun.append(work.ref)
        if work.ref == "long":
            self.go.wait(120)
        self.ended.append(work.ref)
        return Done()


def test_what_a_dead_worker_left_is_taken_over_while_the_main_thread_is_long_at_something(
    live_tenant: Scope, start_working: Callable[[int], None]
) -> None:
    blocked = Blocked()
    registration = handlers.Registration("test.work", "steps", blocked)
    with mock.patch.dict(handlers._registry, {"test.work": registration}):
        _ask(live_tenant, "long")
        start_working(4)
        wait_until(lambda: blocked.begun == ["long"])
        _ask(live_tenant, "left")
        DueWork.objects.filter(ref="left").update(
            state="running", lease_until=Now(), token=RawSQL("nextval('public.ledger_token')", [])
        )
        wait_until(lambda: blocked.ended == ["left"])
        blocked.go.set()
        wait_until(lambda: not DueWork.objects.filter(kind="test.work").exists())
    assert blocked.ended == ["left", "long"]
