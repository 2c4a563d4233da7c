"""Database work of streams: a few threads for all of them, each call in its own tenant scope."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from django.db import close_old_connections, connections

P = ParamSpec("P")
T = TypeVar("T")
THREADS: Final = 4

_pool = ThreadPoolExecutor(THREADS, thread_name_prefix="events-database")


async def in_database(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a synchronous function in one of the threads that hold streams' connections."""

    def run() -> T:
        close_old_connections()
        try:
            return call(*args, **kwargs)
        finally:
            close_old_connections()

    return await asyncio.get_running_loop().run_in_executor(_pool, run)


def close_connections() -> None:
    """Let every thread close its connection, at the end of a process or a test."""
    list(_pool.map(lambda _: connections.close_all(), range(THREADS * 4)))
