"""The steps of a connection test. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from assets.sdk.context import Context
from assets.sdk.errors import AssetError
from assets.sdk.values import Json

Step: TypeAlias = tuple[str, str, Callable[[], int | None]]
"""Name, message of success, and what is tried: it returns the vendor's HTTP status or None."""


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


def probes(context: Context, steps: Sequence[Step]) -> Iterator[Probe]:
    """Try one step after the other, up to the first that fails."""
    for name, message, step in steps:
        outcome = probe(context, name, step, message)
        yield outcome
        if not outcome.ok:
            return


def unreachable(base_url: str, error: AssetError) -> AssetError:
    """Return the error of a vendor whose configured address does not answer."""
    return AssetError(
        error.code,
        f"{urlsplit(base_url).hostname} can't be reached: {error.message}",
        retryable=error.retryable,
        remedy="Check base_url in the configuration, and the network's firewall.",
    )
