"""Subscriptions end with the access of who asked, and keep their headers sealed."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from fhir.sql import fetch
from healthcloud.events.models import Event
from healthcloud.ledger.worker import run_until_idle
from healthcloud.organizations.models import ApiKey
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.fhir.subscriptions.conftest import Subscribe, observation
from tests.healthcloud.receiver import Receiver

pytestmark = pytest.mark.django_db
ANY = "Observation?code=http://loinc.org|8310-5"
ClientFor = Callable[..., APIClient]


@pytest.fixture
def writer(client_for: ClientFor) -> APIClient:
    return client_for()


def asked_by(scope: Scope) -> str:
    with tenant_scope(scope):
        [(actor,)] = fetch("SELECT actor_id FROM fhir_subscription")
    return actor.decode()


def create(client: APIClient, resource: dict) -> None:
    answer = client.post(f"/v1/fhir/{resource['resourceType']}", resource, format="json")
    assert answer.status_code == 201, answer.json()


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_key_that_ended_hears_no_more(
    subscribe: Subscribe, receiver: Receiver, writer: APIClient, how: str, riverside_scope: Scope
) -> None:
    made = subscribe(ANY)
    run_until_idle()
    now = timezone.now()
    change = {"revoked_at": now} if how == "revoked" else {"expires_at": now - timedelta(seconds=1)}
    ApiKey.objects.filter(pk=asked_by(riverside_scope)).update(**change)
    create(writer, observation("8310-5"))
    run_until_idle()
    assert receiver.received == []
    stored = writer.get(f"/v1/fhir/Subscription/{made['id']}").json()
    assert stored["status"] == "error"
    assert how in stored["error"]
    with tenant_scope(riverside_scope):
        assert Event.objects.filter(type="subscription.failed").count() == 1


def test_asked_for_again_by_another_key_it_goes_on(
    subscribe: Subscribe, receiver: Receiver, writer: APIClient, riverside_scope: Scope
) -> None:
    made = subscribe(ANY)
    run_until_idle()
    before = asked_by(riverside_scope)
    again = {**made, "status": "requested", "reason": "taken over"}
    path = f"/v1/fhir/Subscription/{made['id']}"
    assert writer.put(path, again, format="json").status_code == 200
    run_until_idle()
    assert asked_by(riverside_scope) != before
    ApiKey.objects.filter(pk=before).update(revoked_at=timezone.now())
    create(writer, observation("8310-5"))
    run_until_idle()
    assert len(receiver.received) == 1


def test_headers_are_sealed_at_rest_and_in_every_answer(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient, riverside_scope: Scope
) -> None:
    made = subscribe(ANY, header=["Authorization: Bearer top-secret", "X-Team: lab"])
    assert "top-secret" not in json.dumps(made)
    [first, second] = made["channel"]["header"]
    assert first.startswith("Authorization: sealed:")
    assert second.startswith("X-Team: sealed:")
    path = f"/v1/fhir/Subscription/{made['id']}"
    for tail in ("", "/_history", "/_history/1"):
        assert b"top-secret" not in alice_client.get(path + tail).content
    with tenant_scope(riverside_scope):
        for table in ("fhir_resource", "fhir_history"):
            rows = fetch(f"SELECT content FROM {table} WHERE content LIKE '%top-secret%'")
            assert rows == []
        assert fetch("SELECT 1 FROM fhir_subscription WHERE definition LIKE '%top-secret%'") == []
    run_until_idle()
    create(alice_client, observation("8310-5"))
    run_until_idle()
    [request] = receiver.received
    assert request.headers["authorization"] == "Bearer top-secret"
    assert request.headers["x-team"] == "lab"


def test_a_sealed_header_sent_back_stays_and_opens_nowhere_else(
    subscribe: Subscribe, receiver: Receiver, alice_client: APIClient
) -> None:
    made = subscribe(ANY, header=["Authorization: Bearer top-secret"])
    path = f"/v1/fhir/Subscription/{made['id']}"
    same = {**made, "reason": "the same"}
    answer = alice_client.put(path, same, format="json")
    assert answer.json()["channel"]["header"] == made["channel"]["header"]
    moved = {**made, "channel": {**made["channel"], "endpoint": f"{receiver.url}/thief"}}
    assert alice_client.put(path, moved, format="json").status_code == 422
    copied = {name: value for name, value in made.items() if name not in {"id", "meta"}}
    assert alice_client.post("/v1/fhir/Subscription", copied, format="json").status_code == 422
    forged = {**made, "channel": {**made["channel"], "header": ["Authorization: sealed:AAAA"]}}
    assert alice_client.put(path, forged, format="json").status_code == 422
