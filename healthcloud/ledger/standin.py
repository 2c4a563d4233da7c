"""A process that works while the broker is away, since Celery hands no task out meanwhile.

It is forked from the worker when the connection is found lost, and does what the worker's task
does: looks into each queue, stays awake for calls, looks again. When the broker is back it
finishes what it has begun and ends.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final

from billiard import Event, Process
from django.db import Error, connection

from healthcloud.ledger import worker

logger = logging.getLogger(__name__)

AWAY_SECONDS: Final = 1.0  # after which it begins
PAUSE_SECONDS: Final = 1.0  # between two looks of one who hears no calls
_LINGER_SECONDS: Final = 5.0
_END_SECONDS: Final = 10.0


class StandIn:
    """Works from `begin` on until the block is left."""

    def __init__(self, queues: Sequence[str], *, hostname: str) -> None:
        self._queues = list(queues)
        self._hostname = hostname
        self._over: Any = Event()
        self._process: Any = None
        self._since = time.monotonic()

    def __enter__(self) -> "StandIn":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._process is not None and kind is not None:  # the worker is told to stop
            self._process.join(_END_SECONDS)

    def begin(self) -> None:
        """Start the process unless it runs; not for a broker that is back within a second."""
        if time.monotonic() - self._since < AWAY_SECONDS:
            return
        if self._process is None or not self._process.is_alive():
            logger.warning("the broker is away: looking into the ledger meanwhile")
            self._process = Process(
                target=_stand_in, args=(self._queues, self._hostname, self._over)
            )
            self._process.start()


def _stand_in(queues: list[str], hostname: str, over: Any) -> None:  # noqa: ANN401  # billiard's
    """Be a process of the worker's pool without Celery's tasks."""
    from celery import current_app
    from celery.concurrency.prefork import process_initializer

    app = current_app._get_current_object()  # type: ignore[attr-defined]  # of Celery's proxy
    process_initializer(app, hostname)
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    work_until(queues, lambda: over.is_set() or told.is_set())


def work_until(queues: Sequence[str], over: Callable[[], bool]) -> None:
    """Do what is due in `queues` again and again until it is over; outlives a lost database."""
    pause = threading.Event()
    while not over():
        connection.close_if_unusable_or_obsolete()
        try:
            worker.drain(queues, limit=10_000, linger=_LINGER_SECONDS, stopping=over, beside=True)
        except Error as error:
            logger.warning("looking into the ledger failed: %s", type(error).__name__)
            connection.close()
        pause.wait(0 if over() else PAUSE_SECONDS)
