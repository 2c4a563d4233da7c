"""X-Provenance. https://hl7.org/fhir/R4/provenance.html#header"""

import json
from collections.abc import Callable

import pytest
from django.http import HttpResponse
from rest_framework.test import APIClient

from tests.fhir.api.test_bundles import FHIR, PATIENT, entry, total

pytestmark = pytest.mark.django_db
PROVENANCE = {
    "resourceType": "Provenance",
    "recorded": "2026-11-22T10:00:00Z",
    "agent": [{"who": {"display": "Scanner 7"}}],
}
HEADER = {"X-Provenance": json.dumps(PROVENANCE)}
PATH = "/v1/fhir/Patient/a"


def put(client: APIClient, headers: dict[str, str] = HEADER) -> HttpResponse:
    body = json.dumps({**PATIENT, "id": "a"})
    return client.put(PATH, body, content_type=FHIR, headers=headers)


def targets(client: APIClient) -> list[list[str]]:
    found = client.get("/v1/fhir/Provenance?_sort=_id").json().get("entry", [])
    return [[t["reference"] for t in e["resource"]["target"]] for e in found]


def test_every_write_brings_its_provenance(alice_client: APIClient) -> None:
    assert put(alice_client).status_code == 201
    patch = '{"active": true}'
    alice_client.patch(PATH, patch, content_type="application/merge-patch+json", headers=HEADER)
    alice_client.delete(PATH, headers=HEADER)
    created = alice_client.post(
        "/v1/fhir/Patient", json.dumps(PATIENT), content_type=FHIR, headers=HEADER
    )
    rid = created.json()["id"]
    assert targets(alice_client) == [
        ["Patient/a/_history/1"],
        ["Patient/a/_history/2"],
        ["Patient/a/_history/3"],
        [f"Patient/{rid}/_history/1"],
    ]


def test_what_was_not_written_has_none(alice_client: APIClient) -> None:
    put(alice_client, {})
    found = alice_client.post(
        "/v1/fhir/Patient", json.dumps(PATIENT), content_type=FHIR,
        headers={**HEADER, "If-None-Exist": "family=Abt"},
    )  # fmt: skip
    assert found.status_code == 200
    assert targets(alice_client) == []


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_bundle_has_one_of_all_that_it_wrote(alice_client: APIClient, kind: str) -> None:
    entries = [
        entry("PUT", "Patient/a", {**PATIENT, "id": "a"}),
        entry("PUT", "Patient/b", {**PATIENT, "id": "b"}),
        entry("GET", "Patient/a"),
    ]
    bundle = json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries})
    answer = alice_client.post("/v1/fhir", bundle, content_type=FHIR, headers=HEADER)
    assert answer.status_code == 200
    assert targets(alice_client) == [["Patient/a/_history/1", "Patient/b/_history/1"]]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("{", 400),
        ('{"resourceType":"Patient"}', 400),
        ('{"resourceType":"Provenance"}', 422),
        ("[]", 400),
    ],
)
def test_a_provenance_that_is_none_leaves_nothing_written(
    alice_client: APIClient, header: str, status: int
) -> None:
    answer = put(alice_client, {"X-Provenance": header})
    assert answer.status_code == status, answer.content
    assert total(alice_client) == 0


def test_it_needs_the_scope_to_write_provenances(
    alice_client: APIClient, client_for: Callable[..., APIClient]
) -> None:
    assert put(client_for(scopes=("Patient:write",))).status_code == 403
    assert total(alice_client) == 0


def test_it_names_what_a_condition_deleted(alice_client: APIClient) -> None:
    put(alice_client, {})
    where = "/v1/fhir/Patient?family=Abt"
    assert alice_client.delete(where, headers=HEADER).status_code == 204
    assert targets(alice_client) == [["Patient/a/_history/2"]]
    assert alice_client.delete(where, headers=HEADER).status_code == 200
    assert len(targets(alice_client)) == 1


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_it_names_what_a_bundle_deleted_and_no_more(alice_client: APIClient, kind: str) -> None:
    put(alice_client, {})
    entries = [
        entry("DELETE", "Patient?family=Abt"),
        entry("DELETE", "Patient/never-was"),
        entry("GET", "Patient?family=Abt"),
        entry("PUT", "Patient/b", {**PATIENT, "id": "b"}),
    ]
    bundle = json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries})
    answer = alice_client.post("/v1/fhir", bundle, content_type=FHIR, headers=HEADER)
    assert answer.status_code == 200, answer.content
    [found] = targets(alice_client)
    assert sorted(found) == ["Patient/a/_history/2", "Patient/b/_history/1"]
