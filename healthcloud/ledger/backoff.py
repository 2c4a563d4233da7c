"""How long to wait before the next attempt: exponential, capped, with full jitter."""

import random
from datetime import timedelta

# Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/


def full_jitter(
    attempt: int, *, base: float = 0.5, cap: float = 300.0, chance: float | None = None
) -> timedelta:
    """Return a random wait between 0 and `min(cap, base * 2**(attempt - 1))` seconds.

    `attempt` counts from 1; `chance` in [0, 1] replaces the random number in tests.
    """
    ceiling = min(cap, base * 2.0 ** min(max(attempt, 1) - 1, 30))
    share = random.random() if chance is None else chance  # noqa: S311  # not a secret
    return timedelta(seconds=ceiling * share)
