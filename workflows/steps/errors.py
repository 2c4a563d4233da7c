"""What went wrong in a step, as its typed error."""

import logging
import traceback

from django.db import Error as DatabaseError

from assets.invocation import StillStarting
from assets.sdk import AssetError
from fhir.errors import VersionConflict
from healthcloud.errors import HealthCloudError, RateLimited, ServiceUnavailable
from workflows.engine import StepError
from workflows.expressions import ExpressionError

logger = logging.getLogger(__name__)
STARTING = "deployment_starting"
_RETRYABLE = (RateLimited, ServiceUnavailable, VersionConflict)


class InvalidArgument(Exception):  # named like the error of the API
    """A resolved argument is not what the step takes."""


def step_error(error: Exception) -> StepError:
    """Return the error of the step; database failures are raised, for the ledger to retry."""
    match error:
        case AssetError():
            return StepError(
                error.code, error.message, error.retryable, error.remedy, error.details or None
            )
        case StillStarting():
            return StepError(STARTING, error.message, retryable=True)
        case HealthCloudError():
            return StepError(
                error.code, error.message, isinstance(error, _RETRYABLE), details=error.details
            )
        case ExpressionError():
            return StepError(error.code, str(error))
        case InvalidArgument():
            return StepError("invalid_argument", str(error))
        case DatabaseError():
            raise error
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("step failed: %s\n%s", type(error).__name__, frames)
    return StepError("internal_error", f"The step failed unexpectedly: {type(error).__name__}.")
