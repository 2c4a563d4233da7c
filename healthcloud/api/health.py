"""/livez, /readyz and /metrics: for supervisors and monitoring, not for tenants."""

import hmac
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from healthcloud.api.throttling import valkey
from healthcloud.errors import HealthCloudError
from healthcloud.ledger import queries as ledger
from healthcloud.tenancy.models import TenantStatement

_REQUESTS: Final = Counter(
    "healthcloud_requests_total", "Requests answered.", ["method", "route", "status"]
)
_SECONDS: Final = Histogram(
    "healthcloud_request_seconds",
    "Time to answer a request, in seconds.",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)


class RequestMetricsMiddleware:
    """Count and time each request by its route, never by its path, which holds ids."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, then count."""
        began = time.perf_counter()
        response = self.get_response(request)
        route = getattr(request.resolver_match, "route", None) or "unknown"
        observe(str(request.method), route, response.status_code, began)
        return response


def observe(method: str, route: str, status: int, began: float) -> None:
    """Count and time an answer; `began` is a reading of `time.perf_counter`."""
    _counter(method, route, status).inc()
    _histogram(method, route).observe(time.perf_counter() - began)


@lru_cache(maxsize=4096)
def _counter(method: str, route: str, status: int) -> Counter:
    return _REQUESTS.labels(method, route, str(status))


@lru_cache(maxsize=1024)
def _histogram(method: str, route: str) -> Histogram:
    return _SECONDS.labels(method, route)


class LedgerCollector(Collector):
    """Depth and age of the queues and their dead letters, read when the metrics are."""

    def collect(self) -> Iterable[Metric]:
        """Yield three gauges; without figures while the database is down."""
        depth = GaugeMetricFamily("healthcloud_queue_due", "Work that is due.", labels=["queue"])
        age = GaugeMetricFamily(
            "healthcloud_queue_oldest_seconds", "Age of the oldest due work.", labels=["queue"]
        )
        dead = GaugeMetricFamily(
            "healthcloud_queue_dead", "Work that was given up.", labels=["queue"]
        )
        try:
            backlogs, given_up = ledger.backlogs(), ledger.dead_counts()
        except DatabaseError:
            backlogs, given_up = [], {}
        for queue, count in given_up.items():
            dead.add_metric([queue], count)
        for backlog in backlogs:
            depth.add_metric([backlog.queue], backlog.due)
            age.add_metric([backlog.queue], backlog.age)
        yield depth
        yield age
        yield dead

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not query the database."""
        return []


REGISTRY.register(LedgerCollector())


def _check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _check_tenancy() -> None:
    if not TenantStatement.objects.exists():
        raise DatabaseError("the tenant template is missing")


def _check_valkey() -> None:
    valkey().ping()


_CHECKS: Final[tuple[tuple[str, Callable[[], None], str], ...]] = (
    ("database", _check_database, "PostgreSQL does not answer; see DATABASE_URL."),
    ("tenancy", _check_tenancy, "Run `manage.py migrate_tenants`."),
    ("valkey", _check_valkey, "Valkey does not answer; see VALKEY_URL."),
)


def live(request: HttpRequest) -> HttpResponse:
    """Say that the process answers."""
    return JsonResponse({"status": "ok"})


def ready(request: HttpRequest) -> HttpResponse:
    """Say whether every part that requests need answers, and name the one that does not."""
    checks: dict[str, dict[str, object]] = {}
    for name, check, remedy in _CHECKS:
        began = time.perf_counter()
        try:
            check()
            checks[name] = {"ok": True, "remedy": None}
        except (DatabaseError, redis.RedisError, HealthCloudError):
            checks[name] = {"ok": False, "remedy": remedy}
        checks[name]["ms"] = round((time.perf_counter() - began) * 1000, 1)
    failing = [name for name, check in checks.items() if not check["ok"]]
    body = {"status": "failing" if failing else "ok", "failing": failing, "checks": checks}
    return JsonResponse(body, status=503 if failing else 200)


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer this process's metrics to whoever holds the token; without a token to nobody."""
    sent = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
    token = settings.METRICS_TOKEN.encode()
    if not token or not hmac.compare_digest(sent, token):
        return HttpResponse(
            "Set HEALTHCLOUD_METRICS_TOKEN and send it as a bearer token.\n",
            status=401,
            content_type="text/plain",
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        )
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


urlpatterns: list[URLPattern] = [
    path("livez", live),
    path("readyz", ready),
    path("metrics", metrics),
]
