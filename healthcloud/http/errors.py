"""What can go wrong with an outbound request.

OutboundError
├── UrlRefused            the URL itself: scheme, user info, plain http beyond loopback   permanent
├── HostNotAllowed        not in the allow-list of this client                            permanent
├── AddressRefused        resolves to a private, loopback, link-local … address           permanent
├── ConnectionFailed      nothing was sent                                                retryable
├── RequestTimedOut       the deadline passed; the other side may have acted              retryable
├── ConnectionLost        broken after sending; the other side may have acted             retryable
├── ResponseTooLarge      more bytes than this client reads                               permanent
├── MalformedResponse     not HTTP, or not the JSON it claims to be                       permanent
└── UnexpectedStatus      raised by `Response.raise_for_status`; 429 and 5xx retryable
"""

from healthcloud.errors import HealthCloudError


class OutboundError(HealthCloudError):
    """An outbound request that gave no usable answer."""

    code = "service_unavailable"
    status = 503
    retryable: bool = False
    outcome_unknown: bool = False


class UrlRefused(OutboundError):
    """The URL is not one this platform calls."""

    code = "validation_error"
    status = 422


class HostNotAllowed(OutboundError):
    """The host is not in the client's allow-list."""

    code = "validation_error"
    status = 422


class AddressRefused(OutboundError):
    """The host resolves to an address inside a network, not on the public internet."""

    code = "validation_error"
    status = 422


class ConnectionFailed(OutboundError):
    """No connection was made; nothing was sent."""

    retryable = True


class RequestTimedOut(OutboundError):
    """The deadline passed; the other side may have acted on the request."""

    retryable = True
    outcome_unknown = True


class ConnectionLost(OutboundError):
    """The connection broke after sending; the other side may have acted on the request."""

    retryable = True
    outcome_unknown = True


class ResponseTooLarge(OutboundError):
    """The answer is longer than this client reads."""


class MalformedResponse(OutboundError):
    """The answer is not what the protocol allows."""


class UnexpectedStatus(OutboundError):
    """The other side answered with an error status."""

    def __init__(self, status_code: int, host: str, retry_after: float | None) -> None:
        super().__init__(f"{host} answered {status_code}.")
        self.status_code = status_code
        self.retry_after = retry_after
        self.retryable = status_code == 429 or status_code >= 500
