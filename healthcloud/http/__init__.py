"""The one door out: every outbound HTTP request of the platform is made here.

Each connection resolves its host once, checks every answer, and connects to the address that was
checked; TLS and the Host header keep the name. No redirects, cookies, proxies or `.netrc`.
"""

from healthcloud.http.addresses import check_url
from healthcloud.http.client import OutboundClient, client
from healthcloud.http.connections import answer_within
from healthcloud.http.errors import (
    AddressRefused,
    ConnectionFailed,
    ConnectionLost,
    HostNotAllowed,
    MalformedResponse,
    OutboundError,
    RequestTimedOut,
    ResponseTooLarge,
    UnexpectedStatus,
    UrlRefused,
)
from healthcloud.http.responses import Json, Response

__all__ = [
    "AddressRefused",
    "ConnectionFailed",
    "ConnectionLost",
    "HostNotAllowed",
    "Json",
    "MalformedResponse",
    "OutboundClient",
    "OutboundError",
    "RequestTimedOut",
    "Response",
    "ResponseTooLarge",
    "UnexpectedStatus",
    "UrlRefused",
    "answer_within",
    "check_url",
    "client",
]
