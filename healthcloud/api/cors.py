"""Cross-origin requests of apps in browsers: FHIR and OAuth answer them, with no cookie ever.

`*` lets any page call, and keeps the browser from sending or honoring a session: what such a page
can do is what its token can. https://hl7.org/fhir/smart-app-launch/app-launch.html#considerations-for-cross-origin-resource-sharing-cors-support
"""

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

_OPEN: Final = ("/v1/fhir", "/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/jwks")
_DISCOVERY: Final = "/.well-known/"
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_SENT: Final = (
    "Accept, Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Exist,"
    " If-None-Match, Prefer, HealthCloud-Project, HealthCloud-Version, Idempotency-Key, Origin,"
    " Purpose-Of-Use, X-Break-Glass, X-Provenance, X-Request-Id, X-Requested-With"
)
_SHOWN: Final = (
    "Content-Location, ETag, HealthCloud-Environment, HealthCloud-Organization-Id,"
    " HealthCloud-Project-Id, Last-Modified, Location, Preference-Applied, Retry-After,"
    " WWW-Authenticate, X-Request-Id"
)
_DAY: Final = "86400"


class CorsMiddleware:
    """Answers preflights, and marks answers as readable by every origin."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer; requests without an Origin pass untouched."""
        if "HTTP_ORIGIN" not in request.META or not _is_open(request.path):
            return self.get_response(request)
        is_preflight = (
            request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.META
        )
        response = HttpResponse(status=204) if is_preflight else self.get_response(request)
        response["Access-Control-Allow-Origin"] = "*"
        if is_preflight:
            response["Access-Control-Allow-Methods"] = _METHODS
            response["Access-Control-Allow-Headers"] = _SENT
            response["Access-Control-Max-Age"] = _DAY
        else:
            response["Access-Control-Expose-Headers"] = _SHOWN
        return response


def _is_open(path: str) -> bool:
    return path.startswith(_DISCOVERY) or any(
        path == root or path.startswith(f"{root}/") for root in _OPEN
    )
