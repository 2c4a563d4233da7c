"""What ends with the time of what stands around it: a run, or a loop. Pure."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from workflows.definition import Step
from workflows.state import Action, Execute, Sleep, StepError

RUN_TIMEOUT: Final = StepError(
    "run_timeout", "The run took longer than its timeout, or than the organization's plan allows."
)
TIME_IS_UP: Final = StepError(
    "timeout", "The loop around the step had no more time.", retryable=True
)


def no_longer(action: Action, moment: datetime, late: StepError) -> Action:
    """Return the action with what is waited for, or done outside, bounded by a moment."""
    if not isinstance(action, Sleep | Execute):
        return action
    if action.until is not None and action.until <= moment:
        return action
    if isinstance(action, Execute):
        return replace(action, until=moment, late=late)
    return replace(action, until=moment)


def timeout_of(step: Step) -> StepError:
    """Return the error of a step that took longer than its own timeout."""
    message = f"The step took longer than its timeout of {step.timeout or 0:g} s."
    return StepError("timeout", message, retryable=True)
