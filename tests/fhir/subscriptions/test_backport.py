"""Topic-based Subscriptions of the R5 backport: handshake, Bundles, numbers, replay, heartbeat."""

from datetime import timedelta

import orjson
import pytest
from rest_framework.test import APIClient

from fhir.validation import validate
from healthcloud.ledger.worker import run_until_idle
from tests.fhir.subscriptions.conftest import Subscribe, observation
from tests.fhir.subscriptions.test_rest_hook import create, status_of
from tests.healthcloud.receiver import Receiver

TOPIC = "https://healthcloud.dev/fhir/SubscriptionTopic/"


def parameters(bundle: dict) -> dict:
    """Return the parameters of the first entry by name, the last of each."""
    found: dict = {}
    for parameter in bundle["entry"][0]["resource"]["parameter"]:
        value = next((v for k, v in parameter.items() if k.startswith("value")), None)
        found[parameter["name"]] = parameter["part"] if value is None else value
    return found


def numbers(bundle: dict) -> list[str]:
    parts = bundle["entry"][0]["resource"]["parameter"]
    events = [p["part"] for p in parts if p["name"] == "notification-event"]
    return [event[0]["valueString"] for event in events]


def test_the_handshake_makes_it_active_and_notifications_are_id_only_by_default(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient
) -> None:
    made = subscribe(TOPIC + "observation-final", filters=["Observation?patient=Patient/pat_1"])
    run_until_idle()
    [handshake] = receiver.received
    bundle = orjson.loads(handshake.body)
    assert validate(bundle) == []
    assert (handshake.method, handshake.path) == ("POST", "/hook")
    assert handshake.headers["content-type"] == "application/fhir+json"
    assert (bundle["type"], bundle["entry"][0]["request"]["url"]) == (
        "history",
        f"Subscription/{made['id']}/$status",
    )
    assert parameters(bundle) == {
        "subscription": {"reference": f"Subscription/{made['id']}"},
        "topic": TOPIC + "observation-final",
        "status": "requested",
        "type": "handshake",
        "events-since-subscription-start": "0",
    }
    assert status_of(alice_client, made["id"]) == "active"
    receiver.received.clear()
    found = create(alice_client, observation("8310-5"))
    create(alice_client, observation("8310-5", patient="pat_2"))
    run_until_idle()
    [request] = receiver.received
    bundle = orjson.loads(request.body)
    assert validate(bundle) == []
    said = parameters(bundle)
    assert (said["type"], said["status"], said["events-since-subscription-start"]) == (
        "event-notification",
        "active",
        "1",
    )
    reference = f"Observation/{found['id']}"
    assert said["notification-event"][2] == {
        "name": "focus",
        "valueReference": {"reference": reference},
    }
    [entry] = bundle["entry"][1:]
    assert "resource" not in entry
    assert entry["fullUrl"].endswith(reference)
    assert entry["request"] == {"method": "POST", "url": "Observation"}


@pytest.mark.parametrize(("content", "entries"), [("empty", 0), ("full-resource", 1)])
def test_the_payload_content_decides_how_much_is_told(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient, content: str, entries: int
) -> None:
    subscribe("Observation?status=final", payload="application/fhir+json", content=content)
    run_until_idle()
    receiver.received.clear()
    made = create(alice_client, observation("8310-5"))
    run_until_idle()
    bundle = orjson.loads(receiver.received[0].body)
    assert validate(bundle) == []
    assert [e["resource"]["id"] for e in bundle["entry"][1:]] == [made["id"]] * entries
    focus = [part for part in parameters(bundle)["notification-event"] if part["name"] == "focus"]
    assert len(focus) == entries


def test_a_topic_looks_at_the_version_before(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient
) -> None:
    subscribe(TOPIC + "observation-final")
    run_until_idle()
    receiver.received.clear()
    made = create(alice_client, observation("8310-5", status="preliminary"))
    address = f"/v1/fhir/Observation/{made['id']}"
    for status in ("registered", "final", "final", "amended", "final"):
        body = {**observation("8310-5", status=status), "id": made["id"]}
        assert alice_client.put(address, body, format="json").status_code == 200
    run_until_idle()
    said = [n for request in receiver.received for n in numbers(orjson.loads(request.body))]
    assert said == ["1", "2"]


def test_deletions_are_told_where_the_topic_has_them(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient
) -> None:
    subscribe(
        TOPIC + "observation-changed", filters=["Observation?code=8310-5"], content="full-resource"
    )
    run_until_idle()
    receiver.received.clear()
    made = create(alice_client, observation("8310-5"))
    other = create(alice_client, observation("8867-4"))
    for rid in (made["id"], other["id"]):
        alice_client.delete(f"/v1/fhir/Observation/{rid}")
    run_until_idle()
    [request] = receiver.received
    bundle = orjson.loads(request.body)
    assert [entry["request"]["method"] for entry in bundle["entry"][1:]] == ["POST", "DELETE"]
    assert "resource" not in bundle["entry"][2]


