"""`GET /v1/audit-events`: who did what to whose data."""

from datetime import datetime
from typing import Final

from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.api.pagination import PAGE, paginate
from healthcloud.api.views import PlatformView
from healthcloud.audit import queries
from healthcloud.audit.models import AuditEvent
from healthcloud.errors import BadRequest

FILTERS: Final = {
    "action": "action",
    "actor_id": "actor_id",
    "target_type": "target_type",
    "target_id": "target_id",
    "outcome": "outcome",
    "request_id": "request_id",
}
_PARAMETERS: Final = [
    *(OpenApiParameter(name, str) for name in FILTERS),
    OpenApiParameter("since", str, description="Audit events from this time on."),
    *PAGE,
]


class AuditEventListView(PlatformView):
    """The trail of a project, newest first."""

    required_scopes = {"GET": "audit:read"}

    @extend_schema(parameters=_PARAMETERS)
    def get(self, request: Request) -> Response:
        """List by `action`, `actor_id`, `target_type`, `target_id`, `outcome` and `since`."""
        given = request.query_params
        chosen = {column: given[name] for name, column in FILTERS.items() if name in given}
        rows = AuditEvent.objects.filter(**chosen)
        if (since := given.get("since")) is not None:
            rows = rows.filter(created_at__gte=_parse_time(since))
        return Response(paginate(rows, request, serialize=self._serialize, order=("-position",)))

    def _serialize(self, event: AuditEvent) -> dict[str, object]:
        return queries.as_dict(event, self.scope)


def _parse_time(text: str) -> datetime:
    try:
        moment = parse_datetime(text.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadRequest("`since` is a time such as 2026-11-22T10:00:00Z.", param="since")
    return moment
