"""Hands: threads of a worker that do what mostly waits, beside what its main thread does.

A request to a slow receiver takes fifteen seconds in which a process does nothing. So the queues
of webhooks and of agents are worked off by a few threads of each worker, and a run that comes to a
step which calls out goes on in one of them: no run waits for the answer that another one waits for.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Final

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from healthcloud.ledger.models import Queue

logger = logging.getLogger(__name__)

_IDLE_SECONDS: Final = 5.0  # after which a hand that nobody calls lets go of its connection
_SPARE: Final = 8  # one hand in so many is kept for tenants that hold little

Turn = Callable[["Hands"], None]
Job = Callable[[], None]


class Hands:
    """At most `count` threads that work off `queue`; each call wakes one more of them.

    `turn(hands)` works until nothing is due, and calls more hands when there is enough for them.
    A hand can also be reserved and be given a job. While only the spare ones rest, hands are
    `crowded`: nobody can reserve one, and a turn should look for tenants that hold little.
    """

    def __init__(self, queue: str, *, count: int, turn: Turn) -> None:
        self.queue = queue
        self._count = count
        self.share = max(1, count - max(1, count // _SPARE))
        self._turn = turn
        self._changed = threading.Condition()
        self._calls = 0
        self._reserved = 0
        self._jobs: deque[Job] = deque()
        self._resting = 0
        self._hired = 0

    @property
    def crowded(self) -> bool:
        """Say whether no more than the spare hands are free."""
        return self._busy() > self.share

    def call(self) -> None:
        """Let one more hand look into the queue."""
        with self._changed:
            self._calls = min(self._calls + 1, self._count)
            self._wake(1)

    def reserve(self) -> bool:
        """Keep a hand free for a job that `lend` brings; False when too few are free."""
        with self._changed:
            if self._busy() + self._reserved + len(self._jobs) >= self.share:
                return False
            self._reserved += 1
            return True

    def let_go(self) -> None:
        """Give back a hand that was reserved."""
        with self._changed:
            self._reserved -= 1

    def lend(self, job: Job) -> None:
        """Give a job to the hand that was reserved."""
        with self._changed:
            self._reserved -= 1
            self._jobs.append(job)
            self._wake(len(self._jobs))

    def wait(self, limit: timedelta) -> bool:
        """Wait until all hands rest; return whether they do."""
        with self._changed:
            rests = self._changed.wait_for(
                lambda: not self._busy() and not self._wanted(), limit.total_seconds()
            )
        return bool(rests)

    def _busy(self) -> int:
        return self._hired - self._resting

    def _wanted(self) -> bool:
        return bool(self._calls or self._jobs)

    def _wake(self, needed: int) -> None:
        if self._resting >= needed:  # one that was woken rests until it has the lock
            self._changed.notify()
        elif self._hired < self._count:
            self._hired += 1
            name = f"{self.queue}-{self._hired}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                connection.close_if_unusable_or_obsolete()
                job()
            except DatabaseError as error:  # whoever sweeps rings again for what is left
                logger.warning("a hand lost its database: %s", type(error).__name__)
                connection.close()
            except Exception:
                logger.exception("a hand of %s failed", self.queue)
        connection.close()

    def _next(self) -> Job | None:
        """Rest until called; None when nobody has called for long, and the hand may go."""
        with self._changed:
            self._resting += 1
            self._changed.notify_all()
            wanted = self._changed.wait_for(self._wanted, _IDLE_SECONDS)
            self._resting -= 1
            if not wanted:
                self._hired -= 1
                return None
            if self._jobs:
                self._calls = max(self._calls, 1)  # afterwards there is a hand for what waited
                return self._jobs.popleft()
            self._calls -= 1
            return lambda: self._turn(self)


@lru_cache(maxsize=1)
def hands(turn: Turn) -> dict[str, Hands]:
    """Return this process's hands, by queue."""
    counts = {
        Queue.WEBHOOKS.value: settings.WEBHOOK_THREADS,
        Queue.AGENTS.value: settings.STEP_THREADS,
    }
    return {queue: Hands(queue, count=count, turn=turn) for queue, count in counts.items()}


os.register_at_fork(after_in_child=hands.cache_clear)  # threads do not cross a fork
