"""The connection: a scope costs one round trip to enter, and a dead connection is noticed."""

from dataclasses import replace
from unittest import mock

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from psycopg.pq import TransactionStatus

from healthcloud.events.models import Listener
from healthcloud.tenancy.batch import send_later
from healthcloud.tenancy.owner import owner_connection
from healthcloud.tenancy.scope import Scope, tenant_scope


def ask(statement: str) -> tuple[object, ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return tuple(cursor.fetchone())


def status() -> TransactionStatus:
    return TransactionStatus(connection.connection.info.transaction_status)


def test_a_scope_begins_with_its_first_statement(live_tenant: Scope) -> None:
    with tenant_scope(live_tenant):
        assert status() == TransactionStatus.IDLE  # nothing was sent yet
        assert ask("SELECT current_user, current_schema()") == (live_tenant.schema,) * 2
        assert status() == TransactionStatus.INTRANS
    assert status() == TransactionStatus.IDLE
    assert ask("SELECT current_user, current_schema()") == (
        settings.DATABASE_APPLICATION["USER"],
        "public",
    )


def test_a_readonly_scope_refuses_writes(live_tenant: Scope) -> None:
    with tenant_scope(live_tenant, readonly=True), pytest.raises(DatabaseError, match="read-only"):
        ask("INSERT INTO events_listener DEFAULT VALUES RETURNING 1")
    assert ask("SELECT current_setting('transaction_read_only')") == ("off",)


def test_a_context_that_cannot_be_set_leaves_no_transaction(live_tenant: Scope) -> None:
    gone = replace(live_tenant, schema="t_nobody")
    with pytest.raises(DatabaseError, match="t_nobody"), tenant_scope(gone):
        ask("SELECT 1")
    assert status() == TransactionStatus.IDLE
    assert ask("SELECT current_user") == (settings.DATABASE_APPLICATION["USER"],)


def test_a_scope_in_which_nothing_is_asked_costs_nothing(live_tenant: Scope) -> None:
    ask("SELECT 1")
    with mock.patch.object(connection, "connection") as session:
        session.info.transaction_status = TransactionStatus.IDLE
        with tenant_scope(live_tenant):
            pass
    assert not session.cursor.called


def test_what_is_sent_later_goes_with_the_commit(live_tenant: Scope) -> None:
    told: list[tuple[object, ...]] = []
    with tenant_scope(live_tenant):
        send_later("SELECT %s, '100%%'", ["first"], then=told.extend)
        send_later("SELECT current_user::text", [], then=told.extend)
        assert status() == TransactionStatus.IDLE
        assert told == []
    assert told == [("first", "100%"), (live_tenant.schema,)]
    assert status() == TransactionStatus.IDLE


def test_what_is_sent_later_goes_before_the_next_statement(live_tenant: Scope) -> None:
    with tenant_scope(live_tenant):
        send_later("CREATE TEMPORARY TABLE noted (value int) ON COMMIT DROP", [])
        send_later("INSERT INTO noted VALUES (%s)", [7])
        assert ask("SELECT value FROM noted WHERE '%' = '%'") == (7,)


def test_an_error_of_what_was_sent_later_undoes_the_transaction(live_tenant: Scope) -> None:
    def fail() -> None:
        with tenant_scope(live_tenant):
            Listener.objects.create(name="kept", cursor=0)
            send_later("INSERT INTO events_listener DEFAULT VALUES", [])

    with pytest.raises(DatabaseError, match="null value"):
        fail()
    assert status() == TransactionStatus.IDLE
    with tenant_scope(live_tenant):
        assert not Listener.objects.filter(name="kept").exists()


def test_what_was_to_be_sent_is_forgotten_with_its_savepoint(live_tenant: Scope) -> None:
    told: list[tuple[object, ...]] = []

    def fail() -> None:
        with transaction.atomic():
            send_later("SELECT 1", [], then=told.extend)
            raise LookupError

    with tenant_scope(live_tenant):
        ask("SELECT 1")
        with pytest.raises(LookupError):
            fail()
        assert ask("SELECT 2") == (2,)
    assert told == []


@pytest.mark.parametrize("rested", [0.0, 60.0])
def test_a_connection_that_the_server_ended_is_replaced(live_tenant: Scope, rested: float) -> None:
    (pid,) = ask("SELECT pg_backend_pid()")
    with owner_connection() as owner, owner.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    connection._used_at -= rested
    connection.close_if_unusable_or_obsolete()  # as between two requests
    with tenant_scope(live_tenant):
        assert ask("SELECT pg_backend_pid()") != (pid,)
