"""Roles belong to the whole server: databases that are prepared at once don't trip each other."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic

import psycopg
import pytest
from django.conf import settings
from psycopg import sql

from healthcloud.tenancy import roles
from healthcloud.tenancy.owner import owner_connection


@contextmanager
def another_database() -> Iterator[psycopg.Connection]:
    """Connect as the owner to the maintenance database: its advisory locks are its own."""
    owner = settings.DATABASE_OWNER
    with psycopg.connect(
        host=owner["HOST"],
        port=owner["PORT"],
        user=owner["USER"],
        password=owner["PASSWORD"],
        dbname="postgres",
    ) as connection:
        yield connection


def prepare() -> int:
    with owner_connection() as owner:
        roles.prepare_database(owner)
        with owner.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_roles WHERE rolname = ANY(%s)",
                [[settings.DATABASE_APPLICATION["USER"], settings.TENANT_GROUP_ROLE]],
            )
            return int(cursor.fetchone()[0])


def wait_until_blocked_by(connection: psycopg.Connection) -> None:
    deadline = monotonic() + 20
    with another_database() as watch:
        watch.autocommit = True
        statement = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
        while monotonic() < deadline:
            blocked = watch.execute(statement, [connection.info.backend_pid]).fetchone()
            if blocked is not None and blocked[0]:
                return
    raise TimeoutError("nobody waits for the other database's change")


@pytest.mark.django_db
def test_a_role_that_another_database_changes_meanwhile_is_changed_again() -> None:
    login = settings.DATABASE_APPLICATION
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
        sql.Identifier(login["USER"]), sql.Literal(login["PASSWORD"])
    )
    with another_database() as other, ThreadPoolExecutor() as pool:
        other.execute(statement)
        prepared = pool.submit(prepare)
        wait_until_blocked_by(other)
        other.commit()
        assert prepared.result(timeout=20) == 2


def test_a_role_that_may_not_be_created_is_an_error(db: None) -> None:
    with owner_connection() as owner, owner.cursor() as cursor:
        cursor.execute(
            sql.SQL("SET ROLE {}").format(sql.Identifier(settings.DATABASE_APPLICATION["USER"]))
        )
        with pytest.raises(Exception, match="permission denied"):
            roles._create_role(owner, "t_not_mine", "NOLOGIN")
        cursor.execute("RESET ROLE")
        assert not roles._role_exists(owner, "t_not_mine")
