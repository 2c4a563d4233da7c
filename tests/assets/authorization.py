"""A record that a prior authorization is asked from, and the payer simulator's hooks."""

import json
import urllib.request
from typing import Any

from rest_framework.test import APIClient

from healthcloud.ledger.worker import run_until_idle

CPT = "http://www.ama-assn.org/go/cpt"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
NOTE = "SW1hZ2luZyBvZiB0aGUga25lZQ=="


class Payer:
    """The hooks of the payer simulator for one client."""

    def __init__(self, url: str, client_id: str) -> None:
        self.url, self.client_id = url, client_id

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """POST to a hook."""
        request = urllib.request.Request(
            f"{self.url}/payer/_sandbox/{path}",
            data=json.dumps({"client_id": self.client_id, **body}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def state(self) -> dict[str, Any]:
        """Return what the payer knows."""
        return self.post("state")


def record(member: str = "W100") -> list[dict[str, Any]]:
    """Return a patient with coverage, an order for an MRI of the knee, and a note about it."""
    subject = {"reference": "Patient/pat_pa"}
    return [
        {
            "resourceType": "Patient",
            "id": "pat_pa",
            "name": [{"family": "Doe", "given": ["Jane"]}],
            "gender": "female",
            "birthDate": "1970-02-14",
            "managingOrganization": {"reference": "Organization/clinic"},
        },
        {
            "resourceType": "Organization",
            "id": "clinic",
            "name": "Clinic One",
            "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}],
        },
        {
            "resourceType": "Organization",
            "id": "plan",
            "name": "Sample Health Plan",
            "identifier": [{"system": "http://example.org/payer-id", "value": "87726"}],
        },
        {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Smith"}]},
        {
            "resourceType": "Coverage",
            "id": "cov",
            "status": "active",
            "subscriberId": member,
            "beneficiary": subject,
            "payor": [{"reference": "Organization/plan"}],
        },
        {
            "resourceType": "Condition",
            "id": "knee",
            "subject": subject,
            "code": {"coding": [{"system": ICD, "code": "M25.561"}]},
        },
        {
            "resourceType": "ServiceRequest",
            "id": "mri",
            "status": "active",
            "intent": "order",
            "code": {"coding": [{"system": CPT, "code": "73722"}]},
            "subject": subject,
            "encounter": {"reference": "Encounter/none", "display": "Visit"},
            "requester": {"reference": "Practitioner/doc"},
            "reasonReference": [{"reference": "Condition/knee"}],
        },
        {
            "resourceType": "DocumentReference",
            "id": "note",
            "status": "current",
            "type": {"coding": [{"system": "http://loinc.org", "code": "11506-3"}]},
            "subject": subject,
            "date": "2026-11-20T10:00:00Z",
            "content": [{"attachment": {"contentType": "text/plain", "data": NOTE}}],
        },
    ]


def claim(*, documents: bool = True, **changes: Any) -> dict[str, Any]:
    """Return a draft Claim for the order of the record."""
    made: dict[str, Any] = {
        "resourceType": "Claim",
        "id": "pa-1",
        "identifier": [{"system": "urn:trnorg:9012345678", "value": "HC-PA-0001"}],
        "status": "draft",
        "use": "preauthorization",
        "type": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/claim-type",
                    "code": "professional",
                }
            ]
        },
        "patient": {"reference": "Patient/pat_pa"},
        "created": "2026-11-21T10:05:00Z",
        "insurer": {"reference": "Organization/plan"},
        "provider": {"reference": "Organization/clinic"},
        "priority": {"coding": [{"code": "normal"}]},
        "insurance": [
            {"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/cov"}},
        ],
        "item": [
            {
                "extension": [
                    {
                        "url": "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-requestedService",
                        "valueReference": {"reference": "ServiceRequest/mri"},
                    }
                ],
                "sequence": 1,
                "productOrService": {"coding": [{"system": CPT, "code": "73722"}]},
            }
        ],
    }
    if documents:
        made["supportingInfo"] = [
            {
                "sequence": 1,
                "category": {"coding": [{"code": "additionalInformation"}]},
                "valueReference": {"reference": "DocumentReference/note"},
            }
        ]
    return made | changes


def store(client: APIClient, *resources: dict[str, Any]) -> None:
    """Put resources into the client's project."""
    entries = [
        {
            "resource": resource,
            "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
        }
        for resource in resources
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = client.post("/v1/fhir", bundle, format="json")
    assert answer.status_code == 200, answer.json()


def deploy(client: APIClient, asset_id: str, config: dict[str, Any] | None = None) -> Any:
    """Install and deploy an asset in the sandbox; return the deployment when it has settled."""
    installed = client.post("/v1/assets/install", {"asset_id": asset_id}, format="json")
    assert installed.status_code in (200, 201), installed.json()
    body = {"asset_id": asset_id, "environment": "sandbox", "config": config or {}}
    answer = client.post("/v1/deployments", body, format="json")
    assert answer.status_code == 202, answer.json()
    run_until_idle()
    return client.get(f"/v1/deployments/{answer.json()['id']}").json()
