"""R4's own Subscriptions over a rest-hook: status, criteria, payload, schedule, log."""

import pytest
from rest_framework.test import APIClient

from fhir.sql import fetch
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.fhir.subscriptions.conftest import Subscribe, observation, subscription
from tests.healthcloud.receiver import Receiver


def status_of(client: APIClient, rid: str) -> str:
    return client.get(f"/v1/fhir/Subscription/{rid}").json()["status"]


def create(client: APIClient, resource: dict) -> dict:
    answer = client.post(f"/v1/fhir/{resource['resourceType']}", resource, format="json")
    assert answer.status_code == 201, answer.json()
    return answer.json()


def test_a_subscription_is_requested_then_active_and_posts_without_a_body(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient
) -> None:
    made = subscribe("Observation?code=http://loinc.org|8310-5", header=["Authorization: Bearer x"])
    assert made["status"] == "requested"
    run_until_idle()
    assert status_of(alice_client, made["id"]) == "active"
    assert receiver.received == []
    create(alice_client, observation("8310-5"))
    create(alice_client, observation("8867-4"))
    run_until_idle()
    [request] = receiver.received
    assert (request.method, request.path, request.body) == ("POST", "/hook", b"")
    assert request.headers["authorization"] == "Bearer x"
    assert request.headers["webhook-signature"].startswith("v1,")


def test_with_a_payload_the_resource_comes_as_an_update(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient
) -> None:
    subscribe("Observation?status=final", payload="application/fhir+json")
    run_until_idle()
    made = create(alice_client, observation("8310-5"))
    run_until_idle()
    [request] = receiver.received
    assert (request.method, request.path) == ("PUT", f"/hook/Observation/{made['id']}")
    assert request.headers["content-type"] == "application/fhir+json"
    stored = alice_client.get(f"/v1/fhir/Observation/{made['id']}")
    assert request.body == stored.content


@pytest.mark.parametrize(
    ("criteria", "matches"),
    [
        ("Observation?", True),
        ("Observation?code=8310-5", True),
        ("Observation?code:not=8310-5", False),
        ("Observation?subject=Patient/pat_1", True),
        ("Observation?subject=Patient/pat_2", False),
        ("Observation?patient.birthdate=lt1960", True),
        ("Observation?patient.birthdate=gt1960", False),
        ("Observation?patient.family=Shaw", True),
        ("Observation?date=ge2026-11-01&date=lt2026-12", True),
        ("Observation?date=lt2026-11-01", False),
        ("Observation?value-quantity=gt100", True),
        ("Observation?value-quantity=gt102", False),
        ("Observation?_id=nothing", False),
        ("Observation?_has:DiagnosticReport:result:status=final", False),
        ("Observation?code-value-quantity=8310-5$gt100", True),
        ("Observation?code:text=temp", True),
        ("Observation?_tag=https://healthcloud.dev/fhir/tag/environment|sandbox", True),
        ("Patient?name=shaw", False),
    ],
)
def test_criteria_match_as_a_search_would(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient, criteria: str, matches: bool
) -> None:
    patient = {
        "resourceType": "Patient",
        "id": "pat_1",
        "name": [{"family": "Shaw"}],
        "birthDate": "1958-03-02",
    }
    alice_client.put("/v1/fhir/Patient/pat_1", patient, format="json")
    subscribe(criteria)
    run_until_idle()
    resource = observation(
        "8310-5",
        effectiveDateTime="2026-11-20T08:00:00Z",
        valueQuantity={"value": 101.2, "unit": "F"},
    )
    resource["code"]["text"] = "Body temperature"
    made = create(alice_client, resource)
    run_until_idle()
    assert len(receiver.received) == (1 if matches else 0)
    if criteria.startswith("Observation"):
        query = criteria.replace("|", "%7C")
        found = alice_client.get(f"/v1/fhir/{query}").json()
        ids = [entry["resource"]["id"] for entry in found.get("entry", ())]
        assert (made["id"] in ids) is matches


