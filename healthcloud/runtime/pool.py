"""A pool of threads for coroutines: one queue there, one call back, and no future of its own.

`concurrent.futures` spends more on handing over a call and its result than a short request takes.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(slots=True)
class _Call:
    """A function to run, and where its result is awaited."""

    function: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None

    def run(self) -> None:
        """Run in the pool's thread, then wake the loop."""
        try:
            self.result = self.function()
        except BaseException as error:  # whatever it is belongs to the caller
            self.error = error
        with suppress(RuntimeError):  # a loop that is closed awaits nothing any more
            self.loop.call_soon_threadsafe(self.settle)

    def settle(self) -> None:
        """Hand the result to whoever still awaits it, in the loop's thread."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


@dataclass(slots=True)
class _Errand:
    """A function whose result nobody awaits."""

    function: Callable[[], object]

    def run(self) -> None:
        """Run in the pool's thread."""
        try:
            self.function()
        except Exception:
            logger.exception("an errand failed")


class ThreadPool:
    """`threads` calls run at once; more wait in the order they came."""

    def __init__(self, threads: int, *, name: str) -> None:
        self._calls: SimpleQueue[_Call | _Errand | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, function: Callable[[], Result]) -> Result:
        """Run a function in one of the threads and return its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._calls.put(_Call(function, loop, future))
        return await future

    def submit(self, function: Callable[[], object]) -> None:
        """Run a function in one of the threads; what it raises is logged."""
        self._calls.put(_Errand(function))

    def shutdown(self) -> None:
        """Let the calls that wait run, then end the threads."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
            del call  # nothing of a request outlives it while the thread waits for the next
