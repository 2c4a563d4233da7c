"""The connection: a scope costs one round trip to enter, and a dead connection is noticed."""

from dataclasses import replace

import pytest
from django.conf import settings
from django.db import DatabaseError, connection
from psycopg.pq import TransactionStatus

from healthcloud.tenancy.owner import owner_connection
from healthcloud.tenancy.scope import Scope, tenant_scope


def ask(statement: str) -> tuple[object, ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return tuple(cursor.fetchone())


def status() -> TransactionStatus:
    return TransactionStatus(connection.connection.info.transaction_status)


def test_an_outermost_scope_begins_with_its_context(live_tenant: Scope) -> None:
    with tenant_scope(live_tenant):
        assert status() == TransactionStatus.INTRANS  # before any statement
        assert ask("SELECT current_user, current_schema()") == (live_tenant.schema,) * 2
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
        pass
    assert status() == TransactionStatus.IDLE
    assert ask("SELECT current_user") == (settings.DATABASE_APPLICATION["USER"],)


@pytest.mark.parametrize("rested", [0.0, 60.0])
def test_a_connection_that_the_server_ended_is_replaced(live_tenant: Scope, rested: float) -> None:
    (pid,) = ask("SELECT pg_backend_pid()")
    with owner_connection() as owner, owner.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    connection._used_at -= rested
    connection.close_if_unusable_or_obsolete()  # as between two requests
    with tenant_scope(live_tenant):
        assert ask("SELECT pg_backend_pid()") != (pid,)
