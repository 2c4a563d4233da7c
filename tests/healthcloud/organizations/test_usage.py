"""GET /v1/usage: requests counted by day and project, and nobody else's."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from rest_framework.test import APIClient

from healthcloud.actors import SYSTEM
from healthcloud.events.services import publish
from healthcloud.organizations import usage
from healthcloud.organizations.models import UsageDay
from healthcloud.tenancy.scope import Scope, tenant_scope

pytestmark = pytest.mark.django_db
ClientFor = Callable[..., APIClient]


def test_requests_errors_and_runs_are_counted_by_project(
    client_for: ClientFor, riverside_scope: Scope
) -> None:
    with tenant_scope(riverside_scope):
        payload = {"run_id": "run_1", "workflow_id": "uti_screening"}
        publish(type="workflow.started", payload=payload, actor=SYSTEM, now=datetime.now(UTC))
        ended = {**payload, "step_id": "read", "attempt": 1, "duration_ms": 3}
        publish(type="workflow.step.completed", payload=ended, actor=SYSTEM, now=datetime.now(UTC))
    client = client_for("riverside", project="screening")
    client.get("/v1/projects")
    client.get("/v1/projects/proj_nobody")
    body = client.get("/v1/usage").json()
    assert body["data"] == [
        {
            "date": datetime.now(UTC).date().isoformat(),
            "project_id": "proj_riverside_screening",
            "requests": 2,
            "errors": 1,
            "workflow_runs": 1,
            "workflow_steps": 1,
            "agent_runs": 0,
        }
    ]
    assert body["current"]["storage_bytes"] > 100_000
    assert body["organization_id"] == "org_riverside"


def test_charlie_sees_nothing_of_riversides_usage(client_for: ClientFor) -> None:
    client_for("riverside", project="screening").get("/v1/projects")
    assert client_for("lakeside").get("/v1/usage").json()["data"] == []
    live = client_for("riverside", environment="production")
    assert live.get("/v1/usage").json()["data"] == []


@pytest.mark.parametrize(
    "query", ["since=yesterday", "since=2026-11-02&until=2026-11-01", "since=2020-01-01"]
)
def test_bad_dates_are_400(client_for: ClientFor, query: str) -> None:
    response = client_for("riverside").get(f"/v1/usage?{query}")
    assert (response.status_code, response.json()["error"]["param"]) == (400, "since")


def test_counts_add_up_in_the_database(client_for: ClientFor) -> None:
    client = client_for("riverside")
    for _ in range(2):
        client.get("/v1/projects")
        usage.flush()
    assert UsageDay.objects.get().requests == 2
