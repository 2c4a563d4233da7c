"""Rate limits: two token buckets per caller, taken from at once by one script in Valkey."""

import functools
import logging
import time
from dataclasses import dataclass
from typing import Final, cast

import redis
from django.conf import settings
from redis.commands.core import Script

from healthcloud.api.principal import Principal, RateLimit
from healthcloud.errors import RateLimited

logger = logging.getLogger(__name__)

# KEYS: minute bucket, second bucket. ARGV: capacity per minute, capacity per second, tokens.
# Answers {allowed, tokens left of the minute, milliseconds to wait, milliseconds until full}.
# Time is the server's, so that several web processes agree.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local take = tonumber(ARGV[3])
local wait, levels = 0, {}
local windows = {60000, 1000}
for i = 1, 2 do
  local capacity = tonumber(ARGV[i])
  local rate = capacity / windows[i]
  local bucket = redis.call('HMGET', KEYS[i], 'level', 'at')
  local level = tonumber(bucket[1]) or capacity
  local at = tonumber(bucket[2]) or now
  level = math.min(capacity, level + math.max(0, now - at) * rate)
  levels[i] = level
  local cost = math.min(take, capacity)
  if level < cost then wait = math.max(wait, math.ceil((cost - level) / rate)) end
end
for i = 1, 2 do
  local capacity = tonumber(ARGV[i])
  if wait == 0 then levels[i] = levels[i] - math.min(take, capacity) end
  redis.call('HSET', KEYS[i], 'level', tostring(levels[i]), 'at', tostring(now))
  redis.call('PEXPIRE', KEYS[i], windows[i] * 2)
end
local full = math.ceil((tonumber(ARGV[1]) - levels[1]) * 60000 / tonumber(ARGV[1]))
return {wait == 0 and 1 or 0, math.floor(levels[1]), wait, full}
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """What is left of a caller's limit after this request."""

    limit: int
    remaining: int
    full_at: int

    def headers(self) -> dict[str, str]:
        """Return the headers that tell the caller; `Reset` is in Unix seconds."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.full_at),
        }


class LimitReached(RateLimited):
    """The caller's bucket is empty; carries the headers that say so."""

    def __init__(self, limit: str, rate: Rate, *, retry_after: float) -> None:
        super().__init__(
            f"{limit} Wait {max(1, round(retry_after + 0.499))} s, as `Retry-After` says.",
            retry_after=retry_after,
        )
        self.headers = rate.headers()


@functools.lru_cache(maxsize=4)
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=0.5, socket_connect_timeout=0.5)


def valkey() -> redis.Redis:
    """Return this process's client of Valkey, which gives up after half a second."""
    return _client(settings.VALKEY_URL)


@functools.lru_cache(maxsize=4)
def _script(url: str) -> Script:
    return _client(url).register_script(_SCRIPT)


def take(principal: Principal, *, weight: int = 1) -> Rate | None:
    """Take tokens for one request; return what is left, None for a caller without a limit.

    Raises LimitReached when a bucket is empty. While Valkey is down nobody is refused.
    """
    limit = principal.rate_limit
    if limit is None:
        return None
    name = f"hc:rate:{{{principal.environment_id}:{principal.actor.id}}}"
    return _take(name, limit, weight, "This key may make", "requests")


def take_run(principal: Principal) -> None:
    """Take a token for the start of a run, of those that the organization's plan has.

    Raises LimitReached as `take` does.
    """
    if principal.run_limit is not None:
        name = f"hc:runs:{{{principal.environment_id}}}"
        _take(name, principal.run_limit, 1, "This organization's plan starts", "runs")


def _take(name: str, limit: RateLimit, weight: int, who: str, what: str) -> Rate | None:
    try:
        answer = _script(settings.VALKEY_URL)(
            keys=[f"{name}:minute", f"{name}:second"],
            args=[limit.per_minute, limit.burst, weight],
        )
    except redis.RedisError as error:
        logger.warning("rate limits are off: Valkey does not answer (%s)", type(error).__name__)
        return None
    allowed, remaining, wait, full = cast("list[int]", answer)
    rate = Rate(limit.per_minute, remaining, int(time.time() + full / 1000) + 1)
    if not allowed:
        text = f"{who} {limit.per_minute} {what} a minute and {limit.burst} a second."
        raise LimitReached(text, rate, retry_after=wait / 1000)
    return rate
