"""The heartbeat: a thread that renews the leases of the work that others are doing."""

import logging
import threading
import time
from datetime import timedelta
from types import TracebackType

from django.db import Error as DatabaseError
from django.db import connection

from healthcloud.ledger import claims
from healthcloud.ledger.handlers import ClaimedWork

logger = logging.getLogger(__name__)


class Heartbeat:
    """Renews the leases of the work it is told to watch, all in one statement.

    Beats three times per lease, on a connection of its own, from a thread that appears with the
    first work and goes when for a whole lease there was none. A beat that finds work in other
    hands, or no beat for a whole lease, marks its lease as lost; the handler looks at that between
    its steps, and the fencing token holds in any case.
    """

    def __init__(self, lease: timedelta) -> None:
        self._lease = lease.total_seconds()
        self._watched: dict[int, tuple[ClaimedWork, float]] = {}
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
        with self._changed:
            self._watched[work.id] = (work, time.monotonic())
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="ledger-heartbeat", daemon=True
                )
                self._thread.start()

    def leave(self, work: ClaimedWork) -> None:
        """Renew `work` no more."""
        with self._changed:
            held = self._watched.get(work.id)
            if held is not None and held[0] is work:
                del self._watched[work.id]

    def _run(self) -> None:
        try:
            idle = 0
            while idle < 3:
                with self._changed:
                    if self._changed.wait_for(lambda: self._closing, timeout=self._lease / 3):
                        return
                    watched = list(self._watched.values())
                    idle = 0 if watched else idle + 1
                    if idle == 3:
                        self._thread = None  # whoever watches next starts another one
                if watched:
                    self._beat(watched)
        finally:
            connection.close()
            with self._changed:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _beat(self, watched: list[tuple[ClaimedWork, float]]) -> None:
        started = time.monotonic()
        asked = [(work, work.lease.progressed) for work, _ in watched]
        try:
            renewed = claims.extend(asked, lease=timedelta(seconds=self._lease))
        except DatabaseError as error:
            logger.warning("heartbeat failed", extra={"error": type(error).__name__})
            connection.close()
            renewed = {work.id: False for work, _ in watched}
        for work, since in watched:
            if renewed.get(work.id):
                self._renew(work, started)
                work.lease.progressed = False
            elif work.id not in renewed or started - since >= self._lease:
                work.lease.lost = True

    def _renew(self, work: ClaimedWork, moment: float) -> None:
        with self._changed:
            held = self._watched.get(work.id)
            if held is not None and held[0] is work:
                self._watched[work.id] = (work, moment)
