"""How a package says that something failed. Pure."""

from collections.abc import Mapping

from assets.sdk.values import Json


class AssetError(Exception):
    """A failure that a package can name.

    `code` is snake_case and stable (`vendor_unauthorized`, `patient_not_found`); `message` is for
    people and holds no PHI; `remedy` says what to do; `retryable` says whether the same call may
    succeed later without anybody changing anything. `retry_after` is in seconds, from the vendor.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        remedy: str | None = None,
        retry_after: float | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.remedy = remedy
        self.retry_after = retry_after
        self.details = dict(details or {})

    def as_dict(self) -> Json:
        """Return the JSON form kept in run records, deployments and events."""
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "remedy": self.remedy,
        }
