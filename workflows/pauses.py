"""How long a step that failed pauses before its next attempt."""

import random
from datetime import timedelta
from typing import Final

from assets.runtime.budgets import SPENT
from workflows.state import Execute, StepError
from workflows.steps.errors import STARTING

_WAITS: Final = 16
_LONGEST: Final = 86_400.0


def until_next(action: Execute, error: StepError) -> timedelta | None:
    """Return the pause before the next attempt, None when there is none.

    A deployment that is still starting is waited for whatever the step's policy, for about a
    minute: whoever deploys and runs in one breath means the run to succeed. A spent budget of a
    connector is waited for likewise, until the place that the call was given. No attempt begins
    before the time that the error names.
    """
    policy = action.step.retry
    if error.code == STARTING and action.attempt < _WAITS:
        return timedelta(seconds=min(0.2 * 1.6**action.attempt, 5.0))
    earliest = timedelta(seconds=min(error.retry_after or 0.0, _LONGEST))
    if error.code == SPENT and action.attempt < _WAITS:
        return earliest
    if (
        error.retryable
        and action.attempt < policy.max_attempts
        and error.code not in policy.non_retryable
    ):
        return max(policy.interval(action.attempt, random.random()), earliest)  # noqa: S311
    return None
