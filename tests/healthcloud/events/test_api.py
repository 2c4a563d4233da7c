"""`/v1/events`, `/v1/event-types`, `/v1/stream-tickets` and the audit trail over HTTP."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from rest_framework.test import APIClient

from healthcloud.actors import Actor
from healthcloud.events.models import Event, StreamTicket
from healthcloud.events.services import publish
from healthcloud.tenancy.scope import Scope, tenant_scope

Client = Callable[..., APIClient]
COMPLETED = {"run_id": "run_1", "workflow_id": "uti_screening"}


@pytest.fixture
def events(riverside_scope: Scope, alice_actor: Actor, now: datetime) -> list[Event]:
    types = ["workflow.started", "workflow.failed", "workflow.completed", "fhir.resource.created"]
    with tenant_scope(riverside_scope):
        return [
            publish(
                type=type_,
                payload={**COMPLETED, "resource_type": "Patient", "id": "pat_1"},
                actor=alice_actor,
                now=now + timedelta(minutes=number),
            )
            for number, type_ in enumerate(types)
        ]


@pytest.fixture
def alice_api(client_for: Client) -> APIClient:
    return client_for("riverside", project="screening")


def types_of(answer: object) -> list[str]:
    return [event["type"] for event in answer.json()["data"]]


def test_events_are_listed_newest_first_with_scope(
    alice_api: APIClient, events: list[Event], riverside_scope: Scope
) -> None:
    answer = alice_api.get("/v1/events")
    body = answer.json()
    assert types_of(answer) == ["workflow.completed", "workflow.failed", "workflow.started"]
    assert body["data"][0] == {
        "id": events[2].id,
        "object": "event",
        "sequence": 3,
        "type": "workflow.completed",
        "source": "workflow",
        "severity": "info",
        "created_at": "2026-11-22T10:02:00Z",
        "payload": {**COMPLETED, "resource_type": "Patient", "id": "pat_1"},
        "actor": {"kind": "user", "id": "usr_alice"},
        "request_id": None,
        "causation_id": None,
        **riverside_scope.metadata(),
    }
    assert {name: body[name] for name in riverside_scope.metadata()} == riverside_scope.metadata()
    assert body["meta"] == {"cursor": None, "has_more": False, "total": 3}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("type=workflow.failed", ["workflow.failed"]),
        ("type=workflow.failed,workflow.started", ["workflow.failed", "workflow.started"]),
        ("type=fhir.*", ["fhir.resource.created"]),
        ("type=task.*", []),
        ("severity=error", ["workflow.failed"]),
        ("source=workflow&severity=info", ["workflow.completed", "workflow.started"]),
        ("since=2026-11-22T10:02:00Z", ["workflow.completed"]),
        ("after=1", ["workflow.failed", "workflow.completed"]),
        ("after=3", []),
    ],
)
def test_filters(
    alice_api: APIClient, events: list[Event], query: str, expected: list[str]
) -> None:
    assert types_of(alice_api.get(f"/v1/events?{query}")) == expected


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("type=workflow.exploded", "type"),
        ("severity=loud", "severity"),
        ("since=yesterday", "since"),
        ("since=2026-11-22", "since"),
        ("after=-1", "after"),
        ("after=x", "after"),
        ("limit=0", "limit"),
    ],
)
def test_bad_filters_are_refused(alice_api: APIClient, query: str, param: str) -> None:
    answer = alice_api.get(f"/v1/events?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_pages_follow_one_another_without_gap_or_double(
    alice_api: APIClient, events: list[Event]
) -> None:
    first = alice_api.get("/v1/events?limit=2").json()
    second = alice_api.get(f"/v1/events?limit=2&cursor={first['meta']['cursor']}").json()
    assert [event["sequence"] for event in first["data"] + second["data"]] == [3, 2, 1]


def test_one_event(alice_api: APIClient, events: list[Event]) -> None:
    assert alice_api.get(f"/v1/events/{events[0].id}").json()["sequence"] == 1
    assert alice_api.get("/v1/events/evt_nothing").status_code == 404


def test_listing_takes_few_queries(
    alice_api: APIClient, events: list[Event], django_assert_max_num_queries: object
) -> None:
    alice_api.get("/v1/events")
    with django_assert_max_num_queries(8):
        alice_api.get("/v1/events")


def test_charlie_and_other_projects_and_production_see_nothing(
    client_for: Client, events: list[Event]
) -> None:
    for client in (
        client_for("lakeside", project="screening"),
        client_for("riverside", project="referrals"),
        client_for("riverside", environment="production", project="screening"),
    ):
        assert client.get("/v1/events?type=workflow.*").json()["data"] == []
        assert client.get(f"/v1/events/{events[0].id}").status_code == 404


def test_a_key_without_the_scope_is_refused(client_for: Client) -> None:
    client = client_for("riverside", project="screening", scopes=["fhir:read"])
    for path in ("/v1/events", "/v1/event-types", "/v1/events/stream"):
        assert client.get(path).status_code == 403
    assert client.post("/v1/stream-tickets").status_code == 403


def test_the_catalog_lists_every_documented_type(alice_api: APIClient) -> None:
    body = alice_api.get("/v1/event-types").json()
    names = {entry["type"] for entry in body["data"]}
    assert {
        "organization.created",
        "project.created",
        "api_key.created",
        "api_key.rotated",
        "api_key.revoked",
        "asset.installed",
        "asset.upgraded",
        "asset.uninstalled",
        "integration.connected",
        "integration.failed",
        *(
            f"deployment.{verb}"
            for verb in ("created", "active", "degraded", "stopped", "failed", "rolled_back")
        ),
        *(f"agent.run.{verb}" for verb in ("started", "completed", "failed", "requires_action")),
        "diagnostic.result_ready",
        "eligibility.checked",
        *(
            f"prior_auth.{verb}"
            for verb in ("submitted", "approved", "denied", "pended", "action_required")
        ),
        "care_gap.opened",
        "care_gap.closed",
        *(
            f"workflow.{verb}"
            for verb in ("published", "started", "completed", "failed", "canceled", "waiting")
        ),
        "workflow.step.completed",
        "workflow.step.failed",
        "task.created",
        "task.decided",
        *(f"fhir.resource.{verb}" for verb in ("created", "updated", "deleted")),
        "webhook.disabled",
    } <= names
    kinds = {"id", "ids", "text", "number", "flag", "list"}
    for entry in body["data"]:
        members = {**entry["payload"]["required"], **entry["payload"]["optional"]}
        assert set(members.values()) <= kinds
        assert entry["summary"].endswith(".")


def test_a_ticket_is_kept_as_a_digest_and_expires(
    alice_api: APIClient, riverside_scope: Scope
) -> None:
    body = alice_api.post("/v1/stream-tickets").json()
    assert body["stream_url"] == f"/v1/events/stream?ticket={body['ticket']}"
    with tenant_scope(riverside_scope):
        ticket = StreamTicket.objects.get()
        assert body["ticket"].encode() not in bytes(ticket.digest)
        StreamTicket.objects.update(expires_at=ticket.expires_at - timedelta(hours=1))
    assert APIClient().get(body["stream_url"]).status_code == 401


def test_a_server_that_cannot_stream_answers_what_there_is(
    alice_api: APIClient, events: list[Event]
) -> None:
    answer = alice_api.get("/v1/events/stream?after=1")
    assert answer["Content-Type"] == "text/event-stream"
    text = answer.content.decode()
    assert text.startswith("retry: 1000\n\nid: 2\nevent: workflow.failed\ndata: {")
    assert text.count("\nevent: ") == 2


def test_the_trail_is_read_by_filter_and_by_its_own_organization_only(
    alice_api: APIClient, client_for: Client
) -> None:
    created = alice_api.post("/v1/webhooks", {"url": "https://example.com/x"}, format="json").json()
    (row,) = alice_api.get(f"/v1/audit-events?target_id={created['id']}").json()["data"]
    assert (row["action"], row["outcome"]) == ("webhook.create", "success")
    assert row["actor"] == {"kind": "api_key", "id": alice_api.key.id, "label": "test"}
    assert row["target"] == {"type": "webhook", "id": created["id"]}
    assert alice_api.get("/v1/audit-events?action=nothing.done").json()["data"] == []
    assert alice_api.get("/v1/audit-events?since=x").status_code == 400
    charlie = client_for("lakeside", project="screening")
    assert charlie.get(f"/v1/audit-events?target_id={created['id']}").json()["data"] == []
    limited = client_for("riverside", project="screening", scopes=["events:read"])
    assert limited.get("/v1/audit-events").status_code == 403
