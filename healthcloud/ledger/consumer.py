"""The part of a Celery worker that listens to the broker: it looks for a lost one every second.

Celery's own waits two seconds longer after each failure, up to thirty, so that a broker which was
away for a minute would find nobody for a while after it came back.
"""

from functools import partial
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer


class Consumer(CeleryConsumer):
    """Reconnects within a second."""

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401  # kombu's connection
        """Return the connection once it is there."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=0.2, interval_step=0.2, interval_max=1
        )
        return super().ensure_connected(conn)
