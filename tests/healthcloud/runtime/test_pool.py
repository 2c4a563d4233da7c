"""The pool of threads hands results and errors back to the loop, in the order of the calls."""

import asyncio
import threading

import pytest

from healthcloud.runtime.pool import ThreadPool


def test_a_call_runs_in_a_thread_and_its_result_comes_back() -> None:
    pool = ThreadPool(2, name="test")

    async def use() -> list[str]:
        return await asyncio.gather(
            *(pool.run(lambda: threading.current_thread().name) for _ in range(20))
        )

    names = set(asyncio.run(use()))
    pool.shutdown()
    assert names <= {"test-0", "test-1"}


def test_an_error_is_raised_where_the_call_was_awaited() -> None:
    pool = ThreadPool(1, name="test")

    async def use() -> None:
        await pool.run(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(use())
    pool.shutdown()


def test_calls_wait_for_a_thread_in_their_order() -> None:
    pool = ThreadPool(1, name="test")
    seen: list[int] = []

    async def use() -> None:
        await asyncio.gather(*(pool.run(lambda n=n: seen.append(n)) for n in range(50)))

    asyncio.run(use())
    pool.shutdown()
    assert seen == list(range(50))


def test_a_caller_that_gave_up_does_no_harm() -> None:
    pool = ThreadPool(1, name="test")
    go = threading.Event()

    async def use() -> str:
        slow = asyncio.ensure_future(pool.run(go.wait))
        await asyncio.sleep(0)
        slow.cancel()
        go.set()
        return await pool.run(lambda: "next")

    assert asyncio.run(use()) == "next"
    pool.shutdown()


def test_shutdown_lets_waiting_calls_run() -> None:
    pool = ThreadPool(1, name="test")
    done: list[int] = []

    async def use() -> None:
        calls = [asyncio.ensure_future(pool.run(lambda: done.append(1))) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.gather(*calls)

    asyncio.run(use())
    pool.shutdown()
    assert done == [1] * 5


def test_an_errand_runs_and_its_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    pool = ThreadPool(1, name="errand")
    done: list[int] = []

    def fails() -> None:
        raise ValueError("an errand's own")

    for errand in (fails, lambda: done.append(1)):
        pool.submit(errand)
    pool.shutdown()
    assert done == [1]
    assert "an errand failed" in caplog.text