def test_a_version_is_judged_as_it_was_even_if_it_was_overwritten_since(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient
) -> None:
    subscribe("Observation?status=preliminary", payload="application/fhir+json")
    run_until_idle()
    made = create(alice_client, observation("8310-5", status="preliminary"))
    final = {**observation("8310-5"), "id": made["id"]}
    alice_client.put(f"/v1/fhir/Observation/{made['id']}", final, format="json")
    alice_client.delete(f"/v1/fhir/Observation/{made['id']}")
    run_until_idle()
    [request] = receiver.received
    assert b'"status":"preliminary"' in request.body


@pytest.mark.parametrize(
    ("fields", "expression"),
    [
        ({"criteria": "Observation?nothing=1"}, "Subscription.criteria"),
        ({"criteria": "Observation?date=yesterday"}, "Subscription.criteria"),
        ({"criteria": "Nothing?code=1"}, "Subscription.criteria"),
        ({"criteria": "Subscription?status=active"}, "Subscription.criteria"),
        ({"criteria": "Observation?_include=Observation:subject"}, "Subscription.criteria"),
        (
            {"criteria": "https://healthcloud.dev/fhir/SubscriptionTopic/no"},
            "Subscription.criteria",
        ),
        ({"type": "email", "endpoint": "mailto:a@example.com"}, "Subscription.channel.type"),
        ({"type": "message"}, "Subscription.channel.type"),
        ({"endpoint": ""}, "Subscription.channel.endpoint"),
        ({"endpoint": "https://169.254.169.254/latest"}, "Subscription.channel.endpoint"),
        ({"endpoint": "http://example.com/hook"}, "Subscription.channel.endpoint"),
        ({"endpoint": "ftp://example.com/hook"}, "Subscription.channel.endpoint"),
        ({"payload": "application/fhir+xml"}, "Subscription.channel.payload"),
        ({"header": ["no colon"]}, "Subscription.channel.header"),
        ({"header": ["Host: elsewhere"]}, "Subscription.channel.header"),
        ({"content": "everything"}, "Subscription.channel.payload.extension"),
        ({"status": "active"}, "Subscription.status"),
        ({"status": "error"}, "Subscription.status"),
        ({"filters": ["Patient?name=x"]}, "Subscription.criteria.extension"),
        ({"heartbeat": 2147483647}, "Subscription.channel.extension"),
    ],
)
def test_what_cant_run_is_refused_and_named(
    alice_client: APIClient, receiver: Receiver, fields: dict, expression: str
) -> None:
    given = {"criteria": "Observation?status=final", "endpoint": f"{receiver.url}/hook", **fields}
    body = subscription(given.pop("criteria"), given.pop("endpoint"), **given)
    answer = alice_client.post("/v1/fhir/Subscription", body, format="json")
    assert answer.status_code == 422, answer.json()
    [issue] = answer.json()["issue"]
    assert issue["expression"] == [expression]
    assert alice_client.get("/v1/fhir/Subscription").json().get("entry", []) == []


def test_ten_failures_put_it_in_error_and_requested_again_it_goes_on_with_what_is_pending(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient, riverside_scope: Scope
) -> None:
    made = subscribe("Observation?status=final", payload="application/fhir+json")
    run_until_idle()
    receiver.answers = [(500, {}, b"no")]
    for _ in range(10):
        create(alice_client, observation("8310-5"))
    run_until_idle()
    failed = alice_client.get(f"/v1/fhir/Subscription/{made['id']}").json()
    assert (failed["status"], failed["error"]) == ("error", "failures")
    receiver.answers = [(200, {}, b"ok")]
    receiver.received.clear()
    again = {**failed, "status": "requested"}
    again.pop("error")
    answer = alice_client.put(f"/v1/fhir/Subscription/{made['id']}", again, format="json")
    assert answer.status_code == 200
    run_until_idle()
    assert status_of(alice_client, made["id"]) == "active"
    assert len({request.path for request in receiver.received}) == 10


