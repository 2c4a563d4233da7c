"""The filters of the list of runs."""

from datetime import datetime

from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime
from rest_framework.request import Request

from healthcloud.errors import BadRequest
from healthcloud.numbers import number_of
from workflows import queries
from workflows.models import Run, RunStatus

_PLAIN = {
    "workflow": "slug",
    "workflow_id": "slug",
    "trigger": "trigger_kind",
    "patient": "patient",
    "parent": "parent",
}


def filtered(request: Request) -> QuerySet[Run]:
    """Return the runs that a request asks for; raise BadRequest naming what can't be read."""
    query = request.query_params
    rows = queries.runs()
    for name, column in _PLAIN.items():
        if value := query.get(name):
            wanted = value.removeprefix("Patient/") if name == "patient" else value
            rows = rows.filter(**{column: wanted})
    rows = _by_status(rows, query.get("status"))
    if version := query.get("version"):
        number = number_of(version)
        if number is None:
            raise BadRequest("`version` is a number.", param="version")
        rows = rows.filter(number=number)
    rows = _by_time(rows, query.get("since"), query.get("until"))
    for name in query:
        if name.startswith("metadata."):
            rows = rows.filter(metadata__contains={name.removeprefix("metadata."): query[name]})
    return rows


def _by_status(rows: QuerySet[Run], status: str | None) -> QuerySet[Run]:
    if not status:
        return rows
    if status not in RunStatus.values:
        raise BadRequest(f"`status` is one of {', '.join(RunStatus.values)}.", param="status")
    return rows.filter(status=status)


def _by_time(rows: QuerySet[Run], since: str | None, until: str | None) -> QuerySet[Run]:
    if since:
        rows = rows.filter(created_at__gte=_moment(since, "since"))
    return rows.filter(created_at__lt=_moment(until, "until")) if until else rows


def _moment(text: str, name: str) -> datetime:
    try:
        moment = parse_datetime(text.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadRequest(f"`{name}` is an ISO 8601 time with its zone.", param=name)
    return moment
