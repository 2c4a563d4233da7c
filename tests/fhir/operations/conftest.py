"""A patient with a record around them, and ways to call operations."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

FHIR = "application/fhir+json"
LOINC = "http://loinc.org"


def put(client: APIClient, resource: dict[str, Any]) -> dict[str, Any]:
    """Store a resource under its id and answer it."""
    address = f"/v1/fhir/{resource['resourceType']}/{resource['id']}"
    answer = client.put(address, json.dumps(resource), content_type=FHIR)
    assert answer.status_code in {200, 201}, answer.content
    return json.loads(answer.content)


def post(client: APIClient, address: str, body: object) -> Any:
    """POST a body and answer the response."""
    return client.post(f"/v1/fhir/{address}", json.dumps(body), content_type=FHIR)


def get(client: APIClient, address: str, status: int = 200) -> Any:
    """GET an address and answer the parsed body."""
    answer = client.get(f"/v1/fhir/{address}")
    assert answer.status_code == status, answer.content
    return json.loads(answer.content)


def references(bundle: dict[str, Any], mode: str | None = None) -> list[str]:
    """Answer `Type/id` of the entries of a Bundle."""
    return [
        f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
        for entry in bundle.get("entry", ())
        if mode is None or entry["search"]["mode"] == mode
    ]


def observation(rid: str, loinc: str, value: float, date: str, **more: Any) -> dict[str, Any]:
    """Answer a final Observation of Ann with a quantity in mmol/L."""
    unit = {"unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"}
    return {
        "resourceType": "Observation",
        "id": rid,
        "status": "final",
        "subject": {"reference": "Patient/ann"},
        "code": {"coding": [{"system": LOINC, "code": loinc}]},
        "effectiveDateTime": date,
        "valueQuantity": {"value": value, **unit},
        **more,
    }


@pytest.fixture
def ann(alice_client: APIClient) -> APIClient:
    """Alice's client, with Ann, her doctor, an encounter, results and a problem in the store."""
    for resource in (
        {"resourceType": "Organization", "id": "clinic", "name": "Riverside Clinic"},
        {
            "resourceType": "Practitioner",
            "id": "doc",
            "name": [{"family": "Grey", "given": ["Meredith"]}],
        },
        {
            "resourceType": "Patient",
            "id": "ann",
            "active": True,
            "name": [
                {"use": "official", "family": "Müller", "given": ["Ann", "Maria"]},
                {"use": "nickname", "given": ["Annie"]},
            ],
            "identifier": [{"system": "urn:mrn", "value": "7"}],
            "birthDate": "1980-03-04",
            "gender": "female",
            "telecom": [{"system": "phone", "value": "+1 555 0100"}],
            "generalPractitioner": [{"reference": "Practitioner/doc"}],
            "managingOrganization": {"reference": "Organization/clinic"},
        },
        {"resourceType": "Patient", "id": "bea", "name": [{"family": "Other"}]},
        {
            "resourceType": "Encounter",
            "id": "visit",
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "subject": {"reference": "Patient/ann"},
            "period": {"start": "2026-01-10", "end": "2026-01-10"},
        },
        observation(
            "glu1", "2339-0", 5.0, "2026-01-10", encounter={"reference": "Encounter/visit"}
        ),
        observation("glu2", "2339-0", 7.0, "2026-02-10"),
        observation("glu3", "2339-0", 9.0, "2026-03-10"),
        observation("crea", "2160-0", 0.08, "2025-06-01"),
        {
            "resourceType": "Condition",
            "id": "uti",
            "subject": {"reference": "Patient/ann"},
            "clinicalStatus": {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                        "code": "active",
                    }
                ]
            },
            "code": {"text": "Cystitis & fever"},
        },
    ):
        put(alice_client, resource)
    return alice_client
