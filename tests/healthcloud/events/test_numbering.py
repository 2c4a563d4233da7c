"""Numbers without gaps in the order of commits, proven with real concurrent transactions."""

import random
import threading
from collections.abc import Callable
from datetime import datetime

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from healthcloud.actors import Actor
from healthcloud.events import queries
from healthcloud.events.models import Event, Listener
from healthcloud.events.numbering import number_committed
from healthcloud.events.services import publish
from healthcloud.tenancy.scope import Scope, tenant_scope

COMPLETED = {"run_id": "run_1", "workflow_id": "uti_screening"}
WRITERS, READERS, EVENTS = 6, 3, 40


def in_thread(work: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_row_that_commits_late_gets_a_later_number_than_those_already_read(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    inserted, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with tenant_scope(live_tenant):
            publish(type="workflow.started", payload=COMPLETED, actor=alice_actor, now=now)
            inserted.set()
            may_commit.wait(10)

    thread = in_thread(slow)
    assert inserted.wait(10)
    with tenant_scope(live_tenant):
        publish(type="workflow.completed", payload=COMPLETED, actor=alice_actor, now=now)
    with tenant_scope(live_tenant):
        assert number_committed() == 1
    may_commit.set()
    thread.join()
    with tenant_scope(live_tenant):
        assert number_committed() == 2
        in_order = Event.objects.order_by("sequence").values_list("type", flat=True)
        assert list(in_order) == ["workflow.completed", "workflow.started"]


def test_no_reader_ever_misses_a_number_however_writers_and_readers_interleave(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    done = threading.Event()
    seen: list[list[int]] = [[] for _ in range(READERS)]

    def write(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(EVENTS):
            with tenant_scope(live_tenant):
                publish(type="workflow.started", payload=COMPLETED, actor=alice_actor, now=now)
                if chance.random() < 0.2:
                    transaction.set_rollback(True)

    def read(place: int) -> None:
        cursor, last_round = 0, False
        while not last_round:
            last_round = done.is_set()
            with tenant_scope(live_tenant):
                number_committed()
                rows = Event.objects.filter(sequence__gt=cursor).order_by("sequence")
                numbers = list(rows.values_list("sequence", flat=True))
            seen[place] += numbers
            cursor = numbers[-1] if numbers else cursor

    writers = [in_thread(lambda seed=seed: write(seed)) for seed in range(WRITERS)]
    readers = [in_thread(lambda place=place: read(place)) for place in range(READERS)]
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    with tenant_scope(live_tenant):
        count = Event.objects.count()
    assert 0 < count < WRITERS * EVENTS
    assert seen == [list(range(1, count + 1))] * READERS


def test_numbers_of_one_writer_follow_its_own_order(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    for _ in range(10):
        with tenant_scope(live_tenant):
            for _ in range(2):
                publish(type="workflow.started", payload=COMPLETED, actor=alice_actor, now=now)
    with tenant_scope(live_tenant):
        number_committed()
        rows = list(Event.objects.order_by("position").values_list("sequence", flat=True))
    assert rows == list(range(1, 21))


def test_a_reader_in_one_project_numbers_the_events_of_all(
    riverside_scope: Scope,
    riverside_referrals_scope: Scope,
    alice_actor: Actor,
    now: datetime,
) -> None:
    with tenant_scope(riverside_scope):
        publish(type="workflow.started", payload=COMPLETED, actor=alice_actor, now=now)
    with tenant_scope(riverside_referrals_scope):
        assert number_committed() == 1
        assert Event.objects.count() == 0
    with tenant_scope(riverside_scope):
        assert Event.objects.get().sequence == 1


def test_listeners_are_handed_every_event_once_whatever_fails_in_between(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    from healthcloud.events import listeners

    handed: list[str] = []
    failures = iter([True, False, False])

    def handler(ref: str, events: list[Event]) -> None:
        if next(failures):
            raise RuntimeError
        handed.extend(event.id for event in events)

    listeners.register("probe")(handler)
    with tenant_scope(live_tenant):
        listeners.attach("probe", "1")
    ids = []
    for _ in range(3):
        with tenant_scope(live_tenant):
            event = publish(type="workflow.started", payload=COMPLETED, actor=alice_actor, now=now)
            ids.append(event.id)
    for _ in range(3):
        try:
            listeners.dispatch(live_tenant)
        except RuntimeError:
            continue
    assert handed == ids
    with tenant_scope(live_tenant):
        assert Listener.objects.get().cursor == 3


def test_an_event_numbered_while_a_stream_asks_what_is_kept_never_counts_as_lost(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    """Both ends come from one statement; between two, the first event ever once vanished."""
    with tenant_scope(live_tenant):
        assert queries.kept() == queries.Kept(after=0, last=0)
        publish(type="workflow.started", payload=COMPLETED, actor=alice_actor, now=now)
    with tenant_scope(live_tenant):
        number_committed()
        with CaptureQueriesContext(connection) as statements:
            assert queries.kept() == queries.Kept(after=0, last=1)
        assert [s["sql"][:6] for s in statements.captured_queries].count("SELECT") == 1
