"""`$document`, `$summary` and `$convert`."""

import json

import pytest
from rest_framework.test import APIClient

from fhir.validation import validate
from tests.fhir.conftest import ClientFor
from tests.fhir.operations.conftest import get, post, put, references

pytestmark = pytest.mark.django_db
LOINC = "http://loinc.org"


def test_a_document_begins_with_its_composition_and_holds_what_it_refers_to(
    ann: APIClient,
) -> None:
    put(
        ann,
        {
            "resourceType": "Composition",
            "id": "letter",
            "status": "final",
            "type": {"text": "Letter"},
            "subject": {"reference": "Patient/ann"},
            "date": "2026-03-11",
            "author": [{"reference": "Practitioner/doc"}],
            "title": "Letter",
            "section": [{"title": "Results", "entry": [{"reference": "Observation/glu1"}]}],
        },
    )
    found = get(ann, "Composition/letter/$document")
    assert (found["type"], references(found)[0]) == ("document", "Composition/letter")
    assert set(references(found)) == {
        *("Composition/letter", "Patient/ann", "Practitioner/doc", "Observation/glu1"),
        *("Organization/clinic", "Encounter/visit"),
    }
    assert found["identifier"]["value"].startswith("urn:uuid:")
    assert validate(found) == []
    by_id = get(ann, "Composition/$document?id=letter")
    assert set(references(by_id)) == set(references(found))
    kept = ann.get("/v1/fhir/Composition/letter/$document?persist=true")
    assert (kept.status_code, kept.json()["type"]) == (200, "document")
    assert kept["Location"].endswith(f"/Bundle/{kept.json()['id']}/_history/1")
    assert ann.get(f"/v1/fhir/Bundle/{kept.json()['id']}").json() == kept.json()
    get(ann, "Composition/other/$document", 404)


def test_what_is_kept_needs_the_scope_to_write_it(
    ann: APIClient, client_for: ClientFor, charlie_client: APIClient
) -> None:
    url = "/v1/fhir/Patient/ann/$summary?persist=true"
    assert client_for(scopes=("fhir:read",)).get(url).status_code == 403
    assert charlie_client.get(url).status_code == 404
    assert get(ann, "Bundle?_summary=count")["total"] == 0
    kept = ann.get(url)
    assert kept.status_code == 200, kept.content
    assert get(ann, f"Bundle/{kept.json()['id']}")["entry"] == kept.json()["entry"]


def test_the_summary_has_the_required_sections_even_when_empty(ann: APIClient) -> None:
    found = get(ann, "Patient/ann/$summary")
    composition = found["entry"][0]["resource"]
    assert (found["type"], composition["resourceType"]) == ("document", "Composition")
    sections = {s["code"]["coding"][0]["code"]: s for s in composition["section"]}
    assert {"48765-2", "10160-0", "11450-4"} <= set(sections)
    assert sections["48765-2"]["emptyReason"]["coding"][0]["code"] == "unavailable"
    [problem] = sections["11450-4"]["entry"]
    assert problem["reference"].endswith("/Condition/uti")
    assert "Cystitis &amp; fever" in sections["11450-4"]["text"]["div"]
    assert {"Patient/ann", "Condition/uti", "Practitioner/doc"} <= set(references(found))
    urls = {entry["fullUrl"] for entry in found["entry"]}
    entries = [e["reference"] for s in composition["section"] for e in s.get("entry", ())]
    assert {composition["subject"]["reference"], composition["author"][0]["reference"]} <= urls
    assert set(entries) <= urls


def test_the_summary_is_valid_r4_and_leaves_wrong_entries_out(ann: APIClient) -> None:
    allergy = {
        "resourceType": "AllergyIntolerance",
        "patient": {"reference": "Patient/ann"},
        "code": {"text": "Penicillin"},
        "reaction": [{"manifestation": [{"text": "Hives"}]}],
    }
    system = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
    wrong = {"coding": [{"system": system, "code": "entered-in-error"}]}
    clinical = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
    active = {"coding": [{"system": clinical, "code": "active"}]}
    put(ann, {**allergy, "id": "a1", "clinicalStatus": active})
    put(ann, {**allergy, "id": "a2", "verificationStatus": wrong})
    found = get(ann, "Patient/$summary?identifier=urn:mrn|7")
    assert "AllergyIntolerance/a1" in references(found)
    assert "AllergyIntolerance/a2" not in references(found)
    assert "Hives" in json.dumps(found["entry"][0]["resource"]["section"][0]["text"])
    assert [issue for issue in validate(found) if issue.severity == "error"] == []


def test_the_summary_names_who_is_not_there(ann: APIClient) -> None:
    assert "No patient" in get(ann, "Patient/$summary?identifier=8", 404)["issue"][0]["diagnostics"]
    put(
        ann,
        {
            "resourceType": "Patient",
            "id": "twin",
            "identifier": [{"system": "urn:mrn", "value": "7"}],
        },
    )
    get(ann, "Patient/$summary?identifier=urn:mrn|7", 409)
    get(ann, "Patient/$summary", 400)


def test_the_summary_needs_the_scopes_of_what_it_shows(
    client_for: ClientFor, ann: APIClient, charlie_client: APIClient
) -> None:
    get(client_for(scopes=("Patient:read",)), "Patient/ann/$summary", 403)
    get(charlie_client, "Patient/ann/$summary", 404)


def test_convert_answers_the_same_resource_in_the_format_asked_for(ann: APIClient) -> None:
    sent = b'{"resourceType":"Basic","code":{"text":"0.40"}}'
    answer = ann.post("/v1/fhir/$convert", sent, content_type="application/fhir+json")
    assert json.loads(answer.content) == json.loads(sent)
    xml = ann.post(
        "/v1/fhir/$convert",
        sent,
        content_type="application/fhir+json",
        headers={"Accept": "application/fhir+xml"},
    )
    assert b'<text value="0.40"/>' in xml.content
    back = ann.post("/v1/fhir/$convert", xml.content, content_type="application/fhir+xml")
    assert json.loads(back.content) == json.loads(sent)
    assert post(ann, "$convert", {"resourceType": "Parameters"}).status_code == 400


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 400),
        ({"resourceType": 7}, 400),
        ({"resourceType": "Clinic"}, 404),
        ({"resourceType": "Patient", "colour": "red"}, 422),
        ({"resourceType": "Patient", "contained": [{}]}, 422),
        ({"resourceType": "Patient", "name": [["x"]]}, 422),
    ],
)
def test_what_is_no_resource_has_no_other_format(
    ann: APIClient, sent: dict[str, object], status: int
) -> None:
    for format in ("json", "xml"):
        answer = post(ann, f"$convert?_format={format}", sent)
        assert answer.status_code == status, answer.content
        assert b"OperationOutcome" in answer.content
