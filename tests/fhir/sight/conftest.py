"""Two patients with the same kinds of records, and apps that were launched for one of them."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from healthcloud import secrets
from healthcloud.actors import Actor
from healthcloud.organizations import access, queries
from healthcloud.organizations.authentication import issue_token
from healthcloud.organizations.models import Environment, SmartGrant
from healthcloud.organizations.smart import clients

LaunchFor = Callable[..., APIClient]
CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def observation(id: str, patient: str, category: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": category}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


def record_of(patient: str, family: str) -> list[dict[str, Any]]:
    subject = {"reference": f"Patient/{patient}"}
    return [
        {
            "resourceType": "Patient",
            "id": patient,
            "name": [{"family": family}],
            "identifier": [{"system": "urn:mrn", "value": f"mrn-{patient}"}],
            "generalPractitioner": [{"reference": "Practitioner/doc"}],
        },
        observation(
            f"lab-{patient}", patient, "laboratory", performer=[{"reference": "Practitioner/doc"}]
        ),
        observation(f"vital-{patient}", patient, "vital-signs"),
        {
            "resourceType": "Encounter",
            "id": f"enc-{patient}",
            "status": "finished",
            "class": {"code": "AMB"},
            "subject": subject,
        },
        {
            "resourceType": "Condition",
            "id": f"cond-{patient}",
            "code": {"text": "secret"},
            "subject": subject,
        },
        {
            "resourceType": "AllergyIntolerance",
            "id": f"allergy-{patient}",
            "clinicalStatus": {"coding": [{"system": CLINICAL, "code": "active"}]},
            "patient": subject,
        },
        {
            "resourceType": "Device",
            "id": f"dev-{patient}",
            "patient": subject,
        },
        {
            "resourceType": "Task",
            "id": f"task-{patient}",
            "status": "requested",
            "intent": "order",
            "for": subject,
        },
        {
            "resourceType": "Appointment",
            "id": f"appt-{patient}",
            "status": "proposed",
            "participant": [{"actor": subject, "status": "accepted"}],
        },
        {
            "resourceType": "List",
            "id": f"list-{patient}",
            "status": "current",
            "mode": "working",
            "subject": subject,
            "entry": [{"item": {"reference": f"Observation/lab-{patient}"}}],
        },
    ]


@pytest.fixture
def records(alice_client: APIClient) -> APIClient:
    """Store the records of `ann` and `ben`; return the client that sees both."""
    shared = [
        {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "House"}]},
        {"resourceType": "Group", "id": "both", "type": "person", "actual": True,
         "member": [{"entity": {"reference": f"Patient/{name}"}} for name in ("ann", "ben")]},
        {"resourceType": "Binary", "id": "bin", "contentType": "text/plain", "data": "c2VjcmV0"},
        {"resourceType": "Basic", "id": "loose", "code": {"text": "x"}},
    ]  # fmt: skip
    everything = [*shared, *record_of("ann", "Archer"), *record_of("ben", "Baker")]
    entries = [
        {
            "resource": resource,
            "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
        }
        for resource in everything
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = alice_client.post("/v1/fhir", bundle, format="json")
    assert answer.status_code == 200, answer.content
    return alice_client


@pytest.fixture
def launch_for(db: None) -> LaunchFor:
    """Return a client with the token of an app that Alice launched for a patient."""

    def launch(*scopes: str, patient: str | None = "ann", user: str = "usr_alice") -> APIClient:
        now = timezone.now()
        environment = Environment.objects.get(id="env_riverside_sandbox")
        app = clients.register_client(
            environment=environment,
            project_id="proj_riverside_screening",
            name="Growth chart",
            kind="public",
            redirect_uris=["https://app.example/cb"],
            scopes=scopes,
            actor=Actor(kind="user", id="usr_alice", label="Alice"),
            now=now,
        ).client
        context = "{}" if patient is None else f'{{"patient": "{patient}"}}'
        grant = SmartGrant.objects.create(
            key_id=app.pk,
            user_id=user,
            scopes=list(scopes),
            context=secrets.seal(environment.scope(), context),
            redirect_uri="https://app.example/cb",
            code_digest=app.pk.encode()[:32],
            code_challenge="x",
            code_expires_at=now + timedelta(minutes=1),
        )
        row = queries.find_key_by_id(app.pk)
        assert row is not None
        principal = access.principal_for_key(row, digest=None, now=now, client_ip=None)
        token = issue_token(principal, scopes=frozenset(scopes), now=now, grant_id=grant.id)
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        return client

    return launch


def ids_in(answer: Any) -> set[str]:
    """Return `Type/id` of every resource in a Bundle, those of Bundles inside of it too."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            kind = value.get("resourceType", "Bundle")
            if "id" in value and kind not in {"Bundle", "OperationOutcome"}:
                found.add(f"{value['resourceType']}/{value['id']}")
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(answer)
    return found


def told_in(answer: Any) -> str:
    """Return the text of an answer without what only says again what was asked."""

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            echoes = {"link", "diagnostics", "fullUrl"}
            return {name: stripped(v) for name, v in value.items() if name not in echoes}
        return [stripped(v) for v in value] if isinstance(value, list) else value

    return json.dumps(stripped(answer))
