"""Operations, searches by POST and the capabilities as entries of batches and transactions."""

import base64
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.fhir.api.test_bundles import PATIENT, ClientFor, entry, observation, send, total

pytestmark = pytest.mark.django_db
URN = "urn:uuid:33333333-3333-4333-8333-333333333333"
MATCH = {
    "resourceType": "Parameters",
    "parameter": [{"name": "resource", "resource": {**PATIENT, "birthDate": "1980-01-01"}}],
}


@pytest.fixture
def patient(alice_client: APIClient) -> str:
    send(alice_client, "transaction", [entry("PUT", "Patient/a", {**PATIENT, "id": "a"})])
    send(alice_client, "transaction", [entry("POST", "Observation", observation("Patient/a"))])
    return "Patient/a"


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_operations_of_all_levels_are_entries(
    alice_client: APIClient, patient: str, kind: str
) -> None:
    gender = "http://hl7.org/fhir/ValueSet/administrative-gender"
    response = send(
        alice_client,
        kind,
        [
            entry("GET", f"{patient}/$everything"),
            entry("GET", f"ValueSet/$expand?url={gender}&filter=fem"),
            entry("POST", "Patient/$match", MATCH),
            entry("POST", "Patient/$validate", {"resourceType": "Patient", "gender": "x"}),
            entry("GET", f"{patient}/$validate"),
            entry("POST", "Patient/_search?family=abt"),
            entry("GET", "metadata"),
            entry("GET", '$graphql?query={Patient(id:"a"){id}}'),
            entry("HEAD", f"{patient}/$everything"),
        ],
    )
    assert response.status_code == 200, response.content
    found: list[Any] = response.json()["entry"]
    assert {e["response"]["status"] for e in found} == {"200 OK"}
    inner = [e.get("resource", {}) for e in found]
    assert len(inner[0]["entry"]) == 2
    assert [c["code"] for c in inner[1]["expansion"]["contains"]] == ["female"]
    assert inner[2]["type"] == "searchset"
    assert inner[3]["issue"][0]["expression"] == ["Patient.gender"]
    assert inner[4]["resourceType"] == "OperationOutcome"
    assert [e["resource"]["id"] for e in inner[5]["entry"]] == ["a"]
    assert inner[6]["resourceType"] == "CapabilityStatement"
    assert inner[7]["contentType"] == "application/json"
    assert base64.b64decode(inner[7]["data"]) == b'{"data":{"Patient":{"id":"a"}}}'
    assert inner[8] == {}


def test_an_operation_of_a_transaction_sees_and_is_told_what_the_entries_wrote(
    alice_client: APIClient,
) -> None:
    label = {"system": "urn:tags", "code": "new"}
    given = {
        "resourceType": "Parameters",
        "parameter": [{"name": "meta", "valueMeta": {"tag": [label]}}],
    }
    found = send(
        alice_client,
        "transaction",
        [
            entry("GET", "Patient/a/$everything"),
            entry("POST", "Patient/a/$meta-add", given),
            entry("PUT", "Patient/a", {**PATIENT, "id": "a"}),
        ],
    ).json()["entry"]
    assert len(found[0]["resource"]["entry"]) == 1
    assert label in found[1]["resource"]["parameter"][0]["valueMeta"]["tag"]
    assert alice_client.get("/v1/fhir/Patient/a")["ETag"] == 'W/"2"'


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(
    ("probe", "status", "word"),
    [
        (entry("GET", "Patient/$nonsense"), 404, "$nonsense"),
        (entry("GET", "Patient/$expand"), 400, "ValueSet/$expand"),
        (entry("GET", "Patient/a/$apply"), 501, "$apply"),
        (entry("GET", "Patient/a/$meta-add"), 400, "POST"),
        (entry("PUT", "Patient/a/$meta-add", PATIENT), 400, "POST"),
        (entry("POST", "Patient/a/$meta-add", PATIENT), 400, "Parameters"),
        (entry("GET", "Patient/a/$everything?favourite=1"), 400, "favourite"),
        (entry("GET", "Patient/none/$everything"), 404, "Patient/none"),
        (entry("POST", "Patient/_search", PATIENT), 400, "url"),
    ],
)
def test_a_call_that_is_refused_says_why(
    alice_client: APIClient,
    patient: str,
    kind: str,
    probe: dict[str, object],
    status: int,
    word: str,
) -> None:
    response = send(alice_client, kind, [probe, entry("POST", "Patient", PATIENT)])
    if kind == "batch":
        first, second = (e["response"] for e in response.json()["entry"])
        assert (first["status"].split()[0], second["status"]) == (str(status), "201 Created")
        assert word in str(first["outcome"])
    else:
        assert response.status_code == status, response.content
        assert word in str(response.json())
        assert total(alice_client) == 2


def test_a_call_needs_the_scope_that_it_needs_by_itself(
    alice_client: APIClient, patient: str, client_for: ClientFor
) -> None:
    key = client_for(scopes=("Observation:read", "fhir:write"))
    probes = [
        entry("GET", f"{patient}/$everything"),
        entry("GET", f"{patient}/$meta"),
        entry("POST", "Patient/$match", MATCH),
        entry("GET", "$graphql?query={PatientList{id}}"),
        entry("POST", "Patient/_search?family=abt"),
    ]
    found = send(key, "batch", probes).json()["entry"]
    assert [e["response"]["status"] for e in found] == ["403 Forbidden"] * len(probes)
    reader = client_for(scopes=("fhir:read",))
    given = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {}}]}
    refused = send(reader, "transaction", [entry("POST", f"{patient}/$meta-add", given)])
    assert refused.status_code == 403
    assert alice_client.get("/v1/fhir/Patient/a")["ETag"] == 'W/"1"'


def test_charlie_calls_nothing_of_alices(patient: str, charlie_client: APIClient) -> None:
    found = send(charlie_client, "batch", [entry("GET", f"{patient}/$everything")]).json()["entry"]
    assert found[0]["response"]["status"] == "404 Not Found"


def test_what_a_call_in_a_bundle_read_is_in_the_trail(
    alice_client: APIClient, client_for: ClientFor, patient: str
) -> None:
    send(alice_client, "batch", [entry("GET", f"{patient}/$everything")])
    auditor = client_for(scopes=("audit:read", "fhir:read"))
    events = auditor.get("/v1/fhir/AuditEvent?_count=5").json()["entry"]
    subtypes = [e["resource"]["subtype"][0]["code"] for e in events]
    assert "operation" in subtypes
