"""What an asset failed at, as an HTTP error."""

from assets.sdk import AssetError
from healthcloud.errors import HealthCloudError, NotFound, ServiceUnavailable, ValidationFailed


def http_error(error: AssetError) -> HealthCloudError:
    """Return the error to raise: 404 for what isn't there, 503 for what may pass, else 422.

    `details` hold the asset's own code, whether a retry helps, and the remedy.
    """
    kind: type[HealthCloudError] = ValidationFailed
    if error.code.endswith("_not_found"):
        kind = NotFound
    elif error.retryable:
        kind = ServiceUnavailable
    message = f"{error.message} {error.remedy}" if error.remedy else error.message
    return kind(message, details=error.as_dict())
