"""The worker loop: handlers, retries, dead letters, leases that are lost; the sweeper; the bell."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from unittest import mock

import pytest
from django.db import connection
from django.utils import timezone
from kombu.exceptions import OperationalError

from healthcloud.ledger import claims, doorbell, handlers, sweeper, worker
from healthcloud.ledger.backoff import full_jitter
from healthcloud.ledger.handlers import ClaimedWork, Done, GiveUp, LeaseLost, Outcome, RetryAt
from healthcloud.ledger.heartbeat import Heartbeat
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import Scope
from tests.waiting import wait_until

KIND = "test.work"


class Scripted:
    """A handler that answers what it is told to, and remembers what it was given."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome | Exception] = []
        self.seen: list[ClaimedWork] = []
        self.dead: list[str] = []

    def __call__(self, work: ClaimedWork) -> Outcome:
        self.seen.append(work)
        outcome = self.outcomes.pop(0) if self.outcomes else Done()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """The handler of `test.work`, with three attempts."""
    scripted = Scripted()
    registration = handlers.Registration(
        KIND, "control", scripted, lambda work, error: scripted.dead.append(error), 3
    )
    with mock.patch.dict(handlers._registry, {KIND: registration}):
        yield scripted


def ask(scope: Scope, ref: str = "run_1") -> DueWork:
    enqueue(scope=scope, kind=KIND, ref=ref)
    return DueWork.objects.get(kind=KIND, ref=ref)


def run(**options: object) -> int:
    return worker.run_until_idle(["control"], raising=False, **options)  # type: ignore[arg-type]


def test_finished_work_is_gone(riverside_scope: Scope, handler: Scripted) -> None:
    ask(riverside_scope)
    assert run() == 1
    assert handler.seen[0].scope == riverside_scope
    assert not DueWork.objects.exists()


def test_an_error_is_retried_later_and_named_by_its_type_only(
    riverside_scope: Scope,
    handler: Scripted,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The jitter may be next to nothing, and a busy machine would come to the retry at once.
    monkeypatch.setattr(worker, "full_jitter", lambda attempt: timedelta(minutes=1))
    handler.outcomes = [RuntimeError("patient Ann Lee")]
    ask(riverside_scope)
    assert run() == 1
    work = DueWork.objects.get()
    assert (work.state, work.attempts, work.last_error) == ("ready", 1, "RuntimeError")
    assert "Ann" not in caplog.text
    assert run(ahead=timedelta(minutes=10)) == 1
    assert not DueWork.objects.exists()


def test_work_that_fails_too_often_is_a_dead_letter_and_its_owner_is_told(
    riverside_scope: Scope, handler: Scripted
) -> None:
    handler.outcomes = [RuntimeError(), RuntimeError(), RuntimeError()]
    ask(riverside_scope)
    for hours in range(4):
        run(ahead=timedelta(hours=hours))
    assert [work.attempt for work in handler.seen] == [1, 2, 3]
    assert handler.dead == ["RuntimeError"]
    assert DueWork.objects.get().state == "dead"


def test_work_whose_workers_die_is_given_up(riverside_scope: Scope, handler: Scripted) -> None:
    ask(riverside_scope)
    DueWork.objects.update(attempts=3)
    run()
    assert handler.seen == []
    assert handler.dead == ["worker_lost"]


def test_waiting_is_no_failure(riverside_scope: Scope, handler: Scripted) -> None:
    ask(riverside_scope)
    for _ in range(5):
        handler.outcomes = [RetryAt(DueWork.objects.get().created_at)]
        worker.run_until_idle(["control"], limit=5)
        ask(riverside_scope)
    assert handler.dead == []


def test_giving_up_buries_at_once(riverside_scope: Scope, handler: Scripted) -> None:
    handler.outcomes = [GiveUp("no_such_webhook")]
    ask(riverside_scope)
    run()
    assert (DueWork.objects.get().state, handler.dead) == ("dead", ["no_such_webhook"])


def test_work_of_an_unknown_kind_is_kept_for_a_worker_that_knows_it(
    riverside_scope: Scope,
) -> None:
    enqueue(scope=riverside_scope, kind="test.unknown", ref="x")
    worker.run_until_idle(["control"], raising=False)
    assert (DueWork.objects.get().state, DueWork.objects.get().last_error) == (
        "ready",
        "UnknownKind",
    )


def test_what_a_dead_worker_left_comes_before_what_fell_due_meanwhile(
    riverside_scope: Scope, handler: Scripted
) -> None:
    left = ask(riverside_scope, "left")
    for number in range(3):
        ask(riverside_scope, f"later_{number}")
    moment = left.due_at + timedelta(seconds=1)
    DueWork.objects.exclude(id=left.id).update(due_at=moment)
    terms = claims.Terms(timedelta(seconds=10), tenant_cap=64, ahead=timedelta(seconds=20))
    dead = claims.claim("control", after="", terms=terms)
    assert dead is not None
    assert dead.ref == "left"
    DueWork.objects.filter(id=left.id).update(lease_until=moment + timedelta(seconds=5))
    taken = claims.claim("control", after="", terms=terms)
    assert taken is not None
    assert (taken.ref, taken.attempt) == ("left", 2)


def test_work_that_one_does_for_all_is_taken_along(
    riverside_scope: Scope, handler: Scripted
) -> None:
    for ref in ("71", "72", "73", "sweep"):
        ask(riverside_scope, ref)
    later = timezone.now() + timedelta(hours=1)
    enqueue(scope=riverside_scope, kind=KIND, ref="74", due_at=later)
    terms = claims.Terms(timedelta(seconds=10), tenant_cap=64)
    work = claims.claim("control", after="", terms=terms)
    assert work is not None
    assert claims.absorb(work) == 2
    left = DueWork.objects.order_by("id").values_list("ref", "state")
    assert list(left) == [("71", "running"), ("sweep", "ready"), ("74", "ready")]


def test_lost_work_is_not_settled(riverside_scope: Scope, handler: Scripted) -> None:
    handler.outcomes = [LeaseLost()]
    ask(riverside_scope)
    assert run() == 1
    assert DueWork.objects.get().state == "running"


def test_two_handlers_of_one_kind_are_refused() -> None:
    def one(work: ClaimedWork) -> Outcome:
        return Done()

    def two(work: ClaimedWork) -> Outcome:
        return Done()

    with mock.patch.dict(handlers._registry):
        handlers.register("test.twice")(one)
        with pytest.raises(ValueError, match="already has the handler"):
            handlers.register("test.twice")(two)
        with pytest.raises(ValueError, match="unknown queue"):
            handlers.register("test.other", "fast")


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 0.5), (2, 1.0), (5, 8.0), (40, 300.0)])
def test_the_wait_before_a_retry_doubles_up_to_its_cap(attempt: int, ceiling: float) -> None:
    assert full_jitter(attempt, chance=1.0) == timedelta(seconds=ceiling)
    assert full_jitter(attempt, chance=0.0) == timedelta(0)


def test_a_heartbeat_keeps_the_lease_of_long_work(live_tenant: Scope, handler: Scripted) -> None:
    ask(live_tenant)
    lease = timedelta(seconds=3)
    work = claims.claim("control", after="", terms=claims.Terms(lease, 64))
    assert work is not None
    leased = DueWork.objects.get().lease_until
    with Heartbeat(lease) as heartbeat:
        heartbeat.watch(work)
        wait_until(lambda: DueWork.objects.get().lease_until != leased)
        other = claims.claim("control", after="", terms=claims.Terms(lease, 64))
        assert other is None
        assert not work.lease.lost


