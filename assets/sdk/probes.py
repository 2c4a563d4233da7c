"""The steps of a connection test. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from assets.sdk.context import Context
from assets.sdk.errors import AssetError
from assets.sdk.values import Json


@dataclass(frozen=True, slots=True)
class Probe:
    """One step of a connection test. `status` is the vendor's HTTP status, when there was one."""

    name: str
    ok: bool
    ms: int
    status: int | None = None
    message: str = ""
    code: str | None = None
    remedy: str | None = None
    retryable: bool = False

    def as_dict(self) -> Json:
        """Return the JSON form."""
        return {
            "name": self.name,
            "ok": self.ok,
            "ms": self.ms,
            "status": self.status,
            "message": self.message,
            "code": self.code,
            "remedy": self.remedy,
            "retryable": self.retryable,
        }


def probe(context: Context, name: str, step: Callable[[], int | None], message: str) -> Probe:
    """Time `step` and return its probe; `step` returns the vendor's HTTP status or None.

    An AssetError becomes a failed probe with its message, code and remedy; its `details["status"]`,
    when given, is the vendor's status.
    """
    started = context.clock()
    try:
        status = step()
    except AssetError as error:
        vendor_status = error.details.get("status")
        return Probe(
            name=name,
            ok=False,
            ms=round((context.clock() - started) * 1000),
            status=vendor_status if isinstance(vendor_status, int) else None,
            message=error.message,
            code=error.code,
            remedy=error.remedy,
            retryable=error.retryable,
        )
    return Probe(name, True, round((context.clock() - started) * 1000), status, message)
