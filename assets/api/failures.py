"""What an asset failed at, as an HTTP error."""

from assets.runtime.budgets import SPENT
from assets.sdk import AssetError
from healthcloud.errors import (
    HealthCloudError,
    NotFound,
    RateLimited,
    ServiceUnavailable,
    ValidationFailed,
)


def http_error(error: AssetError) -> HealthCloudError:
    """Return the error to raise: 404 for what isn't there, 503 for what may pass, else 422.

    A spent budget is 429, with the time after which to try again.

    `details` hold the asset's own code, whether a retry helps, and the remedy.
    """
    if error.code == SPENT:
        return RateLimited(error.message, retry_after=error.retry_after or 1.0)
    kind: type[HealthCloudError] = ValidationFailed
    if error.code.endswith("_not_found"):
        kind = NotFound
    elif error.retryable:
        kind = ServiceUnavailable
    message = f"{error.message} {error.remedy}" if error.remedy else error.message
    return kind(message, details=error.as_dict())
