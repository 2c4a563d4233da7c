"""`$everything`: the compartment, what it refers to, and nobody else's record."""

import json

import pytest
from rest_framework.test import APIClient

from tests.fhir.conftest import ClientFor
from tests.fhir.operations.conftest import get, references

pytestmark = pytest.mark.django_db
OF_ANN = {
    *("Patient/ann", "Encounter/visit", "Observation/glu1", "Observation/glu2"),
    *("Observation/glu3", "Observation/crea", "Condition/uti"),
}


def test_all_of_a_patient_comes_with_what_it_refers_to(ann: APIClient) -> None:
    found = get(ann, "Patient/ann/$everything")
    assert found["type"] == "searchset"
    assert found["total"] == 7
    assert set(references(found, "match")) == OF_ANN
    assert references(found)[0] == "Patient/ann"
    assert set(references(found, "include")) == {"Practitioner/doc", "Organization/clinic"}


def test_everything_of_all_patients(ann: APIClient) -> None:
    found = get(ann, "Patient/$everything")
    assert set(references(found, "match")) == {*OF_ANN, "Patient/bea"}


RESULTS = {f"Observation/{rid}" for rid in ("glu1", "glu2", "glu3", "crea")}
COMPANY = {"Patient/ann", "Practitioner/doc", "Organization/clinic"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("_type=Observation,Practitioner", RESULTS),
        ("_type=Condition", {"Condition/uti"}),
        ("start=2026-02&_type=Observation", {"Observation/glu2", "Observation/glu3"}),
        ("end=2026-01-10&_type=Observation", {"Observation/glu1", "Observation/crea"}),
        ("start=2026-02-10&end=2026-02-10", {*COMPANY, "Condition/uti", "Observation/glu2"}),
        ("_since=2099-01-01", set()),
        ("_since=2020-01-01&_type=Patient", {"Patient/ann"}),
    ],
)
def test_the_record_is_narrowed(ann: APIClient, query: str, expected: set[str]) -> None:
    found = get(ann, f"Patient/ann/$everything?{query}")
    assert set(references(found)) == expected


def test_pages_follow_each_other_without_loss(ann: APIClient) -> None:
    seen: list[str] = []
    address = "Patient/ann/$everything?_count=3"
    for _ in range(3):
        page = get(ann, address)
        seen += references(page, "match")
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not following:
            break
        address = following[0].partition("/v1/fhir/")[2]
    assert len(seen) == len(OF_ANN)
    assert set(seen) == OF_ANN


def test_an_encounter_has_its_own_record(ann: APIClient) -> None:
    found = get(ann, "Encounter/visit/$everything")
    assert set(references(found, "match")) == {"Encounter/visit", "Observation/glu1"}
    assert "Patient/ann" in references(found, "include")


def test_post_takes_parameters(ann: APIClient) -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "_type", "valueCode": "Condition"}],
    }
    answer = ann.post(
        "/v1/fhir/Patient/ann/$everything", json.dumps(body), content_type="application/fhir+json"
    )
    assert references(answer.json()) == ["Condition/uti"]


@pytest.mark.parametrize(
    ("query", "param"),
    [("_count=0", "_count"), ("start=yesterday", "start"), ("_cursor=x", "_cursor")],
)
def test_bad_parameters_are_named(ann: APIClient, query: str, param: str) -> None:
    found = get(ann, f"Patient/ann/$everything?{query}", 400)
    assert f"`{param}`" in found["issue"][0]["diagnostics"]


def test_unknown_types_and_patients_are_refused(ann: APIClient) -> None:
    get(ann, "Patient/ann/$everything?_type=Nonsense", 404)
    get(ann, "Patient/nobody/$everything", 404)


def test_the_scopes_of_all_types_are_needed(client_for: ClientFor, ann: APIClient) -> None:
    narrow = client_for(scopes=("Patient:read", "Observation:read"))
    get(narrow, "Patient/ann/$everything", 403)
    found = get(narrow, "Patient/ann/$everything?_type=Patient,Observation")
    assert "Practitioner/doc" not in references(found)
    assert "Observation/glu1" in references(found)


def test_charlie_finds_no_patient_of_riversides(ann: APIClient, charlie_client: APIClient) -> None:
    get(charlie_client, "Patient/ann/$everything", 404)
    assert references(get(charlie_client, "Patient/$everything")) == []
