"""The part of a Celery worker that listens to the broker: it looks for a lost one every second.

Celery's own waits two seconds longer after each failure, up to thirty, so that a broker which was
away for a minute would find nobody for a while after it came back. While it looks, a stand-in does
what is due (`ledger.standin`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

from healthcloud.ledger.standin import StandIn


class Consumer(CeleryConsumer):
    """Reconnects within a second."""

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401  # kombu's connection
        """Return the connection once it is there."""
        connect = partial(
            conn.ensure_connection, interval_start=0.2, interval_step=0.2, interval_max=1
        )
        with StandIn(list(self.app.amqp.queues.consume_from), hostname=self.hostname) as stand_in:

            def ensure(failed: Callable[..., None], *rest: Any, **named: Any) -> Any:  # noqa: ANN401
                def note(*told: Any) -> None:  # noqa: ANN401
                    stand_in.begin()
                    failed(*told)

                return connect(note, *rest, **named)

            conn.ensure_connection = ensure
            return super().ensure_connected(conn)