def test_the_deliveries_are_in_the_webhook_log_and_the_webhook_is_changed_with_its_resource(
    subscribe: Subscribe, alice_client: APIClient, client_for: object
) -> None:
    made = subscribe("Observation?status=final")
    run_until_idle()
    create(alice_client, observation("8310-5"))
    run_until_idle()
    client = client_for(scopes=("webhooks:write",))
    [webhook] = client.get("/v1/webhooks").json()["data"]
    assert (webhook["purpose"], webhook["subject"]) == (
        "subscription",
        f"Subscription/{made['id']}",
    )
    [delivery] = client.get(f"/v1/webhooks/{webhook['id']}/deliveries").json()["data"]
    assert (delivery["status"], delivery["content"], delivery["event"]) == (
        "delivered",
        "1-1",
        None,
    )
    again = f"/v1/webhooks/{webhook['id']}/deliveries/{delivery['id']}/redeliver"
    assert client.post(again).status_code == 202
    assert client.delete(f"/v1/webhooks/{webhook['id']}").status_code == 409
    assert client.post(f"/v1/webhooks/{webhook['id']}/test").status_code == 409


def test_off_and_deleted_ones_are_told_nothing_and_nobody_waits_for_changes_any_more(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient, riverside_scope: Scope
) -> None:
    first, second = subscribe("Observation?"), subscribe("Observation?")
    run_until_idle()
    first = alice_client.get(f"/v1/fhir/Subscription/{first['id']}").json()
    off = {**first, "status": "off"}
    assert (
        alice_client.put(f"/v1/fhir/Subscription/{first['id']}", off, format="json").status_code
        == 200
    )
    assert alice_client.delete(f"/v1/fhir/Subscription/{second['id']}").status_code == 204
    create(alice_client, observation("8310-5"))
    run_until_idle()
    assert receiver.received == []
    with tenant_scope(riverside_scope):
        assert fetch("SELECT name FROM fhir_consumer") == []
        assert [row[0] for row in fetch("SELECT status FROM fhir_subscription")] == [b"off"]


def test_it_ends_when_it_says(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient
) -> None:
    made = subscribe("Observation?", end="2020-01-01T00:00:00Z")
    run_until_idle()
    create(alice_client, observation("8310-5"))
    run_until_idle()
    assert receiver.received == []
    assert status_of(alice_client, made["id"]) == "off"


def test_nobody_subscribes_to_what_they_may_not_read(
    client_for: object, receiver: Receiver
) -> None:
    client = client_for(scopes=("Subscription:write", "Subscription:read", "Patient:read"))
    refused = [
        "Observation?",
        "Patient?_has:Observation:patient:code=1",
        "https://healthcloud.dev/fhir/SubscriptionTopic/observation-final",
    ]
    for criteria in refused:
        body = subscription(criteria, receiver.url)
        assert client.post("/v1/fhir/Subscription", body, format="json").status_code == 403
        entry = {"resource": body, "request": {"method": "POST", "url": "Subscription"}}
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        assert client.post("/v1/fhir", bundle, format="json").status_code == 403
    assert client.get("/v1/fhir/Subscription").json().get("entry", []) == []
    body = subscription("Patient?", receiver.url)
    assert client.post("/v1/fhir/Subscription", body, format="json").status_code == 201


def test_charlie_hears_and_sees_nothing(
    subscribe: Subscribe, receiver: Receiver, charlie_client: APIClient
) -> None:
    made = subscribe("Observation?")
    run_until_idle()
    create(charlie_client, observation("8310-5"))
    run_until_idle()
    assert receiver.received == []
    for path in ("", "/$status", "/$events", "/$get-ws-binding-token"):
        assert charlie_client.get(f"/v1/fhir/Subscription/{made['id']}{path}").status_code == 404
