"""Workers that are awake hear of new work through Valkey, without a message of the broker.

A message of the broker costs both sides more than a short piece of work does. So a worker that
has done what was due stays awake for some seconds, and says so; whoever asks for work calls, and
one of those that are awake hears it. The broker's message is for when none is, or all are busy.
"""

import logging
import secrets
import time
from collections.abc import Sequence
from functools import lru_cache
from types import TracebackType
from typing import Final, cast

import redis
from django.conf import settings
from django.db import connection
from redis.commands.core import Script

logger = logging.getLogger(__name__)

_AWAKE_SECONDS: Final = 3  # after which a worker that was killed counts as gone
_RENEW_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 1.0  # after a failed call: no request waits for a cache that is down
# KEYS: calls, workers awake, whether the broker was asked just now. Answers 1 when a message of
# the broker is needed: nobody is awake, or an earlier call still waits since all are busy. Calls
# are few, as a worker that hears one does all that is due.
_CALL: Final = """
local waiting = redis.call('LLEN', KEYS[1])
redis.call('LPUSH', KEYS[1], '')
redis.call('LTRIM', KEYS[1], 0, 7)
local now = redis.call('TIME')[1]
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if redis.call('ZCARD', KEYS[2]) == 0 then return 1 end
if waiting > 0 and redis.call('SET', KEYS[3], '', 'NX', 'PX', 250) then return 1 end
return 0
"""
_STAY: Final = """
local till = redis.call('TIME')[1] + ARGV[2]
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, till, ARGV[1])
  redis.call('EXPIRE', key, 60)
end
"""
_valkey = {"silent_until": 0.0}


@lru_cache(maxsize=1)
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.VALKEY_URL, socket_timeout=5, socket_connect_timeout=0.5)


@lru_cache(maxsize=4)
def _script(text: str) -> Script:
    return _client().register_script(text)


def call(queue: str) -> bool:
    """Call a worker of `queue`; return whether one that is awake will hear it."""
    if time.monotonic() < _valkey["silent_until"]:
        return False
    try:
        keys = [_calls(queue), _awake(queue), f"hc:work:{_place(queue)}:asked"]
        return not _script(_CALL)(keys=keys)
    except redis.RedisError as error:
        _valkey["silent_until"] = time.monotonic() + _PAUSE_SECONDS
        logger.warning("calling workers failed: %s", type(error).__name__)
        return False


class Watch:
    """Staying awake for calls of some queues, as long as the block lasts."""

    def __init__(self, queues: Sequence[str]) -> None:
        self.deaf = False  # Valkey is down: only the broker's messages are left
        self._queues = {_calls(queue).encode(): queue for queue in queues}
        self._places = [_awake(queue) for queue in queues]
        self._name = secrets.token_hex(8)
        self._renewed = -_RENEW_SECONDS

    def __enter__(self) -> "Watch":
        self._renew()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with _client().pipeline(transaction=False) as pipe:
                for place in self._places:
                    pipe.zrem(place, self._name)
                pipe.execute()
        except redis.RedisError:
            self.deaf = True

    def hear(self, seconds: float) -> str | None:
        """Wait for a call, at most so long; return the queue that it is for."""
        try:
            self._renew()
            heard = cast(
                "tuple[bytes, bytes] | None",
                _client().blpop(list(self._queues), timeout=max(seconds, 0.01)),
            )
        except redis.RedisError as error:
            logger.warning("hearing calls failed: %s", type(error).__name__)
            self.deaf = True
            return None
        return None if heard is None else self._queues[heard[0]]

    def _renew(self) -> None:
        if time.monotonic() - self._renewed < _RENEW_SECONDS:
            return
        self._renewed = time.monotonic()
        try:
            _script(_STAY)(keys=self._places, args=[self._name, _AWAKE_SECONDS])
        except redis.RedisError:
            self.deaf = True


def _calls(queue: str) -> str:
    return f"hc:work:{_place(queue)}:calls"


def _awake(queue: str) -> str:
    return f"hc:work:{_place(queue)}:awake"


def _place(queue: str) -> str:
    """Return the queue of this database, so that two installations may share a Valkey."""
    return f"{{{connection.settings_dict['NAME']}:{queue}}}"
