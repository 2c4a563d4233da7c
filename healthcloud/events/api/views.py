"""`/v1/events`, `/v1/event-types`, `/v1/stream-tickets`."""

from typing import Final

from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.api.pagination import PAGE, paginate
from healthcloud.api.views import NO_METHODS, PlatformView
from healthcloud.errors import BadRequest
from healthcloud.events import catalog, numbering, queries, selection, tickets
from healthcloud.events.admission import parse_number
from healthcloud.events.api.serializers import timestamp
from healthcloud.events.models import Event

_FILTERS: Final = [
    OpenApiParameter("type", str, description="Types or groups: `workflow.*,task.created`."),
    OpenApiParameter("severity", str, description="`info`, `warning`, `error`, `critical`."),
    OpenApiParameter("source", str, description="The part that emitted it, as `workflow`."),
    OpenApiParameter("after", int, description="Events that followed this sequence number."),
]
_LIST_PARAMETERS: Final = [
    *_FILTERS,
    OpenApiParameter("since", str, description="Events from this time on."),
    *PAGE,
]


class EventListView(PlatformView):
    """The events of a project, newest first; with `after` the ones that followed, oldest first."""

    required_scopes = {"GET": "events:read"}

    @extend_schema(parameters=_LIST_PARAMETERS)
    def get(self, request: Request) -> Response:
        """List events by `type` (patterns), `severity`, `source`, `since` and `after`."""
        numbering.number_visible()
        query = request._request.GET
        chosen = selection.from_query(query, project_id=self.scope.project_id)
        rows = queries.numbered(chosen)
        if (since := query.get("since")) is not None:
            rows = rows.filter(created_at__gte=_parse_time(since))
        after = parse_number(query.get("after"))
        if after is not None:
            rows = rows.filter(sequence__gt=after)
        order = ("-sequence",) if after is None else ("sequence",)
        return Response(paginate(rows, request, serialize=self._serialize, order=order))

    def _serialize(self, event: Event) -> dict[str, object]:
        return queries.as_dict(event, self.scope)


class EventView(PlatformView):
    """One event."""

    required_scopes = {"GET": "events:read"}

    def get(self, request: Request, event_id: str) -> Response:
        """Return an event by its id."""
        numbering.number_visible()
        return Response(queries.as_dict(queries.find_event(event_id), self.scope))


class EventTypeListView(PlatformView):
    """The catalog of event types."""

    required_scopes = {"GET": "events:read"}

    def get(self, request: Request) -> Response:
        """List all types with what their payloads hold."""
        data = [type_.as_dict() for type_ in catalog.CATALOG.values()]
        meta = {"cursor": None, "has_more": False, "total": len(data)}
        return Response({"data": data, "meta": meta})


class StreamTicketView(PlatformView):
    """Tickets that open one stream within a minute, for clients that can't send headers."""

    required_scopes = {"POST": "events:read"}
    project_required = NO_METHODS

    @extend_schema(request=None, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: Request) -> Response:
        """Issue a ticket; put it into the URL as `?ticket=…`."""
        ticket = tickets.issue(self.principal, self.scope, now=self.now)
        body = {
            "object": "stream_ticket",
            "ticket": ticket.text,
            "expires_at": timestamp(ticket.expires_at),
            "stream_url": f"/v1/events/stream?ticket={ticket.text}",
            "websocket_url": f"/v1/events/ws?ticket={ticket.text}",
        }
        return Response(body, status=201)


def _parse_time(text: str) -> object:
    try:
        moment = parse_datetime(text.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadRequest("`since` is a time such as 2026-11-22T10:00:00Z.", param="since")
    return moment
