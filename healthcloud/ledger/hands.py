"""Hands: threads of a worker that do what mostly waits, beside what its main thread does.

A request to a slow receiver takes fifteen seconds in which a process does nothing. So the queue
of webhooks is worked off by a few threads of each worker, and no run waits for a receiver.
"""

import logging
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Final

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from healthcloud.ledger.models import Queue

logger = logging.getLogger(__name__)

QUEUES: Final = (Queue.WEBHOOKS.value,)
_IDLE_SECONDS: Final = 5.0  # after which a hand that nobody calls lets go of its connection

Turn = Callable[[str, Callable[[], None]], None]


class Hands:
    """At most `count` threads that work off `queue`; each call wakes one more of them.

    `turn(queue, more)` works until nothing is due, and calls `more` when there is enough for
    another hand.
    """

    def __init__(self, queue: str, *, count: int, turn: Turn) -> None:
        self._queue = queue
        self._count = count
        self._turn = turn
        self._changed = threading.Condition()
        self._calls = 0
        self._resting = 0
        self._hired = 0

    def call(self) -> None:
        """Let one more hand look into the queue."""
        with self._changed:
            self._calls = min(self._calls + 1, self._count)
            if self._resting:
                self._changed.notify()
            elif self._hired < self._count:
                self._hired += 1
                name = f"{self._queue}-{self._hired}"
                threading.Thread(target=self._work, name=name, daemon=True).start()

    def wait(self, limit: timedelta) -> bool:
        """Wait until all hands rest; return whether they do."""
        with self._changed:
            rests = self._changed.wait_for(
                lambda: self._resting == self._hired and not self._calls, limit.total_seconds()
            )
        return bool(rests)

    def _work(self) -> None:
        while self._called():
            try:
                connection.close_if_unusable_or_obsolete()
                self._turn(self._queue, self.call)
            except DatabaseError as error:  # whoever sweeps rings again for what is left
                logger.warning("a hand lost its database: %s", type(error).__name__)
                connection.close()
            except Exception:
                logger.exception("a hand of %s failed", self._queue)
        connection.close()

    def _called(self) -> bool:
        """Rest until called; False when nobody has called for long, and the hand may go."""
        with self._changed:
            self._resting += 1
            self._changed.notify_all()
            called = self._changed.wait_for(lambda: self._calls > 0, _IDLE_SECONDS)
            self._resting -= 1
            if called:
                self._calls -= 1
            else:
                self._hired -= 1
            return called


@lru_cache(maxsize=1)
def hands(turn: Turn) -> dict[str, Hands]:
    """Return this process's hands, by queue."""
    count = settings.WEBHOOK_THREADS
    return {queue: Hands(queue, count=count, turn=turn) for queue in QUEUES}


os.register_at_fork(after_in_child=hands.cache_clear)  # threads do not cross a fork
