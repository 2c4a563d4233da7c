"""The heartbeat: a thread that renews the leases of the work that others are doing."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Final

from django.db import Error as DatabaseError
from django.db import connection

from healthcloud.ledger import claims
from healthcloud.ledger.handlers import ClaimedWork

logger = logging.getLogger(__name__)


LONG_SECONDS: Final = 1.0  # at one piece of work, after which somebody looks out


@dataclass(slots=True)
class _Held:
    """A piece of work that is being done; times are of the monotonic clock."""

    work: ClaimedWork
    began: float
    renewed: float


class Heartbeat:
    """Renews the leases of the work it is told to watch, all in one statement.

    Beats three times per lease, on a connection of its own, from a thread that appears with the
    first work and goes when for a whole lease there was none. A beat that finds work in other
    hands, or no beat for a whole lease, marks its lease as lost; the handler looks at that between
    its steps, and the fencing token holds in any case.

    While a piece of work takes longer than a second, `look_out` is called each second: whoever
    does it sees nothing else meanwhile.
    """

    def __init__(self, lease: timedelta, *, look_out: Callable[[], None] | None = None) -> None:
        self._lease = lease.total_seconds()
        self._look_out = look_out
        self._tick = self._lease / 3 if look_out is None else min(self._lease / 3, LONG_SECONDS)
        self._watched: dict[int, _Held] = {}
        self._thread: threading.Thread | None = None
        self._closing = False
        self._changed = threading.Condition()

    def __enter__(self) -> "Heartbeat":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            thread, self._closing = self._thread, True
            self._changed.notify()
        if thread is not None:
            thread.join(timeout=5)

    def watch(self, work: ClaimedWork) -> None:
        """Renew `work` from now on."""
        moment = time.monotonic()
        with self._changed:
            self._watched[work.id] = _Held(work, moment, moment)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="ledger-heartbeat", daemon=True
                )
                self._thread.start()

    def leave(self, work: ClaimedWork) -> None:
        """Renew `work` no more."""
        with self._changed:
            held = self._watched.get(work.id)
            if held is not None and held.work is work:
                del self._watched[work.id]

    def _run(self) -> None:
        try:
            last_beat = last_work = time.monotonic()
            while (watched := self._rest(last_work)) is not None:
                moment = time.monotonic()
                if watched:
                    last_work = moment
                if watched and moment - last_beat >= self._lease / 3 - 0.01:
                    last_beat = moment
                    self._beat(watched)
                if any(moment - held.began >= LONG_SECONDS for held in watched):
                    self._look()
        finally:
            connection.close()
            with self._changed:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _rest(self, last_work: float) -> list[_Held] | None:
        """Return what is watched after a while; None when the thread is to go."""
        with self._changed:
            if self._changed.wait_for(lambda: self._closing, timeout=self._tick):
                return None
            watched = list(self._watched.values())
            if not watched and time.monotonic() - last_work >= self._lease:
                self._thread = None  # whoever watches next starts another one
                return None
            return watched

    def _beat(self, watched: list[_Held]) -> None:
        started = time.monotonic()
        asked = [(held.work, held.work.lease.progressed) for held in watched]
        try:
            renewed = claims.extend(asked, lease=timedelta(seconds=self._lease))
        except DatabaseError as error:
            logger.warning("heartbeat failed", extra={"error": type(error).__name__})
            connection.close()
            renewed = {held.work.id: False for held in watched}
        for held in watched:
            if renewed.get(held.work.id):
                held.renewed = started
                held.work.lease.progressed = False
            elif held.work.id not in renewed or started - held.renewed >= self._lease:
                held.work.lease.lost = True

    def _look(self) -> None:
        if self._look_out is None:
            return
        try:
            self._look_out()
        except DatabaseError as error:
            logger.warning("looking out failed", extra={"error": type(error).__name__})
            connection.close()
