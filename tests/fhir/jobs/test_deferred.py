"""Bundles with `Prefer: respond-async` are done by a worker. https://hl7.org/fhir/R4/async.html"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from rest_framework.test import APIClient

from healthcloud.ledger.worker import run_until_idle
from tests.fhir.api.test_bundles import FHIR, PATIENT, entry, total

ClientFor = Callable[..., APIClient]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_ledger")]
LATER = {"Prefer": "respond-async, return=representation"}


def send(
    client: APIClient, kind: str, entries: list[dict[str, object]], **more: str
) -> HttpResponse:
    bundle = json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}, indent=1)
    text = bundle.replace('"0.40"', "0.40")
    return client.post("/v1/fhir", text, content_type=FHIR, headers={**LATER, **more})


def follow(client: APIClient, response: HttpResponse) -> HttpResponse:
    run_until_idle()
    return client.get(response["Content-Location"].removeprefix("http://testserver"))


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_bundle_is_done_later_and_its_answers_are_kept(
    alice_client: APIClient, kind: str
) -> None:
    weight = {"url": "urn:w", "valueDecimal": "0.40"}
    accepted = send(
        alice_client,
        kind,
        [entry("PUT", "Patient/a", {**PATIENT, "id": "a", "extension": [weight]}),
         entry("GET", "Patient/a")],
    )  # fmt: skip
    assert (accepted.status_code, accepted.content) == (202, b"")
    assert accepted["Preference-Applied"] == "respond-async"
    assert total(alice_client) == 0
    path = accepted["Content-Location"].removeprefix("http://testserver")
    going_on = alice_client.get(path)
    assert going_on.status_code == 202
    assert "Content-Type" not in accepted
    assert "Content-Type" not in going_on
    done = follow(alice_client, accepted)
    assert done.status_code == 200
    [output] = done.json()["output"]
    assert (output["type"], output["count"]) == ("Bundle", 2)
    file = alice_client.get(output["url"].removeprefix("http://testserver"))
    assert b'"valueDecimal":0.40' in file.content
    assert file.content.count(b"\n") == 1
    answers = json.loads(file.content)
    assert answers["type"] == f"{kind}-response"
    assert [e["response"]["status"][:3] for e in answers["entry"]] == ["201", "200"]
    assert total(alice_client) == 1


def test_a_transaction_that_fails_later_ends_with_its_outcome(alice_client: APIClient) -> None:
    broken = {"resourceType": "Patient", "gender": "nonsense"}
    entries = [entry("POST", "Patient", PATIENT), entry("POST", "Patient", broken)]
    failed = follow(alice_client, send(alice_client, "transaction", entries))
    assert failed.status_code == 422
    assert failed.json()["issue"][0]["expression"] == ["Bundle.entry[1].resource.gender"]
    assert total(alice_client) == 0


def test_what_is_refused_is_refused_at_once(
    alice_client: APIClient, client_for: ClientFor, charlie_client: APIClient
) -> None:
    writer = client_for(scopes=("fhir:write",))
    assert send(writer, "batch", [entry("GET", "Patient/a")]).status_code == 403
    assert send(alice_client, "batch", [{"request": 1}]).status_code == 400
    provenance = send(alice_client, "batch", [], **{"X-Provenance": "{}"})
    assert provenance.status_code == 400
    accepted = send(alice_client, "batch", [entry("POST", "Patient", PATIENT)])
    assert follow(charlie_client, accepted).status_code == 404
    assert follow(writer, accepted).status_code == 403
    assert total(alice_client) == 1


def test_a_manifest_is_json_whatever_is_accepted(alice_client: APIClient) -> None:
    accepted = send(alice_client, "batch", [entry("POST", "Patient", PATIENT)])
    run_until_idle()
    path = accepted["Content-Location"].removeprefix("http://testserver")
    manifest = alice_client.get(path, headers={"Accept": "application/fhir+xml"})
    assert (manifest.status_code, manifest["Content-Type"]) == (200, "application/json")


def output(client: APIClient, response: HttpResponse) -> list[dict[str, Any]]:
    done = follow(client, response)
    assert done.status_code == 200, done.content
    [file] = done.json()["output"]
    answers = json.loads(client.get(file["url"].removeprefix("http://testserver")).content)
    assert answers["type"] == "batch-response"
    found: list[dict[str, Any]] = answers["entry"]
    return found


@pytest.mark.parametrize(
    ("path", "kind", "matches"),
    [
        ("Patient?family=Abt&_count=10", "searchset", 1),
        ("Patient/_search?family=Abt", "searchset", 1),
        ("Patient/a/Observation?status=final", "searchset", 0),
        ("Patient/a/$everything", "searchset", 1),
        ("Patient/_history", "history", 1),
        ("_history", "history", 1),
        ("?_type=Patient,Observation", "searchset", 1),
        ("_search?_type=Patient", "searchset", 1),
        ("Patient/a/*", "searchset", 1),
    ],
)
def test_searches_histories_and_operations_are_answered_later(
    alice_client: APIClient, path: str, kind: str, matches: int
) -> None:
    alice_client.put("/v1/fhir/Patient/a", json.dumps({**PATIENT, "id": "a"}), content_type=FHIR)
    url = f"/v1/fhir/{path}".replace("/?", "?")
    accepted = alice_client.get(url, headers={"Prefer": "respond-async"})
    assert (accepted.status_code, accepted.content) == (202, b"")
    assert accepted["Preference-Applied"] == "respond-async"
    [answer] = output(alice_client, accepted)
    assert answer["response"]["status"] == "200 OK"
    assert answer["resource"]["type"] == kind
    assert len(answer["resource"].get("entry", [])) == matches


def test_parameters_in_a_form_or_a_resource_are_kept(alice_client: APIClient) -> None:
    alice_client.put("/v1/fhir/Patient/a", json.dumps({**PATIENT, "id": "a"}), content_type=FHIR)
    form = alice_client.post(
        "/v1/fhir/Patient/_search",
        "family=Abt",
        content_type="application/x-www-form-urlencoded",
        headers={"Prefer": "respond-async"},
    )
    [answer] = output(alice_client, form)
    assert [e["resource"]["id"] for e in answer["resource"]["entry"]] == ["a"]
    given = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": PATIENT}]}
    matched = alice_client.post(
        "/v1/fhir/Patient/$match",
        json.dumps(given),
        content_type=FHIR,
        headers={"Prefer": "respond-async"},
    )
    [answer] = output(alice_client, matched)
    assert answer["resource"]["type"] == "searchset"


def test_a_search_that_would_be_refused_is_refused_at_once(
    alice_client: APIClient, client_for: ClientFor
) -> None:
    reader = client_for(scopes=("Observation:read",))
    for path in ("Patient?family=Abt", "Observation?subject:Patient.family=Abt", "Patient/$match"):
        answer = reader.get(f"/v1/fhir/{path}", headers={"Prefer": "respond-async"})
        assert answer.status_code == 403, path
    later = {"Prefer": "respond-async"}
    accepted = alice_client.get("/v1/fhir/Patient?birthdate=sometime", headers=later)
    [answer] = output(alice_client, accepted)
    assert answer["response"]["status"] == "400 Bad Request"


def test_provenance_of_what_is_written_later(alice_client: APIClient) -> None:
    from tests.fhir.api.test_provenance import HEADER

    accepted = send(alice_client, "transaction", [entry("POST", "Patient", PATIENT)], **HEADER)
    assert accepted.status_code == 202
    assert total(alice_client) == 0
    follow(alice_client, accepted)
    [found] = alice_client.get("/v1/fhir/Provenance").json()["entry"]
    [patient] = alice_client.get("/v1/fhir/Patient").json()["entry"]
    target = f"Patient/{patient['resource']['id']}/_history/1"
    assert found["resource"]["target"] == [{"reference": target}]
