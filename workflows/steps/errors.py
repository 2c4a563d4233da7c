"""What went wrong in a step, as its typed error."""

import logging
import traceback

from django.db import Error as DatabaseError

from assets.invocation import StillStarting
from assets.sdk import AssetError
from fhir.errors import VersionConflict
from healthcloud.errors import HealthCloudError, RateLimited, ServiceUnavailable
from healthcloud.http import OutboundError
from workflows.engine import StepError
from workflows.expressions import ExpressionError

logger = logging.getLogger(__name__)
STARTING = "deployment_starting"
_RETRYABLE = (RateLimited, ServiceUnavailable, VersionConflict)


class RequestRefused(Exception):
    """A receiver answered with a status that is an error for the step."""

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        super().__init__(f"The receiver answered with status {status}.")
        self.status = status
        self.retry_after = retry_after
        self.retryable = status == 429 or status >= 500


class InvalidArgument(Exception):  # named like the error of the API
    """A resolved argument is not what the step takes."""


class StepFailed(Exception):
    """Rolls the step's transaction back and carries its error out."""

    def __init__(self, error: StepError) -> None:
        super().__init__(error.code)
        self.error = error


def step_error(error: Exception) -> StepError:
    """Return the error of the step; database failures are raised, for the ledger to retry."""
    match error:
        case OutboundError():
            return StepError(
                error.code, error.message, error.retryable, details={"kind": type(error).__name__}
            )
        case RequestRefused():
            return StepError(
                f"http_{error.status}",
                str(error),
                error.retryable,
                details={"status": error.status},
                retry_after=error.retry_after,
            )
        case AssetError():
            return StepError(
                error.code,
                error.message,
                error.retryable,
                error.remedy,
                error.details or None,
                retry_after=error.retry_after,
            )
        case StillStarting():
            return StepError(STARTING, error.message, retryable=True)
        case HealthCloudError():
            return StepError(error.code, error.message, _may_pass(error), details=error.details)
        case ExpressionError() | InvalidArgument():
            return StepError(getattr(error, "code", "invalid_argument"), str(error))
        case DatabaseError():
            raise error
    return _unexpected(error)


def _may_pass(error: HealthCloudError) -> bool:
    """Return whether trying again can help."""
    if isinstance(error, OutboundError):
        return error.retryable
    return isinstance(error, _RETRYABLE)


def _unexpected(error: Exception) -> StepError:
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("step failed: %s\n%s", type(error).__name__, frames)
    return StepError("internal_error", f"The step failed unexpectedly: {type(error).__name__}.")
