"""The error tree of the platform: every refusal a caller can meet has a code and an HTTP status.

HealthCloudError
├── BadRequest            400 bad_request
├── Unauthorized          401 unauthorized
├── Forbidden             403 forbidden
├── NotFound              404 not_found
├── Conflict              409 conflict
├── PreconditionFailed    412 precondition_failed
├── PayloadTooLarge       413 payload_too_large
├── UnsupportedMediaType  415 unsupported_media_type
├── ValidationFailed      422 validation_error
├── RateLimited           429 rate_limited
├── InternalError         500 internal_error
└── ServiceUnavailable    503 service_unavailable

Rooms subclass these beside the function that raises them.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

ErrorDetails = Mapping[str, object] | Sequence[Mapping[str, object]]


class HealthCloudError(Exception):
    """A refusal with a message that says what to do.

    `param` names the offending field; `details` is JSON-serializable and never holds PHI.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500

    def __init__(
        self, message: str, *, param: str | None = None, details: ErrorDetails | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.details = details


class BadRequest(HealthCloudError):
    """The request can't be understood as it stands."""

    code = "bad_request"
    status = 400


class Unauthorized(HealthCloudError):
    """No credential, or one that isn't valid."""

    code = "unauthorized"
    status = 401


class Forbidden(HealthCloudError):
    """A valid credential that may not do this."""

    code = "forbidden"
    status = 403


class NotFound(HealthCloudError):
    """Nothing of that id here; another organization's things count as nothing."""

    code = "not_found"
    status = 404


class Conflict(HealthCloudError):
    """The state of the thing does not allow this now."""

    code = "conflict"
    status = 409


class PreconditionFailed(HealthCloudError):
    """An If-Match or similar precondition does not hold."""

    code = "precondition_failed"
    status = 412


class PayloadTooLarge(HealthCloudError):
    """The body exceeds a stated limit."""

    code = "payload_too_large"
    status = 413


class UnsupportedMediaType(HealthCloudError):
    """The body's content type is not one this route reads."""

    code = "unsupported_media_type"
    status = 415


class ValidationFailed(HealthCloudError):
    """The body is well-formed but breaks a rule; `param` or `details` name the fields."""

    code = "validation_error"
    status = 422


class RateLimited(HealthCloudError):
    """Too many requests; `retry_after` is in seconds."""

    code = "rate_limited"
    status = 429

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InternalError(HealthCloudError):
    """A fault of ours."""


class ServiceUnavailable(HealthCloudError):
    """A part that this request needs is down; trying again later can help."""

    code = "service_unavailable"
    status = 503
