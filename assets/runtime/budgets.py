"""How often a connector's vendor is called: a budget a deployment, shared by all processes.

`calls_per_minute` in a connector's configuration is what the vendor allows. Calls are spread by
the generic cell rate algorithm (ATM Forum TM 4.0, 4.4.2), with a tenth of a minute's calls at
once. A workflow's step that finds the budget spent gets the next free place, and comes back then;
whoever calls directly is told when to try again.
"""

import functools
import logging
from typing import Final, cast

import redis
from django.conf import settings
from redis.commands.core import Script

from assets.runtime.context import CallContext
from assets.sdk import AssetError
from healthcloud.api.throttling import valkey

logger = logging.getLogger(__name__)

SETTING: Final = "calls_per_minute"
SPENT: Final = "rate_budget_spent"
_KEPT_MS: Final = 600_000
_AT_ONCE: Final = 10

# KEYS: the deployment's next free place, the place that this call was given before.
# ARGV: milliseconds between calls, calls at once, whether to give a place, how long to keep it.
# Answers the milliseconds until the call may be made, 0 for now. Time is the server's.
_SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local given = tonumber(redis.call('GET', KEYS[2]))
if given then
  if given <= now then redis.call('DEL', KEYS[2]) return 0 end
  return math.ceil(given - now)
end
local interval = tonumber(ARGV[1])
local free = math.max(tonumber(redis.call('GET', KEYS[1])) or now, now)
local wait = math.max(0, free - now - interval * (tonumber(ARGV[2]) - 1))
if wait > 0 and ARGV[3] == '0' then return math.ceil(wait) end
redis.call('SET', KEYS[1], tostring(free + interval), 'PX', math.ceil(free + interval - now) + 1)
if wait == 0 then return 0 end
redis.call('SET', KEYS[2], tostring(now + wait), 'PX', math.ceil(wait) + tonumber(ARGV[4]))
return math.ceil(wait)
"""


def take(context: CallContext) -> None:
    """Take a call from the connector's budget; raise AssetError `rate_budget_spent` with a time.

    A connector without the setting has no budget. While Valkey is down nobody is refused.
    """
    calls = context.config.get(SETTING)
    if not calls:
        return
    name = f"hc:budget:{{{context.deployment_id}}}"
    try:
        wait = cast(
            "int",
            _script(settings.VALKEY_URL)(
                keys=[name, f"{name}:{context.idempotency_key}"],
                args=[
                    60_000 / calls,
                    max(1, calls // _AT_ONCE),
                    int(context.parent is not None),
                    _KEPT_MS,
                ],
            ),
        )
    except redis.RedisError as error:
        logger.warning("budgets are off: Valkey does not answer (%s)", type(error).__name__)
        return
    if wait:
        raise AssetError(
            SPENT,
            f"{context.asset_id} may be called {calls} times a minute; its budget is spent for"
            f" {wait / 1000:.1f} s.",
            retryable=True,
            remedy=f"Wait, or raise `{SETTING}` in its configuration if the vendor allows more.",
            retry_after=wait / 1000,
        )


@functools.lru_cache(maxsize=4)
def _script(url: str) -> Script:
    return valkey().register_script(_SCRIPT)