def test_numbers_have_no_gaps_and_are_read_again(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient, charlie_client: APIClient
) -> None:
    made = subscribe(TOPIC + "observation-final", max_count=2)
    run_until_idle()
    receiver.received.clear()
    for _ in range(5):
        create(alice_client, observation("8310-5"))
    run_until_idle()
    told = [numbers(orjson.loads(request.body)) for request in receiver.received]
    assert sorted(told) == [["1", "2"], ["3", "4"], ["5"]]
    address = f"/v1/fhir/Subscription/{made['id']}"
    replay = alice_client.get(f"{address}/$events?eventsSinceNumber=2&eventsUntilNumber=4").json()
    assert validate(replay) == []
    assert parameters(replay)["type"] == "query-event"
    assert numbers(replay) == ["2", "3", "4"]
    full = alice_client.get(f"{address}/$events?content=full-resource").json()
    assert [e["resource"]["resourceType"] for e in full["entry"][1:]] == ["Observation"] * 5
    assert alice_client.get(f"{address}/$events?eventsSinceNumber=x").status_code == 400
    for path in (f"{address}/$status", "/v1/fhir/Subscription/$status?status=active"):
        status = alice_client.get(path).json()
        assert validate(status) == []
        assert parameters(status)["events-since-subscription-start"] == "5"
    nothing = charlie_client.get("/v1/fhir/Subscription/$status").json()
    assert nothing["total"] == 0


def test_full_resources_are_read_again_by_those_who_may_read_them(
    subscribe: Subscribe, alice_client: APIClient, client_for: object
) -> None:
    made = subscribe(TOPIC + "observation-final")
    run_until_idle()
    create(alice_client, observation("8310-5"))
    run_until_idle()
    client = client_for(scopes=("Subscription:read",))
    address = f"/v1/fhir/Subscription/{made['id']}/$events"
    assert client.get(address).status_code == 200
    assert client.get(f"{address}?content=full-resource").status_code == 403


def test_a_handshake_that_fails_twice_puts_it_in_error(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient
) -> None:
    receiver.answers = [(500, {}, b"no")]
    made = subscribe(TOPIC + "observation-final")
    run_until_idle()
    assert status_of(alice_client, made["id"]) == "requested"
    run_until_idle(ahead=timedelta(minutes=1))
    assert len(receiver.received) == 2
    failed = alice_client.get(f"/v1/fhir/Subscription/{made['id']}").json()
    assert (failed["status"], failed["error"]) == ("error", "status_500")
    create(alice_client, observation("8310-5"))
    run_until_idle()
    assert len(receiver.received) == 2


def test_a_heartbeat_says_that_all_is_well(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient
) -> None:
    subscribe(TOPIC + "observation-final", heartbeat=60)
    run_until_idle()
    receiver.received.clear()
    run_until_idle(ahead=timedelta(seconds=90))
    [request] = receiver.received
    bundle = orjson.loads(request.body)
    assert (len(bundle["entry"]), parameters(bundle)["type"]) == (1, "heartbeat")


def test_a_change_of_what_is_asked_needs_a_new_request(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient
) -> None:
    made = subscribe(TOPIC + "observation-final")
    run_until_idle()
    active = alice_client.get(f"/v1/fhir/Subscription/{made['id']}").json()
    address = f"/v1/fhir/Subscription/{made['id']}"
    same = {**active, "reason": "another reason"}
    assert alice_client.put(address, same, format="json").status_code == 200
    run_until_idle()
    assert len(receiver.received) == 1
    other = {**active, "criteria": TOPIC + "encounter-start"}
    refused = alice_client.put(address, other, format="json")
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["expression"] == ["Subscription.status"]
    other["status"] = "requested"
    assert alice_client.put(address, other, format="json").status_code == 200
    run_until_idle()
    assert len(receiver.received) == 2
    assert status_of(alice_client, made["id"]) == "active"


def test_topics_are_found(alice_client: APIClient) -> None:
    bundle = alice_client.get("/v1/fhir/SubscriptionTopic").json()
    assert validate(bundle) == []
    urls = [entry["resource"]["extension"][0]["valueUri"] for entry in bundle["entry"]]
    assert TOPIC + "diagnostic-result-ready" in urls
    assert alice_client.get("/v1/fhir/SubscriptionTopic/observation-final").status_code == 200
    assert alice_client.get("/v1/fhir/SubscriptionTopic/nothing").status_code == 404
    statement = alice_client.get("/v1/fhir/metadata").json()
    [resource] = [r for r in statement["rest"][0]["resource"] if r["type"] == "Subscription"]
    assert urls == [extension["valueCanonical"] for extension in resource["extension"]]
    assert {"status", "events", "get-ws-binding-token"} <= {
        o["name"] for o in resource["operation"]
    }
