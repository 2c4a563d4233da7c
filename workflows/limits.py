"""A time limit that holds during a call, not only after it.

Workers do their steps in the main thread of their process, where the operating system's timer
can end whatever the step is doing: computing, sleeping, or waiting for an answer. In other
threads, where no timer can, each outbound request ends with the limit.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from healthcloud.http import answer_within


class StepTimedOut(BaseException):
    """The limit passed. No Exception, so that what a step calls can't swallow it."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise StepTimedOut in the block once it takes longer; None sets no limit."""
    if seconds is None:
        yield
        return
    with answer_within(seconds):
        if threading.current_thread() is threading.main_thread():
            with _timer(seconds):
                yield
        else:
            yield


@contextmanager
def _timer(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise StepTimedOut

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
