"""Groups of statements in a loop: awaited one by one, on connections that come and go."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg
import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection

from healthcloud.tenancy.awaiting import LoopConnections, run_awaiting
from healthcloud.tenancy.pipeline import Refused, Row, Statement
from healthcloud.tenancy.scope import LoopRun, Scope
from tests.healthcloud.conftest import live_scope, live_tenant

__all__ = ["live_scope", "live_tenant"]
pytestmark = pytest.mark.usefixtures("live_tenant")


def on_loop(work: Callable[[LoopConnections], Awaitable[Any]], *, size: int = 2) -> Any:
    """Run a coroutine with connections of its loop."""

    async def everything() -> Any:
        database = LoopConnections(size)
        try:
            return await work(database)
        finally:
            database.close()

    return asyncio.run(everything())


async def one(database: LoopConnections, sql: str, *params: object) -> list[Row]:
    """Return the rows of one statement."""
    [rows] = await database.run([Statement(sql, params)], guarded=False)
    return rows


def test_more_requests_than_connections_wait_their_turn() -> None:
    async def work(database: LoopConnections) -> Any:
        asked = (one(database, "SELECT pg_backend_pid(), %s::integer", n) for n in range(10))
        return await asyncio.gather(*asked)

    rows = on_loop(work)
    assert [row[0][1] for row in rows] == list(range(10))
    assert len({row[0][0] for row in rows}) == 2


def test_a_large_value_goes_and_comes_back() -> None:
    text = "é" * 2_000_000

    async def work(database: LoopConnections) -> Any:
        return await asyncio.gather(*(one(database, "SELECT %s::text", text) for _ in range(3)))

    assert [rows[0][0] for rows in on_loop(work)] == [text.encode()] * 3


def test_an_error_is_raised_and_the_connection_goes_on() -> None:
    async def work(database: LoopConnections) -> Any:
        first = await one(database, "SELECT pg_backend_pid()")
        with pytest.raises(psycopg.errors.DivisionByZero):
            await one(database, "SELECT 1 / %s::integer", 0)
        return first, await one(database, "SELECT pg_backend_pid()")

    first, second = on_loop(work, size=1)
    assert first == second


def test_a_guard_that_finds_nothing_refuses_the_group() -> None:
    async def work(database: LoopConnections) -> Any:
        guard = Statement("SELECT 1 WHERE false", prepare=True)
        with pytest.raises(Refused):
            await database.run([guard, Statement("SELECT 2")], guarded=True)
        return await one(database, "SELECT 3")

    assert on_loop(work) == [(3,)]


def test_a_session_that_was_ended_is_replaced() -> None:
    async def work(database: LoopConnections) -> Any:
        [[pid]] = await one(database, "SELECT pg_backend_pid()")
        with pytest.raises(psycopg.OperationalError):
            await one(database, "SELECT pg_terminate_backend(pg_backend_pid())")
        [[other]] = await one(database, "SELECT pg_backend_pid()")
        return pid, other

    pid, other = on_loop(work, size=1)
    assert pid != other


def test_a_session_that_is_ended_while_it_rests_is_replaced() -> None:
    async def work(database: LoopConnections) -> Any:
        asked = (one(database, "SELECT pg_backend_pid(), pg_sleep(0.05)") for _ in range(2))
        first, second = [rows[0][0] for rows in await asyncio.gather(*asked)]
        keeper = database._free[-1]
        victim = second if keeper.pgconn.backend_pid == first else first
        await one(database, "SELECT pg_terminate_backend(%s::integer)", victim)
        await asyncio.sleep(0.2)
        asked = (one(database, "SELECT pg_backend_pid(), pg_sleep(0.05)") for _ in range(2))
        return victim, [rows[0][0] for rows in await asyncio.gather(*asked)]

    victim, found = on_loop(work)
    assert victim not in found
    assert len(set(found)) == 2


def test_a_function_waits_for_its_statements_while_others_go_on() -> None:
    order: list[str] = []

    def slow(run: LoopRun) -> int:
        [[[number]]] = run([Statement("SELECT 1 FROM pg_sleep(0.1)")], False)
        order.append("slow")
        return int(number)

    def quick(run: LoopRun) -> int:
        [[[number]]] = run([Statement("SELECT 2")], False)
        order.append("quick")
        return int(number)

    async def work(database: LoopConnections) -> Any:
        return await asyncio.gather(*(run_awaiting(f, database) for f in (slow, quick)))

    assert on_loop(work) == [1, 2]
    assert order == ["quick", "slow"]


def test_errors_of_statements_and_of_the_function_are_its_own() -> None:
    def catches(run: LoopRun) -> str:
        try:
            run([Statement("SELECT 1 / 0")], False)
        except psycopg.errors.DivisionByZero:
            return "caught"
        return "missed"

    def raises(run: LoopRun) -> Sequence[Row]:
        raise ValueError("its own")

    async def work(database: LoopConnections) -> Any:
        caught = await run_awaiting(catches, database)
        with pytest.raises(ValueError, match="its own"):
            await run_awaiting(raises, database)
        return caught

    assert on_loop(work) == "caught"


def test_djangos_connection_refuses_to_work_in_the_loop(live_tenant: Scope) -> None:
    def asks(run: LoopRun) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    async def work(database: LoopConnections) -> Any:
        with pytest.raises(SynchronousOnlyOperation):
            await run_awaiting(asks, database)

    on_loop(work)
