"""Plain requests with a key that was seen before, answered by their views and nothing else.

Django's middleware serves people and their sessions; of a read of a resource it costs several
times what the read does. What is plain here goes from the bridge to its view in one step, under
the rules that the view states; all else, and whatever is refused before the database has confirmed
the caller, is declined and goes the whole way (`docs/decisions/0110`).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from time import perf_counter
from typing import Any, Final
from wsgiref.types import StartResponse

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse
from django.urls import resolve
from django.utils import timezone
from django.utils.module_loading import import_string

from healthcloud.api import health, request_ids
from healthcloud.api.principal import Principal
from healthcloud.api.views import PlatformView
from healthcloud.organizations import access, usage
from healthcloud.organizations.authentication import recall_bearer

Environ = dict[str, Any]

# Headers that ask for nothing but what views and this module heed. A header that is not named
# here may ask for anything, such as an idempotent repetition: its request is not plain.
_PLAIN: Final = frozenset(
    {
        *("HTTP_HOST", "HTTP_USER_AGENT", "HTTP_ACCEPT", "HTTP_ACCEPT_ENCODING"),
        *("HTTP_ACCEPT_LANGUAGE", "HTTP_ACCEPT_CHARSET", "HTTP_CONNECTION", "HTTP_KEEP_ALIVE"),
        *("HTTP_CACHE_CONTROL", "HTTP_PRAGMA", "HTTP_AUTHORIZATION", "HTTP_HEALTHCLOUD_PROJECT"),
        *("HTTP_X_REQUEST_ID", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"),
        *("HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_REAL_IP", "HTTP_VIA"),
        *("HTTP_PREFER", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"),
    }
)
_OWN: Final = "healthcloud."


@dataclass(frozen=True, slots=True)
class DirectRoute:
    """Methods of a view whose handlers a `direct_scope` may run: one group of writes at most."""

    methods: frozenset[str]
    pattern: re.Pattern[str]
    view: type[PlatformView]


class DirectApplication:
    """A WSGI application that answers what is plain and declines (None) all else."""

    def __init__(self, routes: Sequence[DirectRoute]) -> None:
        self.routes = routes

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes] | None:
        """Answer a request, or decline it with nothing done."""
        began = perf_counter()
        found = self._match(environ)
        if found is None:
            return None
        route, arguments = found
        request = WSGIRequest(environ)
        principal = _recall(request)
        if principal is None:
            return None
        with request_ids.serving(request):
            response = route.view().answer_directly(request, principal, **arguments)
        if response is None:
            environ["wsgi.input"].seek(0)
            return None
        if isinstance(response, SimpleTemplateResponse):  # such as REST framework's
            response.render()
        _put_headers(request, response)
        usage.note(response)
        name = _route_name(environ["PATH_INFO"], route)
        health.observe(str(request.method), name, response.status_code, began)
        start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
        if isinstance(response, HttpResponse):
            return [response.content]  # closing the response would end Django's request, too
        return response

    def _match(self, environ: Environ) -> tuple[DirectRoute, dict[str, str]] | None:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        for route in self.routes:
            if method in route.methods and (match := route.pattern.fullmatch(path)):
                plain = all(name in _PLAIN for name in environ if name.startswith("HTTP_"))
                return (route, match.groupdict()) if plain else None
        return None


def _recall(request: WSGIRequest) -> Principal | None:
    """Return the caller whose key this process knows, with a guard; None leads the whole way."""
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme != "Bearer":
        return None
    try:
        request.get_host()
    except DisallowedHost:
        return None
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()  # as Django does when a request begins
    return recall_bearer(
        token,
        now=timezone.now(),
        client_ip=access.client_address(request),
        named=request.META.get("HTTP_HEALTHCLOUD_PROJECT") or request.GET.get("project_id"),
    )


def _put_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    """Set what the middleware would have set."""
    for name, value in policy_headers(request.is_secure()).items():
        response.headers.setdefault(name, value)
    response[request_ids.HEADER] = request_ids.request_id(request)
    if not response.streaming and not response.has_header("Content-Length"):
        response["Content-Length"] = str(len(response.content))  # type: ignore[attr-defined]


@cache
def policy_headers(is_secure: bool) -> dict[str, str]:
    """Return the headers that Django's middleware puts on an answer, as it says itself."""
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/v1/",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "443" if is_secure else "80",
        "HTTP_HOST": settings.ALLOWED_HOSTS[0].replace("*", "localhost").lstrip("."),
        "HTTP_X_FORWARDED_PROTO": "https",
        "wsgi.url_scheme": "https" if is_secure else "http",
        "wsgi.input": BytesIO(),
    }
    answer: Any = lambda request: HttpResponse(content_type="application/json")  # noqa: E731
    for name in reversed(settings.MIDDLEWARE):
        if not name.startswith(_OWN):
            answer = import_string(name)(answer)
    headers = dict(answer(WSGIRequest(environ)).items())
    return {name: value for name, value in headers.items() if not name.startswith("Content-T")
            and name != "Content-Length"}  # fmt: skip


_names: dict[re.Pattern[str], str] = {}


def _route_name(path: str, route: DirectRoute) -> str:
    """Return the route as Django's resolver names it, for metrics."""
    if route.pattern not in _names:
        _names[route.pattern] = resolve(path).route
    return _names[route.pattern]


def application() -> DirectApplication:
    """Return the application of all routes that `settings.DIRECT_ROUTES` names."""
    return DirectApplication(
        [route for name in settings.DIRECT_ROUTES for route in import_string(name)]
    )
