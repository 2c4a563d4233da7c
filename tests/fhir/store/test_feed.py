"""The change feed: commit order, nothing missed, nothing uncommitted."""

import threading
import time
from datetime import datetime

import pytest
from django.db import connection

from fhir import store
from fhir.feed import Position, changes
from healthcloud.actors import Actor
from healthcloud.tenancy.owner import owner_connection
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant

__all__ = ["live_scope", "live_tenant"]


def ids(scope: Scope, after: Position = Position()) -> list[str]:  # noqa: B008  # frozen
    with tenant_scope(scope):
        return [change.id for change in changes(after=after)]


def ids_soon(scope: Scope, wanted: list[str], after: Position = Position()) -> list[str]:  # noqa: B008
    """Wait for the feed: it stands still while an older transaction runs in any database.

    Where another program's database on the same server keeps one open for long, the test says so.
    """
    deadline = time.monotonic() + 20
    while (found := ids(scope, after)) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    if found != wanted and _is_held_up():
        pytest.skip("another database of this server holds a transaction open")
    return found


def _is_held_up() -> bool:
    with owner_connection() as owner, owner.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
            " AND datname <> current_database() AND xact_start < now() - interval '10 seconds'"
        )
        return bool(cursor.fetchone()[0])


def create(scope: Scope, rid: str, actor: Actor, now: datetime) -> None:
    with tenant_scope(scope):
        store.create(
            resource={"resourceType": "Patient"},
            resource_type="Patient",
            id=rid,
            actor=actor,
            now=now,
        )


def test_a_slow_writer_is_not_overtaken(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    written, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        try:
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
        finally:
            connection.close()

    create(live_tenant, "first", alice_actor, now)
    thread = threading.Thread(target=slow)
    thread.start()
    written.wait(timeout=30)
    create(live_tenant, "fast", alice_actor, now)
    before = ids(live_tenant)
    may_commit.set()
    thread.join(timeout=30)
    assert before in ([], ["first"])
    wanted = ["first", "slow", "fast"]
    assert ids_soon(live_tenant, wanted) == wanted


def test_a_reader_continues_where_it_was(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    for rid in ("a", "b"):
        create(live_tenant, rid, alice_actor, now)
    assert ids_soon(live_tenant, ["a", "b"]) == ["a", "b"]
    with tenant_scope(live_tenant):
        [first] = changes(after=Position(), limit=1)
    assert (first.id, first.version, first.method, first.resource_type) == (
        "a",
        1,
        "POST",
        "Patient",
    )
    assert ids(live_tenant, first.position) == ["b"]


def test_what_is_not_committed_is_not_in_the_feed(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    store.create(
        resource={"resourceType": "Patient"}, resource_type="Patient", actor=alice_actor, now=now
    )
    assert changes(after=Position()) == []
