"""Writes are checked against profiles where the project asks for it."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from rest_framework.test import APIClient

from fhir import profile_rules, store
from fhir.errors import InvalidResource
from healthcloud.actors import SYSTEM
from healthcloud.organizations.models import Project
from healthcloud.tenancy.scope import active_scope, tenant_scope
from tests.fhir.api.test_validate import BP, GOOD, PATIENT, RACE, US, patient, pressure

FHIR = "application/fhir+json"
PROJECT = "/v1/projects/proj_riverside_screening"
ClientFor = Callable[..., APIClient]

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(client_for: ClientFor) -> APIClient:
    made = client_for(project=None, scopes=("fhir:read", "fhir:write", "org:admin"))
    made.credentials(
        HTTP_AUTHORIZATION=made._credentials["HTTP_AUTHORIZATION"],
        HTTP_HEALTHCLOUD_PROJECT="proj_riverside_screening",
    )
    for resource in (RACE, PATIENT):
        assert send(made, resource) == 201
    return made


def send(client: APIClient, resource: dict[str, Any], method: str = "POST", path: str = "") -> int:
    place = path or f"/v1/fhir/{resource['resourceType']}"
    answer = client.generic(method, place, json.dumps(resource), FHIR)
    client.last = answer  # type: ignore[attr-defined]  # for what a test asks besides the status
    return int(answer.status_code)


def ask_for(client: APIClient, mode: str, required: dict[str, list[str]] | None = None) -> None:
    body = {"fhir_profile_validation": mode, "fhir_required_profiles": required or {}}
    answer = client.patch(PROJECT, body, format="json")
    assert answer.status_code == 200, answer.content
    assert answer.json()["fhir_profile_validation"] == mode
    assert answer.json()["fhir_required_profiles"] == (required or {})


def places(client: APIClient) -> list[str]:
    found = client.last.json()  # type: ignore[attr-defined]
    assert found["resourceType"] == "OperationOutcome"
    return [i["expression"][0] for i in found["issue"] if i["severity"] == "error"]


def test_nothing_is_checked_unless_the_project_asks(client: APIClient) -> None:
    assert client.get(PROJECT).json()["fhir_profile_validation"] == "off"
    claiming = patient(meta={"profile": [US + "us-patient", "http://x/nowhere"]})
    assert send(client, claiming) == 201
    ask_for(client, "off", {"Patient": ["http://x/nowhere"]})
    assert send(client, claiming) == 201


def test_a_claim_is_held_to(client: APIClient) -> None:
    ask_for(client, "claimed")
    assert send(client, patient(**GOOD)) == 201
    assert send(client, patient()) == 201
    assert send(client, patient(meta={"profile": ["http://x/nowhere"]})) == 201
    assert send(client, patient(meta=GOOD["meta"])) == 422
    assert set(places(client)) == {"Patient.extension", "Patient.identifier"}
    before = client.get("/v1/fhir/Patient?_total=accurate").json()["total"]
    assert before == 3


def test_a_claim_must_be_known_where_the_project_requires_it(client: APIClient) -> None:
    ask_for(client, "required")
    assert send(client, patient(**GOOD)) == 201
    assert send(client, patient()) == 201
    assert send(client, patient(meta={"profile": ["http://x/nowhere"]})) == 422
    assert places(client) == ["Patient.meta.profile[0]"]


def test_a_type_conforms_to_one_of_its_profiles(client: APIClient) -> None:
    ask_for(client, "claimed", {"Patient": [US + "us-patient"], "Observation": [BP, US + "none"]})
    assert send(client, {k: v for k, v in patient(**GOOD).items() if k != "meta"}) == 201
    assert send(client, patient()) == 422
    assert set(places(client)) == {"Patient.extension", "Patient.identifier"}
    plain = {k: v for k, v in pressure().items() if k != "meta"}
    assert send(client, plain) == 201
    assert send(client, {k: v for k, v in plain.items() if k != "component"}) == 422
    assert send(client, {"resourceType": "Basic", "code": {"text": "x"}}) == 201


def test_every_way_of_writing_is_checked(client: APIClient) -> None:
    assert send(client, patient(id="p1"), "PUT", "/v1/fhir/Patient/p1") == 201
    ask_for(client, "claimed", {"Patient": [US + "us-patient"]})
    good = patient(**GOOD, id="p1")
    assert send(client, patient(id="p1"), "PUT", "/v1/fhir/Patient/p1") == 422
    assert send(client, good, "PUT", "/v1/fhir/Patient/p1") == 200
    patch = [{"op": "remove", "path": "/identifier"}]
    answer = client.generic(
        "PATCH", "/v1/fhir/Patient/p1", json.dumps(patch), "application/json-patch+json"
    )
    assert answer.status_code == 422
    entry = {"resource": patient(), "request": {"method": "POST", "url": "Patient"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert send(client, bundle, path="/v1/fhir") == 422
    assert send(client, {**bundle, "type": "batch"}, path="/v1/fhir") == 200
    assert client.last.json()["entry"][0]["response"]["status"].startswith("422")  # type: ignore[attr-defined]
    found = client.get("/v1/fhir/Patient?_total=accurate").json()
    assert (found["total"], found["entry"][0]["resource"]["meta"]["versionId"]) == (1, "2")


def test_a_profile_that_changes_counts_at_once(client: APIClient) -> None:
    ask_for(client, "claimed", {"Patient": [US + "us-patient"]})
    assert send(client, patient(**GOOD)) == 201
    stored = client.get(f"/v1/fhir/StructureDefinition?url={US}us-patient").json()["entry"][0]
    changed = stored["resource"]
    changed["differential"]["element"].append(
        {"id": "Patient.birthDate", "path": "Patient.birthDate", "min": 1}
    )
    assert send(client, changed, "PUT", f"/v1/fhir/StructureDefinition/{changed['id']}") == 200
    assert send(client, patient(**GOOD)) == 422
    assert places(client) == ["Patient.birthDate"]
    client.delete(f"/v1/fhir/StructureDefinition/{changed['id']}")
    assert send(client, patient(**GOOD)) == 422
    assert "not known here" in client.last.content.decode()  # type: ignore[attr-defined]


def test_queued_work_knows_the_setting_within_seconds(
    client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.objects.get(pk="proj_riverside_screening")
    environment = project.organization.environments.get(kind="sandbox")
    scope = environment.scope(project)
    monkeypatch.setattr(profile_rules, "_remembered", {})
    now = datetime.now(UTC)
    with tenant_scope(scope):
        assert active_scope().profiles is None
        store.create(resource=patient(), resource_type="Patient", actor=SYSTEM, now=now)
    ask_for(client, "claimed", {"Patient": [US + "us-patient"]})
    late = time.monotonic() + 6
    monkeypatch.setattr(profile_rules.time, "monotonic", lambda: late)
    with tenant_scope(scope), pytest.raises(InvalidResource, match=r"Patient\.\w+"):
        store.create(resource=patient(), resource_type="Patient", actor=SYSTEM, now=now)


@pytest.mark.parametrize(
    "body",
    [
        {"fhir_profile_validation": "on"},
        {"fhir_profile_validation": None},
        {"fhir_required_profiles": {"patient": ["http://x"]}},
        {"fhir_required_profiles": {"Patient": "http://x"}},
        {"fhir_required_profiles": {"Patient": ["a b"]}},
        {"fhir_required_profiles": []},
    ],
)
def test_a_setting_that_means_nothing_is_refused(client: APIClient, body: Any) -> None:
    answer = client.patch(PROJECT, body, format="json")
    assert answer.status_code in {400, 422}
    assert "fhir_" in answer.content.decode()
    assert client.get(PROJECT).json()["fhir_profile_validation"] == "off"


def test_only_administrators_of_the_organization_set_it(
    client: APIClient, client_for: ClientFor
) -> None:
    body = {"fhir_profile_validation": "required"}
    assert client_for().patch(PROJECT, body, format="json").status_code == 403
    charlie = client_for("lakeside", scopes=("org:admin",))
    assert charlie.patch(PROJECT, body, format="json").status_code == 404
    assert client.get(PROJECT).json()["fhir_profile_validation"] == "off"
