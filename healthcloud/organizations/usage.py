"""How much an organization uses: requests by day, runs and steps, resources, storage.

Requests are counted in memory and written every few seconds, so that counting costs a request
nothing; a process that is killed loses the last of them, which usage figures may.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from django.db import DatabaseError, connection
from django.db.models import Count
from django.db.models.functions import TruncDate
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from healthcloud.api.errors import is_api_path
from healthcloud.events.models import Event
from healthcloud.organizations.models import Project, UsageDay
from healthcloud.tenancy.scope import active_scope, public_scope

FLUSH_SECONDS: Final = 5.0
_NONE: Final = "null"
_STEPS: Final = ("workflow.step.completed", "workflow.step.failed")
_RUNS: Final = ("workflow.started", "agent.run.started", *_STEPS)
_ADD: Final = """
INSERT INTO organizations_usageday (environment_id, project_id, date, requests, errors)
SELECT id, %s, %s, %s, %s FROM organizations_environment
WHERE organization_id = %s AND kind = %s
ON CONFLICT (environment_id, project_id, date) DO UPDATE
SET requests = organizations_usageday.requests + excluded.requests,
    errors = organizations_usageday.errors + excluded.errors
"""

Counted = tuple[str, str, str, date]
ResourceCounter = Callable[[], Mapping[int, int]]


@dataclass(slots=True)
class _Tally:
    """What this process has counted and not yet written."""

    requests: Counter[Counted]
    errors: Counter[Counted]
    since: float


_lock = threading.Lock()
_tally = _Tally(Counter(), Counter(), time.monotonic())
_resource_counters: list[ResourceCounter] = []


def register_resource_counter(counter: ResourceCounter) -> None:
    """Let a store tell how many resources each project number of the active tenant holds."""
    _resource_counters.append(counter)


class UsageMiddleware:
    """Count each answer of the API for the organization that its headers name."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, count, and now and then write."""
        response = self.get_response(request)
        if is_api_path(request.path):
            note(response)
        return response


def note(response: HttpResponseBase) -> None:
    """Count an answer of the API for the organization that its headers name, if any."""
    organization = response.get("HealthCloud-Organization-Id", _NONE)
    if organization == _NONE:
        return
    project = response.get("HealthCloud-Project-Id", _NONE)
    environment = response.get("HealthCloud-Environment", _NONE)
    named = "" if project == _NONE else project
    if count(organization, environment, named, failed=response.status_code >= 400):
        flush()


def count(organization: str, environment: str, project: str, *, failed: bool) -> bool:
    """Count an answer; return whether it is time to `flush`."""
    counted = (organization, environment, project, datetime.now(UTC).date())
    with _lock:
        _tally.requests[counted] += 1
        if failed:
            _tally.errors[counted] += 1
        return time.monotonic() - _tally.since >= FLUSH_SECONDS


def flush() -> None:
    """Write what was counted; keep it for the next time while the database is down."""
    with _lock:
        requests, errors = _tally.requests, _tally.errors
        _tally.requests, _tally.errors, _tally.since = Counter(), Counter(), time.monotonic()
    if not requests:
        return
    rows = [
        (project, day, count, errors[counted], organization, environment)
        for counted, count in sorted(requests.items())
        for organization, environment, project, day in [counted]
    ]
    try:
        with public_scope(), connection.cursor() as cursor:
            cursor.executemany(_ADD, rows)
    except DatabaseError:
        with _lock:
            _tally.requests.update(requests)
            _tally.errors.update(errors)


def daily(
    *, environment_id: str, project_id: str | None, since: date, until: date
) -> list[dict[str, object]]:
    """Return requests, runs and steps by day and project, newest first, inside `tenant_scope`."""
    flush()
    days: dict[tuple[date, str], dict[str, int]] = {}
    with public_scope():
        counted = UsageDay.objects.filter(
            environment_id=environment_id, date__gte=since, date__lte=until
        )
        if project_id is not None:
            counted = counted.filter(project_id=project_id)
        for row in counted:
            days[row.date, row.project_id] = {"requests": row.requests, "errors": row.errors}
    for day, project, type_, count in _runs(since, until):
        days.setdefault((day, project), {})[type_] = count
    return [
        {
            "date": day.isoformat(),
            "project_id": project or None,
            "requests": figures.get("requests", 0),
            "errors": figures.get("errors", 0),
            "workflow_runs": figures.get("workflow.started", 0),
            "workflow_steps": sum(figures.get(type_, 0) for type_ in _STEPS),
            "agent_runs": figures.get("agent.run.started", 0),
        }
        for (day, project), figures in sorted(days.items(), reverse=True)
    ]


def _runs(since: date, until: date) -> list[tuple[date, str, str, int]]:
    begin = datetime.combine(since, datetime.min.time(), tzinfo=UTC)
    end = datetime.combine(until + timedelta(days=1), datetime.min.time(), tzinfo=UTC)
    rows = (
        Event.objects.filter(type__in=_RUNS, created_at__gte=begin, created_at__lt=end)
        .annotate(day=TruncDate("created_at", tzinfo=UTC))
        .values_list("day", "project_id", "type")
        .annotate(count=Count("pk"))
        .order_by()
    )
    return list(rows)


def current() -> dict[str, object]:
    """Return what the tenant holds now, inside `tenant_scope`: resources and bytes."""
    numbers: Counter[int] = Counter()
    for counter in _resource_counters:
        numbers.update(counter())
    projects = Project.objects.filter(number__in=numbers).values_list("id", "number")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = to_regnamespace(%s)",
            [active_scope().schema],
        )
        (size,) = cursor.fetchone()
    return {
        "resources": {project: numbers[number] for project, number in projects},
        "storage_bytes": size,
        "measured_at": timezone.now(),
    }
