"""The way out of a call: the platform's outbound client, held to the manifest's hosts.

Loopback is reachable in one case only: the sandbox, at the address of the vendor simulators.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

from assets.sdk import AssetError
from healthcloud import http
from healthcloud.http import (
    AddressRefused,
    HostNotAllowed,
    OutboundError,
    RequestTimedOut,
    Response,
    UrlRefused,
)

DEFAULT_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A vendor's answer, as the SDK shows it."""

    response: Response

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields."""
        return self.response.headers

    @property
    def content(self) -> bytes:
        """The body."""
        return self.response.content

    @property
    def retry_after(self) -> float | None:
        """The seconds that `Retry-After` asks for, at most an hour; None without a number."""
        fields = {name.lower(): text for name, text in self.headers.items()}
        value = fields.get("retry-after", "")
        return min(float(value), 3600.0) if value.isdigit() else None

    def text(self) -> str:
        """Return the body as text."""
        return self.response.text

    def json(self) -> object:
        """Return the parsed body; AssetError `vendor_rubbish` when it isn't JSON."""
        try:
            return self.response.json()
        except OutboundError as error:
            raise AssetError(
                "vendor_rubbish",
                f"{self.response.host} answered {self.status} with something that is not JSON.",
                remedy="Check the address in the configuration; tell the vendor if it is right.",
                details={"status": self.status},
            ) from error


@dataclass(frozen=True, slots=True)
class HttpHandle:
    """Requests to the hosts that the manifest names; never retried here."""

    network: tuple[str, ...]
    environment: str

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        json: object | None = None,
        data: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Send one request; AssetError when no answer can be had."""
        client = http.client(
            allow_hosts=[_host(entry) for entry in self.network],
            allow_loopback=self.environment == "sandbox" and _is_simulator(url),
            timeout=timeout or DEFAULT_TIMEOUT,
            retries=0,
        )
        try:
            response = client.request(
                method, url, headers=headers, content=content, json=json, data=data
            )
        except OutboundError as error:
            raise _asset_error(error) from error
        return Answer(response)


def _host(entry: str) -> str:
    """Return `host` or `host:port` of an address or a host name."""
    if "//" not in entry:
        return entry
    parts = urlsplit(entry)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _is_simulator(url: str) -> bool:
    return urlsplit(url).netloc == urlsplit(settings.SIMULATOR_URL).netloc


def _asset_error(error: OutboundError) -> AssetError:
    details = {"outcome_unknown": error.outcome_unknown}
    if isinstance(error, HostNotAllowed | AddressRefused | UrlRefused):
        remedy = "Use an https address of the vendor that is reachable on the internet."
        return AssetError("host_not_allowed", error.message, remedy=remedy, details=details)
    if isinstance(error, RequestTimedOut):
        remedy = "Try again later; raise the timeout in the configuration if it lasts."
        return AssetError(
            "vendor_timeout", error.message, retryable=True, remedy=remedy, details=details
        )
    if error.retryable:
        remedy = "Check the address and the network, then try again."
        return AssetError(
            "vendor_unreachable", error.message, retryable=True, remedy=remedy, details=details
        )
    return AssetError("vendor_rubbish", error.message, remedy="Tell the vendor.", details=details)
