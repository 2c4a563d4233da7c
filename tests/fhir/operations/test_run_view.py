"""$viewdefinition-run over HTTP."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db
FHIR = "application/fhir+json"
VIEW = {
    "resourceType": "ViewDefinition",
    "resource": "Observation",
    "select": [
        {
            "column": [
                {"name": "id", "path": "getResourceKey()"},
                {"name": "patient", "path": "subject.getReferenceKey(Patient)"},
                {"name": "value", "path": "value.ofType(Quantity).value", "type": "decimal"},
            ]
        }
    ],
}


def post(client: APIClient, address: str, body: object, **headers: str) -> Any:
    return client.post(f"/v1/fhir/{address}", json.dumps(body), content_type=FHIR, **headers)


@pytest.fixture(autouse=True)
def stored(alice_client: APIClient) -> None:
    """Two observations of different patients."""
    for rid, patient, value in (("a", "p1", "0.40"), ("b", "p2", "37")):
        text = (
            f'{{"resourceType":"Observation","id":"{rid}","status":"final","code":{{"text":"x"}},'
            f'"subject":{{"reference":"Patient/{patient}"}},"valueQuantity":{{"value":{value}}}}}'
        )
        address = f"/v1/fhir/Observation/{rid}"
        assert alice_client.put(address, text, content_type=FHIR).status_code == 201


@pytest.mark.parametrize(
    ("form", "kind", "expected"),
    [
        (
            "json",
            "application/json",
            b'[{"id":"a","patient":"p1","value":0.40},{"id":"b","patient":"p2","value":37}]',
        ),
        (
            "ndjson",
            "application/x-ndjson",
            b'{"id":"a","patient":"p1","value":0.40}\n{"id":"b","patient":"p2","value":37}\n',
        ),
        ("csv", "text/csv; charset=utf-8", b"id,patient,value\na,p1,0.40\nb,p2,37\n"),
    ],
)
def test_a_view_makes_a_table_of_what_is_stored(
    alice_client: APIClient, form: str, kind: str, expected: bytes
) -> None:
    for address in ("ViewDefinition/$run", "$viewdefinition-run"):
        answer = post(alice_client, f"{address}?_format={form}", VIEW)
        assert (answer.status_code, answer["Content-Type"]) == (200, kind), answer.content
        assert answer.content == expected


def test_the_table_is_narrowed_by_patient_limit_and_header(alice_client: APIClient) -> None:
    parameters = [
        {"name": "viewResource", "resource": VIEW},
        {"name": "patient", "valueReference": {"reference": "Patient/p2"}},
        {"name": "header", "valueBoolean": False},
        {"name": "_format", "valueCode": "csv"},
    ]
    body = {"resourceType": "Parameters", "parameter": parameters}
    answer = post(alice_client, "ViewDefinition/$viewdefinition-run", body)
    assert answer.content == b"b,p2,37\n"
    limited = post(alice_client, "ViewDefinition/$run?_limit=1", VIEW, HTTP_ACCEPT="text/csv")
    assert limited.content == b"id,patient,value\na,p1,0.40\n"


def test_resources_that_are_sent_are_read_instead(alice_client: APIClient) -> None:
    sent = {"resourceType": "Observation", "id": "z", "valueQuantity": {"value": 1.5}}
    parameters = [
        {"name": "viewResource", "resource": VIEW},
        {"name": "resource", "resource": sent},
        {"name": "resource", "resource": {"resourceType": "Patient", "id": "p"}},
    ]
    body = {"resourceType": "Parameters", "parameter": parameters}
    answer = post(alice_client, "$viewdefinition-run", body)
    assert json.loads(answer.content) == [{"id": "z", "patient": None, "value": 1.5}]


@pytest.mark.parametrize(
    ("body", "query", "status"),
    [
        ({**VIEW, "resource": "Nothing"}, "", 422),
        ({**VIEW, "select": [{"column": [{"name": "a", "path": "frob()"}]}]}, "", 422),
        (VIEW, "?_format=parquet", 406),
        ({"resourceType": "Patient"}, "", 400),
        (VIEW, "?_limit=0", 400),
        (VIEW, "?viewReference=ViewDefinition/1", 501),
    ],
)
def test_what_can_not_be_run_is_refused(
    alice_client: APIClient, body: dict[str, Any], query: str, status: int
) -> None:
    answer = post(alice_client, f"ViewDefinition/$run{query}", body)
    assert answer.status_code == status, answer.content
    assert answer.json()["issue"][0]["diagnostics"]


def test_the_scope_of_the_type_is_needed_and_charlie_sees_an_empty_table(
    client_for: Any, charlie_client: APIClient
) -> None:
    narrow = client_for(scopes=("Patient:read",))
    assert post(narrow, "ViewDefinition/$run", VIEW).status_code == 403
    assert post(charlie_client, "ViewDefinition/$run", VIEW).content == b"[]"
