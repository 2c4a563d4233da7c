"""The heartbeat: a thread that renews the lease of the work its worker is doing."""

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
    """Renews the lease of one piece of work at a time, on a connection of its own.

    Beats three times per lease. A beat that finds the work in other hands, or no beat for a
    whole lease, marks the lease as lost; the handler looks at that between its steps, and the
    fencing token holds in any case.
    """

    def __init__(self, lease: timedelta) -> None:
        self._lease = lease
        self._pause = lease.total_seconds() / 3
        self._work: ClaimedWork | None = None
        self._renewed = 0.0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="ledger-heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def watch(self, work: ClaimedWork | None) -> None:
        """Renew `work` from now on; None rests."""
        with self._changed:
            self._work = work
            self._renewed = time.monotonic()

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    if self._changed.wait_for(lambda: self._closing, timeout=self._pause):
                        return
                    work, renewed = self._work, self._renewed
                if work is not None:
                    self._beat(work, renewed)
        finally:
            connection.close()

    def _beat(self, work: ClaimedWork, renewed: float) -> None:
        started = time.monotonic()
        try:
            held = claims.extend(work, lease=self._lease, progressed=work.lease.progressed)
        except DatabaseError as error:
            logger.warning("heartbeat failed", extra={"error": type(error).__name__})
            connection.close()
            held = started - renewed < self._lease.total_seconds()
        else:
            with self._changed:
                if self._work is work:
                    self._renewed = started
        work.lease.progressed = False
        if not held:
            work.lease.lost = True
