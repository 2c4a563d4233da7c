"""Connections of an event loop: a group of statements is awaited, and no thread waits with it.

Handing a request to a thread and back, and the threads' turns at the interpreter, cost more than a
short request does. `run_awaiting` runs a function in the loop's own thread and lets it wait for
its statements as a coroutine would: the function is written as any other, and gives way to other
requests where it calls `execute` (`docs/decisions/0140`).
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar, cast

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from greenlet import getcurrent, greenlet
from psycopg import pq

from healthcloud.tenancy.backend.base import DatabaseWrapper
from healthcloud.tenancy.joining import Joining
from healthcloud.tenancy.pipeline import Row, Session, Statement, bind, send
from healthcloud.tenancy.scope import Joint, LoopRun

Result = TypeVar("Result")
_GONE: Final = "the server closed the connection"


class LoopConnection:
    """A connection that a loop watches; it carries one group of statements at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wrapper: DatabaseWrapper) -> None:
        self.loop = loop
        self.wrapper = wrapper
        self.session = Session(wrapper.connection)
        self.pgconn = self.session.connection.pgconn
        self.made_at = time.monotonic()
        self.broken = False
        self._results: list[pq.abc.PGresult] = []
        self._waiter: asyncio.Future[None] | None = None
        self._socket = self.pgconn.socket
        self.pgconn.nonblocking = 1
        self.pgconn.enter_pipeline_mode()
        loop.add_reader(self._socket, self._read)

    async def run(self, statements: Sequence[Statement], *, guarded: bool) -> list[list[Row]]:
        """Run statements as `pipeline.run` does."""
        bound = bind(statements)
        self._results = []
        waiter = self._waiter = self.loop.create_future()
        try:
            group = send(self.session, statements, bound)
            self._write()
            await waiter
        except BaseException:
            self.broken = True  # whatever it still answers belongs to nobody
            raise
        finally:
            self._waiter = None
        return group.rows(self.session, self._results, guarded=guarded)

    def close(self) -> None:
        """Stop watching, and end the session."""
        self.broken = True
        with suppress(Exception):  # a socket that is gone can't be watched
            self.loop.remove_reader(self._socket)
            self.loop.remove_writer(self._socket)
        self.pgconn.finish()

    def _write(self) -> None:
        if self.pgconn.flush():  # a large body: the rest once the socket takes it
            self.loop.add_writer(self._socket, self._write_rest)

    def _write_rest(self) -> None:
        try:
            self.pgconn.consume_input()
            if not self.pgconn.flush():
                self.loop.remove_writer(self._socket)
        except psycopg.Error as error:
            self._fail(error)

    def _read(self) -> None:
        try:
            self.pgconn.consume_input()
            while self._waiter is not None and not self.pgconn.is_busy():
                if self._take(self.pgconn.get_result()):
                    return
        except psycopg.Error as error:
            self._fail(error)

    def _take(self, result: pq.abc.PGresult | None) -> bool:
        """Keep a result; return whether it was the last of the group."""
        if result is None:  # the end of one statement's results
            if self.pgconn.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError(_GONE)
            return False
        if result.status != pq.ExecStatus.PIPELINE_SYNC:
            self._results.append(result)
            return False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        return True

    def _fail(self, error: psycopg.Error) -> None:
        self.broken = True
        with suppress(Exception):
            self.loop.remove_reader(self._socket)
            self.loop.remove_writer(self._socket)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


@dataclass(slots=True)
class LoopConnections:
    """At most `size` connections of one loop; who finds none free waits in the order of coming."""

    size: int
    _free: list[LoopConnection] = field(default_factory=list)
    _waiting: deque[asyncio.Future[LoopConnection | None]] = field(default_factory=deque)
    _count: int = 0
    _joining: Joining = field(init=False)

    def __post_init__(self) -> None:
        self._joining = Joining(self.run)

    async def join(self, entering: Statement, joint: Joint) -> list[Row]:
        """Do a piece of work with those that wait beside it; return the rows of all of them."""
        return await self._joining.join(entering, joint)

    async def run(self, statements: Sequence[Statement], *, guarded: bool) -> list[list[Row]]:
        """Run statements in one round trip on a free connection, as `pipeline.run` does."""
        chosen = await self._take()
        try:
            return await chosen.run(statements, guarded=guarded)
        finally:
            self._give_back(chosen)

    async def _take(self) -> LoopConnection:
        while True:
            while self._free:
                chosen = self._free.pop()  # the one used last: its caches are warm
                if not chosen.broken:
                    return chosen
                self._drop(chosen)
            if self._count < self.size:
                return await self._open()
            waiter: asyncio.Future[LoopConnection | None]
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            given = await waiter
            if given is not None:
                return given

    async def _open(self) -> LoopConnection:
        loop = asyncio.get_running_loop()
        self._count += 1
        try:
            wrapper = await loop.run_in_executor(None, _connected)
            return LoopConnection(loop, wrapper)
        except BaseException:
            self._count -= 1
            self._wake(None)
            raise

    def _give_back(self, connection: LoopConnection) -> None:
        age = time.monotonic() - connection.made_at
        limit = cast("int | None", settings.DATABASES[DEFAULT_DB_ALIAS]["CONN_MAX_AGE"])
        if connection.broken or (limit is not None and age > limit):
            self._drop(connection)
            self._wake(None)
        elif not self._wake(connection):
            self._free.append(connection)

    def _wake(self, connection: LoopConnection | None) -> bool:
        """Hand a connection, or the room for one, to whoever waits longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _drop(self, connection: LoopConnection) -> None:
        self._count -= 1
        connection.close()

    def close(self) -> None:
        """End the sessions of all that are free."""
        while self._free:
            self._drop(self._free.pop())


def _connected() -> DatabaseWrapper:
    """Return a connection of its own, made as Django makes one for a thread."""
    wrapper = cast(DatabaseWrapper, connections.create_connection(DEFAULT_DB_ALIAS))
    wrapper.inc_thread_sharing()
    wrapper.connect()
    return wrapper


@dataclass(frozen=True, slots=True)
class _GivingWay:
    """What a function in a loop's thread is given: each call lets the loop go on meanwhile."""

    loop_side: greenlet
    database: LoopConnections

    def __call__(self, statements: Sequence[Statement], guarded: bool) -> list[list[Row]]:
        asked = partial(self.database.run, statements, guarded=guarded)
        return cast(list[list[Row]], self.loop_side.switch(asked))

    def join(self, entering: Statement, joint: Joint) -> list[Row]:
        asked = partial(self.database.join, entering, joint)
        return cast(list[Row], self.loop_side.switch(asked))


async def run_awaiting(function: Callable[[LoopRun], Result], database: LoopConnections) -> Result:
    """Run a function in this thread; where it calls what it is given, others go on meanwhile.

    What it is given runs a group of statements and returns their rows. Django's own connection
    refuses to work in a loop's thread, so that nothing else of the function can wait.
    """
    loop_side = getcurrent()
    child = greenlet(function, loop_side)
    child.gr_context = contextvars.copy_context()
    outcome: Any = child.switch(_GivingWay(loop_side, database))
    while not child.dead:
        try:
            rows = await outcome()
        except BaseException as error:  # it belongs to the function
            outcome = child.throw(error)
        else:
            outcome = child.switch(rows)
    return cast(Result, outcome)