def test_a_heartbeat_notices_that_the_work_is_in_other_hands(live_tenant: Scope) -> None:
    ask(live_tenant)
    terms = claims.Terms(timedelta(seconds=0.6), 64)
    work = claims.claim("control", after="", terms=terms)
    assert work is not None
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_duework SET token = nextval('public.ledger_token')")
    with Heartbeat(terms.lease) as heartbeat:
        heartbeat.watch(work)
        wait_until(lambda: work.lease.lost)
    with pytest.raises(LeaseLost):
        work.lease.check()


def test_many_workers_do_each_piece_once(live_tenant: Scope, handler: Scripted) -> None:
    for number in range(60):
        ask(live_tenant, f"run_{number}")

    def drain() -> None:
        worker.drain(["control"], limit=100)
        connection.close()

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    refs = [work.ref for work in handler.seen]
    assert sorted(refs) == sorted(f"run_{number}" for number in range(60))
    assert not DueWork.objects.filter(environment_id=live_tenant.environment_id).exists()


def test_the_sweeper_rings_once_for_each_worker_that_could_help(riverside_scope: Scope) -> None:
    ask(riverside_scope)
    ask(riverside_scope, "run_2")
    with mock.patch.object(doorbell, "ring", return_value=True) as ring:
        assert sweeper.sweep() == 2
    assert {call.args for call in ring.call_args_list} == {("control",)}


def test_the_sweeper_tells_what_was_left_by_call_and_by_message(riverside_scope: Scope) -> None:
    ask(riverside_scope)
    DueWork.objects.update(state="running", lease_until=timezone.now() - timedelta(seconds=0.1))
    with (
        mock.patch.object(sweeper.wake, "call", return_value=True) as call,
        mock.patch.object(doorbell, "send", return_value=True) as send,
    ):
        assert sweeper.sweep() == 2
    assert [c.args for c in call.call_args_list] == [("control",)]
    assert [c.args for c in send.call_args_list] == [("control",)]


def test_the_sweeper_sleeps_until_the_next_timer(riverside_scope: Scope) -> None:
    stopping = mock.Mock(is_set=mock.Mock(side_effect=[False, True]))
    with mock.patch.object(sweeper.queries, "seconds_to_next", return_value=0.2):
        sweeper.sweep_forever(stopping)
    stopping.wait.assert_called_once_with(0.2)


def test_a_broker_that_is_down_is_logged_and_not_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(doorbell._broker, "silent_until", 0.0)
    with mock.patch.object(doorbell, "current_app") as app:
        app.send_task.side_effect = OperationalError
        assert doorbell.ring("control") is False
        assert doorbell.ring("control") is False
        assert app.send_task.call_count == 1


def test_a_backlog_of_one_queue_does_not_hold_up_what_comes_in_another(
    riverside_scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def handle(work: ClaimedWork) -> Done:
        if not done:  # when `control` has been looked into already
            enqueue(scope=riverside_scope, kind="test.first", ref="urgent", queue="control")
        done.append(work.ref)
        return Done()

    for kind, queue in (("test.first", "control"), ("test.many", "steps")):
        registration = handlers.Registration(kind, queue, handle)
        monkeypatch.setitem(handlers._registry, kind, registration)
    for number in range(50):
        enqueue(scope=riverside_scope, kind="test.many", ref=str(number), queue="steps")
    assert worker.drain(["control", "steps"], limit=100) == 51
    assert done.index("urgent") <= 20


def test_the_doorbell_carries_the_name_of_the_queue_only(
    riverside_scope: Scope,
    handler: Scripted,
    django_capture_on_commit_callbacks: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(doorbell._broker, "silent_until", 0.0)
    with (
        mock.patch.object(doorbell, "current_app") as app,
        django_capture_on_commit_callbacks(execute=True),  # type: ignore[operator]
    ):
        ask(riverside_scope)
    (call,) = app.send_task.call_args_list
    assert call.args == ("ledger.drain",)
    assert call.kwargs["kwargs"] == {"queue": "control"}
