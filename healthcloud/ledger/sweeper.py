"""The sweeper: rings for what is due and for what a dead worker left behind.

Several sweepers do no harm: ringing twice makes a worker look twice. When idle, a sweep is one
index probe.
"""

import logging
import threading
from collections.abc import Callable

from django.db import Error as DatabaseError
from django.db import connection

from healthcloud.ledger import doorbell, queries, wake

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
_SHORTEST_PAUSE = 0.02
_MOST_RINGS = 8  # per queue and sweep: enough to wake the workers of one machine


def sweep() -> int:
    """Ring each queue that has due work, once for each worker it could keep busy.

    What is overdue was not heard by anyone who is awake, so the broker wakes others. What a dead
    worker left is told both ways: for some seconds that worker still seems to be awake.
    """
    rung = 0
    for backlog in queries.backlogs():
        overdue = backlog.left > 0 or backlog.age > INTERVAL_SECONDS
        if backlog.left:
            rung += wake.call(backlog.queue)
        for _ in range(min(backlog.due, _MOST_RINGS)):
            if overdue:
                rung += doorbell.send(backlog.queue, expires=5 * INTERVAL_SECONDS)
            else:
                rung += doorbell.ring(backlog.queue)
    return rung


def sweep_forever(stopping: threading.Event, *, swept: Callable[[], None] = lambda: None) -> None:
    """Sweep each second, and as soon as a timer falls due, until `stopping` is set."""
    while not stopping.is_set():
        pause = INTERVAL_SECONDS
        try:
            sweep()
            upcoming = queries.seconds_to_next()
            if upcoming is not None:
                pause = min(max(upcoming, _SHORTEST_PAUSE), INTERVAL_SECONDS)
        except DatabaseError as error:
            logger.warning("sweep failed", extra={"error": type(error).__name__})
            connection.close()
        swept()
        stopping.wait(pause)
