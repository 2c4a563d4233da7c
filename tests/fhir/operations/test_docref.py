"""DocumentReference/$docref."""

import pytest
from rest_framework.test import APIClient

from fhir.documents import JsonObject
from tests.fhir.operations.conftest import get, post, put

pytestmark = pytest.mark.django_db
LOINC = "http://loinc.org"
ASKED = "DocumentReference/$docref?patient=ann"


def _store(client: APIClient, rid: str, *, code: str, year: int) -> None:
    put(
        client,
        {
            "resourceType": "DocumentReference",
            "id": rid,
            "status": "current",
            "type": {"coding": [{"system": LOINC, "code": code}]},
            "subject": {"reference": "Patient/ann"},
            "date": f"{year}-06-01T00:00:00Z",
            "content": [{"attachment": {"url": f"http://example.org/{rid}"}}],
            "context": {"period": {"start": f"{year}-01-01", "end": f"{year}-12-31"}},
        },
    )


def _found(bundle: JsonObject) -> list[str]:
    assert (bundle["type"], bundle["total"]) == ("searchset", len(bundle.get("entry", [])))
    return [entry["resource"]["id"] for entry in bundle.get("entry", [])]


def test_the_documents_of_a_patient(ann: APIClient, charlie_client: APIClient) -> None:
    for rid, code, year in (
        ("old", "34133-9", 2019),
        ("new", "34133-9", 2021),
        ("note", "11506-3", 2022),
    ):
        _store(ann, rid, code=code, year=year)
    assert _found(get(ann, ASKED)) == ["new"]
    assert _found(get(ann, f"{ASKED}&type={LOINC}|11506-3")) == ["note"]
    assert _found(get(ann, f"{ASKED}&start=2019")) == ["new", "old"]
    assert _found(get(ann, f"{ASKED}&start=2018&end=2020-02")) == ["old"]
    assert _found(get(ann, f"{ASKED}&start=2023")) == []
    concept = {"coding": [{"system": LOINC, "code": "11506-3"}]}
    given = [
        {"name": "patient", "valueId": "ann"},
        {"name": "type", "valueCodeableConcept": concept},
    ]
    body: JsonObject = {"resourceType": "Parameters", "parameter": given}
    assert _found(post(ann, "DocumentReference/$docref", body).json()) == ["note"]
    given[1]["valueCodeableConcept"] = {"text": "a note"}
    assert post(ann, "DocumentReference/$docref", body).status_code == 400
    assert get(ann, ASKED + "&on-demand=true", 501)
    assert get(ann, ASKED.replace("ann", "nobody"), 404)
    assert get(charlie_client, ASKED, 404)
