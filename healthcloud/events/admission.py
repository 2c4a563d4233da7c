"""The door of both streams: the same checks as any view of the API, before a stream begins."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from healthcloud.api.errors import describe
from healthcloud.api.renderers import dump_json
from healthcloud.api.request_ids import RequestIdMiddleware
from healthcloud.api.views import NO_METHODS, PlatformView
from healthcloud.errors import BadRequest, Forbidden, HealthCloudError
from healthcloud.events import numbering, queries, selection
from healthcloud.events.following import Admission
from healthcloud.events.sse import event_message, retry_message
from healthcloud.events.tickets import TicketAuthentication

BACKLOG: Final = 100
_PARAMETERS: Final = [
    OpenApiParameter("Last-Event-ID", int, OpenApiParameter.HEADER, description="As `after`."),
    OpenApiParameter("after", int, description="Begin behind this sequence number."),
    OpenApiParameter("type", str, description="Types or groups: `workflow.*,task.created`."),
    OpenApiParameter("severity", str, description="`info`, `warning`, `error`, `critical`."),
    OpenApiParameter("source", str, description="The part that emitted it, as `workflow`."),
    OpenApiParameter("ticket", str, description="From POST /v1/stream-tickets."),
]


class Admitted(HttpResponse):
    """The answer to a request that may open a stream; it never goes out as it is."""

    def __init__(self, admission: Admission) -> None:
        super().__init__(content_type="text/event-stream; charset=utf-8")
        self.admission = admission


class StreamView(PlatformView):
    """Events as server-sent events, from `Last-Event-ID` or `after` on.

    The ASGI server keeps the stream open (`healthcloud.events.stream`). Under a server that can't
    (`live=False`), the answer holds what there is and ends; a client reconnects and goes on.
    """

    authentication_classes = [
        TicketAuthentication,
        *APIView.authentication_classes,
    ]
    required_scopes = {"GET": "events:read"}
    project_required = NO_METHODS
    live = False

    @extend_schema(parameters=_PARAMETERS, responses={(200, "text/event-stream"): str})
    def get(self, request: Request) -> HttpResponseBase:
        """Open the stream."""
        if self.live:
            return Admitted(self._admission(request))
        last = numbering.number_committed()
        admission = self._admission(request)
        after = last if admission.after is None else admission.after
        events = queries.between(admission.selection, after, last, limit=BACKLOG)
        body = b"".join(event_message(event, self.scope) for event in events)
        return HttpResponse(retry_message(1000) + body, content_type="text/event-stream")

    def _admission(self, request: Request) -> Admission:
        query = request._request.GET
        offered = request.headers.get("Last-Event-ID") or query.get("after")
        return Admission(
            principal=self.principal,
            scope=self.scope,
            selection=selection.from_query(query, project_id=self.scope.project_id),
            after=parse_number(offered),
        )


def parse_number(text: str | None) -> int | None:
    """Return a sequence number, None without one; raise BadRequest for anything else."""
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadRequest("`after` is the sequence number of the last event seen.", param="after")
    return int(text)


def admit(connection: dict[str, Any]) -> Admission | HttpResponseBase:
    """Check the request behind an ASGI connection; return its admission, or the refusal.

    Synchronous: call it in a database thread.
    """
    response = _handler(_as_http_request(connection))
    if isinstance(response, Response):
        response.render()
    if not isinstance(response, Admitted):
        return response
    return replace(response.admission, headers=dict(response.items()))


def refusal(admission: Admission, error: HealthCloudError) -> HttpResponse:
    """Return the answer to a caller who was admitted and then has to be refused."""
    described = describe(error)
    body = described.body(request_id=admission.headers.get("X-Request-Id", ""))
    kept = {
        name: value for name, value in admission.headers.items() if name.lower() != "content-type"
    }
    return HttpResponse(
        dump_json({**body, **admission.scope.metadata()}),
        status=described.status,
        content_type="application/json",
        headers={**kept, **described.headers},
    )


def check_origin(connection: dict[str, Any], admission: Admission) -> None:
    """Refuse a websocket that another site opened with a person's cookies; raise Forbidden.

    Browsers apply no same-origin rule to websockets, so the session's own origin is demanded.
    Keys and tickets are secrets that another site does not have.
    """
    request = _as_http_request(connection)
    if admission.principal.key_id or "Authorization" in request.headers or "ticket" in request.GET:
        return
    origin = request.headers.get("Origin", "")
    same = urlsplit(origin).netloc == request.get_host()
    if not same and origin not in settings.CSRF_TRUSTED_ORIGINS:
        raise Forbidden("A websocket with a session's cookie must come from Studio's own pages.")


def _as_http_request(connection: dict[str, Any]) -> ASGIRequest:
    return ASGIRequest({**connection, "type": "http", "method": "GET"}, io.BytesIO())


def _view(request: HttpRequest) -> HttpResponseBase:
    return cast(HttpResponseBase, StreamView.as_view(live=True)(request))


def _build_handler() -> Callable[[HttpRequest], HttpResponseBase]:
    chain: Any = _view
    for middleware in (AuthenticationMiddleware, SessionMiddleware, RequestIdMiddleware):
        chain = middleware(chain)
    return cast("Callable[[HttpRequest], HttpResponseBase]", chain)


_handler = _build_handler()
