"""The hint that a tenant has new events: one Valkey message after commit, without content.

A hint that is lost costs latency, never an event: streams also look on their own.
"""

import logging
import time
from functools import lru_cache, partial

import redis
from django.conf import settings
from django.db import connection, transaction

logger = logging.getLogger(__name__)

CHANNEL_PREFIX = "healthcloud:events:"
WORDS = "healthcloud:words"
_PAUSE_SECONDS = 1.0  # after a failed ring: no request waits for a cache that is down
_valkey = {"silent_until": 0.0}


@lru_cache(maxsize=1)
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.VALKEY_URL, socket_timeout=0.5, socket_connect_timeout=0.5)


def ring(schema: str) -> bool:
    """Tell every web process that the tenant has new events; return whether Valkey took it."""
    return _publish(CHANNEL_PREFIX + schema, b"")


def say_after_commit(word: str) -> None:
    """Say a word (an id) to whoever waits for it, when the current transaction has committed."""
    transaction.on_commit(partial(_publish, WORDS, word.encode()), robust=True)


def _publish(channel: str, content: bytes) -> bool:
    if time.monotonic() < _valkey["silent_until"]:
        return False
    try:
        _client().publish(channel, content)
    except redis.RedisError as error:
        _valkey["silent_until"] = time.monotonic() + _PAUSE_SECONDS
        logger.warning("event hint failed: %s", type(error).__name__)
        return False
    return True


def ring_after_commit(schema: str) -> None:
    """Ring once when the current transaction has committed, however often it was asked."""
    hint = partial(ring, schema)
    for entry in connection.run_on_commit:
        waiting = entry[1]
        if isinstance(waiting, partial) and waiting.func is ring and waiting.args == (schema,):
            return
    transaction.on_commit(hint, robust=True)
