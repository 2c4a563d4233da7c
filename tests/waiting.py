"""Waiting in tests for what other threads and processes do, however busy the machine is."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    """Return after how many seconds a condition held; the limit only ends a test that fails."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - began
