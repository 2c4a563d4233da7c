"""Subscriptions of Alice's sandbox, and a receiver on loopback for their notifications."""

from collections.abc import Callable, Iterator

import pytest
from rest_framework.test import APIClient

from tests.healthcloud.receiver import Receiver, running_receiver

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-"
Subscribe = Callable[..., dict]


@pytest.fixture(autouse=True)
def only_our_work(request: pytest.FixtureRequest) -> None:
    """Start without the due work of other tests, where the test is rolled back anyway."""
    if "db" in request.fixturenames and "live_tenant" not in request.fixturenames:
        request.getfixturevalue("empty_ledger")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Where rest-hooks lead."""
    with running_receiver() as running:
        yield running


def subscription(criteria: str, endpoint: str = "", **fields: object) -> dict:
    """Return a Subscription; `content` and `filters` make it one of the backport."""
    channel: dict = {"type": fields.pop("type", "rest-hook")}
    if endpoint:
        channel["endpoint"] = endpoint
    if "payload" in fields:
        channel["payload"] = fields.pop("payload")
    if "header" in fields:
        channel["header"] = fields.pop("header")
    if "content" in fields:
        extension = {"url": BACKPORT + "payload-content", "valueCode": fields.pop("content")}
        channel["_payload"] = {"extension": [extension]}
    options = {"heartbeat": "heartbeat-period", "timeout": "timeout", "max_count": "max-count"}
    extensions = [
        {"url": BACKPORT + url, "valueUnsignedInt": fields.pop(name)}
        for name, url in options.items()
        if name in fields
    ]
    if extensions:
        channel["extension"] = extensions
    filters = fields.pop("filters", [])
    resource = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "test",
        "criteria": criteria,
        "channel": channel,
        **fields,
    }
    if filters:
        resource["_criteria"] = {
            "extension": [{"url": BACKPORT + "filter-criteria", "valueString": f} for f in filters]
        }
    return resource


@pytest.fixture
def subscribe(alice_client: APIClient, receiver: Receiver) -> Subscribe:
    """Return a function that makes a Subscription of Alice's to the receiver."""

    def make(criteria: str, **fields: object) -> dict:
        body = subscription(criteria, fields.pop("endpoint", f"{receiver.url}/hook"), **fields)
        answer = alice_client.post("/v1/fhir/Subscription", body, format="json")
        assert answer.status_code == 201, answer.json()
        return answer.json()

    return make


def observation(
    code: str, *, status: str = "final", patient: str = "pat_1", **more: object
) -> dict:
    """Return an Observation."""
    return {
        "resourceType": "Observation",
        "status": status,
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }
