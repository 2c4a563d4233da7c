"""A time limit that holds during a call, not only after it.

In the main thread of a process the operating system's timer ends whatever the step is doing:
computing, sleeping, or waiting for an answer. In other threads each outbound request ends with the
limit, and what computes is ended by an exception that another thread sets in it.
"""

import ctypes
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
            with _Alarm(seconds):
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


class _Alarm:
    """Sets StepTimedOut in the thread that made it, unless the block has ended before.

    The exception is raised before the next instruction of Python; a call into the system that
    waits is not interrupted. One that is set as the block ends is taken back.
    https://docs.python.org/3/c-api/init.html#c.PyThreadState_SetAsyncExc
    """

    def __init__(self, seconds: float) -> None:
        self._thread = ctypes.c_ulong(threading.get_ident())
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        self._guard = threading.Lock()
        self._over = self._rung = False

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *raised: object) -> None:
        with self._guard:
            self._over = True
            if self._rung:
                _set_in(self._thread, None)
        self._timer.cancel()

    def _ring(self) -> None:
        with self._guard:
            if not self._over:
                self._rung = True
                _set_in(self._thread, StepTimedOut)


def _set_in(thread: ctypes.c_ulong, error: type[BaseException] | None) -> None:
    kind = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, kind)
