"""The change feed: commit order, nothing missed, nothing twice, nothing uncommitted."""

import random
import threading
from collections.abc import Callable, Sequence
from datetime import datetime

import pytest
from django.db import connection, transaction

from fhir import consumers, store
from fhir.feed import Change, changes, contents, last_change, number_changes
from fhir.sql import fetch
from healthcloud.actors import Actor
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant

__all__ = ["live_scope", "live_tenant"]

WRITERS, READERS, WRITES = 5, 3, 20


def create(scope: Scope, rid: str, actor: Actor, now: datetime) -> None:
    with tenant_scope(scope):
        store.create(
            resource={"resourceType": "Patient"},
            resource_type="Patient",
            id=rid,
            actor=actor,
            now=now,
        )


def ids(scope: Scope, after: int = 0) -> list[str]:
    with tenant_scope(scope):
        number_changes()
        return [change.id for change in changes(after=after)]


def in_thread(work: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_slow_writer_holds_nobody_up_and_is_not_overtaken(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    written, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with tenant_scope(live_tenant):
            store.create(
                resource={"resourceType": "Patient"},
                resource_type="Patient",
                id="slow",
                actor=alice_actor,
                now=now,
            )
            written.set()
            may_commit.wait(timeout=30)

    create(live_tenant, "first", alice_actor, now)
    thread = in_thread(slow)
    assert written.wait(timeout=30)
    create(live_tenant, "fast", alice_actor, now)
    assert ids(live_tenant) == ["first", "fast"]
    may_commit.set()
    thread.join(timeout=30)
    assert ids(live_tenant) == ["first", "fast", "slow"]


def test_no_reader_misses_a_number_however_writers_and_readers_interleave(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    done = threading.Event()
    seen: list[list[tuple[int, str]]] = [[] for _ in range(READERS)]

    def write(seed: int) -> None:
        chance = random.Random(seed)
        for place in range(WRITES):
            with tenant_scope(live_tenant):
                store.create(
                    resource={"resourceType": "Patient"},
                    resource_type="Patient",
                    id=f"p{seed}-{place}",
                    actor=alice_actor,
                    now=now,
                )
                if chance.random() < 0.2:
                    transaction.set_rollback(True)

    def read(place: int) -> None:
        cursor, last_round = 0, False
        while not last_round:
            last_round = done.is_set()
            with tenant_scope(live_tenant):
                number_changes()
                found = [(change.number, change.id) for change in changes(after=cursor)]
            seen[place] += found
            cursor = found[-1][0] if found else cursor

    writers = [in_thread(lambda seed=seed: write(seed)) for seed in range(WRITERS)]
    readers = [in_thread(lambda place=place: read(place)) for place in range(READERS)]
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    with tenant_scope(live_tenant):
        [(count,)] = fetch("SELECT count(*) FROM fhir_history")
    assert 0 < count < WRITERS * WRITES
    assert [number for number, _ in seen[0]] == list(range(1, count + 1))
    assert seen[1] == seen[0]
    assert seen[2] == seen[0]


def test_a_reader_continues_where_it_was(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    for rid in ("a", "b"):
        create(in_riverside, rid, alice_actor, now)
    number_changes()
    [first] = changes(after=0, limit=1)
    assert (first.id, first.version, first.method, first.resource_type, first.interaction) == (
        "a",
        1,
        "POST",
        "Patient",
        "create",
    )
    [second] = changes(after=first.number)
    assert second.id == "b"
    assert b'"id":"b"' in (contents([second])[second.number] or b"")
    assert number_changes() == last_change() == 2


def test_a_project_sees_its_own_changes_only(
    riverside_scope: Scope, riverside_referrals_scope: Scope, alice_actor: Actor, now: datetime
) -> None:
    create(riverside_scope, "a", alice_actor, now)
    assert ids(riverside_referrals_scope) == []
    assert ids(riverside_scope) == ["a"]


def test_a_database_restored_on_another_server_goes_on_numbering(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    create(live_tenant, "before", alice_actor, now)
    assert ids(live_tenant) == ["before"]
    with tenant_scope(live_tenant):
        fetch("UPDATE fhir_feed_state SET seen = '900000000000:900000000000:', own = '1'")
    create(live_tenant, "after", alice_actor, now)
    assert ids(live_tenant) == ["before", "after"]


@pytest.fixture
def handed() -> list[Change]:
    """What a consumer of the kind `probe` was handed."""
    found: list[Change] = []

    def handler(ref: str, batch: Sequence[Change]) -> None:
        found.extend(batch)

    consumers.register("probe")(handler)
    return found


def test_a_consumer_is_handed_what_is_written_after_it_came_and_nothing_before(
    empty_ledger: None, in_riverside: Scope, alice_actor: Actor, now: datetime, handed: list[Change]
) -> None:
    create(in_riverside, "before", alice_actor, now)
    consumers.attach("probe", "1")
    create(in_riverside, "after", alice_actor, now)
    run_until_idle()
    assert [change.reference for change in handed] == ["Patient/after"]
    run_until_idle()
    assert len(handed) == 1
    consumers.detach("probe", "1")
    create(in_riverside, "later", alice_actor, now)
    run_until_idle()
    assert len(handed) == 1


def test_a_write_asks_for_no_work_where_nobody_waits(
    empty_ledger: None, in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    create(in_riverside, "alone", alice_actor, now)
    assert run_until_idle() == 0


def test_changes_are_handed_once_whatever_fails_in_between(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    handed: list[str] = []
    failures = iter([True, False, False])

    def handler(ref: str, batch: Sequence[Change]) -> None:
        if next(failures):
            raise RuntimeError
        handed.extend(change.id for change in batch)

    consumers.register("failing")(handler)
    with tenant_scope(live_tenant):
        consumers.attach("failing", "1")
    for rid in ("a", "b", "c"):
        create(live_tenant, rid, alice_actor, now)
    with pytest.raises(RuntimeError):
        consumers.dispatch(live_tenant)
    consumers.dispatch(live_tenant)
    consumers.dispatch(live_tenant)
    assert handed == ["a", "b", "c"]


def test_numbers_that_all_are_past_are_forgotten_and_never_given_again(
    live_tenant: Scope, alice_actor: Actor, now: datetime, handed: list[Change]
) -> None:
    with tenant_scope(live_tenant):
        consumers.attach("probe", "1")
    create(live_tenant, "a", alice_actor, now)
    consumers.dispatch(live_tenant)
    with tenant_scope(live_tenant):  # a later snapshot, which sees what was numbered
        number_changes()
    consumers.purge(live_tenant)
    with tenant_scope(live_tenant):
        assert changes(after=0) == []
    create(live_tenant, "b", alice_actor, now)
    consumers.dispatch(live_tenant)
    assert [change.id for change in handed] == ["a", "b"]
