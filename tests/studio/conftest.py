"""Browsers without a screen: signed-in clients, and a patient with results."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from healthcloud.actors import Actor
from healthcloud.organizations.models import User
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.assets.conftest import Quest, fresh_tokens, quest, simulator_url

__all__ = ["Quest", "fresh_tokens", "quest", "simulator_url"]

PLACE = "/studio/riverside/sandbox/screening"


@pytest.fixture
def as_person(db: None) -> Callable[[User], Client]:
    """Return a function that signs a person in."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return sign_in


@pytest.fixture
def alice_browser(as_person: Callable[[User], Client], alice: User) -> Client:
    """Alice, owner of Riverside Health."""
    return as_person(alice)


@pytest.fixture
def bob_browser(as_person: Callable[[User], Client], bob: User) -> Client:
    """Bob, developer at Riverside Health."""
    return as_person(bob)


@pytest.fixture
def charlie_browser(as_person: Callable[[User], Client], charlie: User) -> Client:
    """Charlie, the stranger."""
    return as_person(charlie)


def observation(id: str, code: str, text: str, day: str, **value: Any) -> dict[str, Any]:
    """Return a laboratory observation of Maya's."""
    category = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "category": [{"coding": [{"system": category, "code": "laboratory"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code}], "text": text},
        "subject": {"reference": "Patient/pat_maya"},
        "effectiveDateTime": f"{day}T08:00:00Z",
        **value,
    }


@pytest.fixture
def maya(riverside_scope: Scope, alice_actor: Actor, now: datetime) -> str:
    """Maya Okafor with dysuria, a positive nitrite and two potassium values; her id."""
    from fhir import store

    clinical = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    dysuria = {"system": "http://snomed.info/sct", "code": "49650001", "display": "Dysuria"}
    resources: list[dict[str, Any]] = [
        {
            "resourceType": "Patient",
            "id": "pat_maya",
            "name": [{"use": "official", "family": "Okafor", "given": ["Maya"]}],
            "gender": "female",
            "birthDate": "1992-04-17",
            "identifier": [{"system": "https://riverside.example/mrn", "value": "RH-204417"}],
        },
        {
            "resourceType": "Condition",
            "id": "cond_dysuria",
            "clinicalStatus": {"coding": [{"system": clinical, "code": "active"}]},
            "code": {"coding": [dysuria]},
            "subject": {"reference": "Patient/pat_maya"},
            "onsetDateTime": "2026-11-20",
        },
        observation("obs_k1", "2823-3", "Potassium", "2026-10-01", valueQuantity={"value": 4.1}),
        observation("obs_k2", "2823-3", "Potassium", "2026-11-01", valueQuantity={"value": 5.3}),
        observation(
            "obs_nitrite",
            "5802-4",
            "Nitrite",
            "2026-11-22",
            valueCodeableConcept={
                "coding": [{"system": "http://snomed.info/sct", "code": "10828004"}],
                "text": "Positive",
            },
        ),
    ]
    with tenant_scope(riverside_scope):
        store.write_many(resources=resources, actor=alice_actor, now=now)
    return "pat_maya"
