"""The doorbell: a call or a message without content that makes a worker look into the ledger.

A worker that is awake is called through Valkey; when none is, the broker wakes one. What is lost
costs latency, never work: the sweeper rings for whatever is still due.
"""

import logging
import time
from functools import partial

from celery import current_app
from django.db import connection

from healthcloud.ledger import wake
from healthcloud.tenancy.scope import after_commit, is_awaited

logger = logging.getLogger(__name__)

DRAIN = "ledger.drain"
_PAUSE_SECONDS = 5.0  # after a failed ring: no request waits for a broker that is down
_broker = {"silent_until": 0.0}


def ring(queue: str) -> bool:
    """Tell one worker of `queue` to look for due work; return whether anyone was told."""
    return wake.call(queue) or send(queue)


def send(queue: str, *, expires: float | None = None) -> bool:
    """Let the broker wake a worker of `queue`; return whether the broker took the message.

    A broker that is down is logged, not raised. `expires` in seconds drops the message when no
    worker took it in time.
    """
    if time.monotonic() < _broker["silent_until"]:
        return False
    try:
        current_app.send_task(
            DRAIN,
            kwargs={"queue": queue},
            queue=queue,
            expires=expires,
            retry=False,
            ignore_result=True,
        )
    except Exception as error:  # whatever the broker's client raises: the sweeper rings later
        _broker["silent_until"] = time.monotonic() + _PAUSE_SECONDS
        logger.warning("doorbell failed", extra={"queue": queue, "error": type(error).__name__})
        return False
    return True


def ring_after_commit(queue: str) -> None:
    """Ring `queue` once when the current transaction has committed, however often it was asked."""
    for entry in () if is_awaited() else connection.run_on_commit:
        hook = entry[1]
        if isinstance(hook, partial) and hook.func is ring and hook.args == (queue,):
            return
    after_commit(partial(ring, queue))
