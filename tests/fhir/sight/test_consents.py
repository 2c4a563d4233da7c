"""Consents hold back what they deny, in projects that have them enforced; glass can be broken."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from fhir import consumers
from healthcloud.audit.models import AuditEvent
from healthcloud.events.models import Event
from healthcloud.ledger.models import DueWork
from healthcloud.organizations.models import Project, User
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.fhir.sight.conftest import ids_in, observation

pytestmark = pytest.mark.django_db
ClientFor = Callable[..., APIClient]
CLASS = "http://hl7.org/fhir/resource-types"
ACTION = "http://terminology.hl7.org/CodeSystem/consentaction"
LABEL = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
READER = ("fhir:read", "fhir:write")


def consent(provision: dict[str, Any], patient: str = "ann", **more: Any) -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/consentscope"
    category = {"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}
    return {
        "resourceType": "Consent",
        "id": f"consent-{patient}",
        "status": "active",
        "scope": {"coding": [{"system": system, "code": "patient-privacy"}]},
        "category": [category],
        "patient": {"reference": f"Patient/{patient}"},
        "policyRule": {"coding": [{"code": "OPTIN"}]},
        "provision": provision,
        **more,
    }


@pytest.fixture
def enforced(records: APIClient) -> None:
    Project.objects.filter(id="proj_riverside_screening").update(enforces_consent=True)


@pytest.fixture
def reader(records: APIClient, enforced: None, client_for: ClientFor) -> APIClient:
    return client_for(scopes=READER)


@pytest.fixture
def put(records: APIClient) -> Callable[..., None]:
    def store(resource: dict[str, Any]) -> None:
        path = f"/v1/fhir/{resource['resourceType']}/{resource['id']}"
        answer = records.put(path, resource, format="json")
        assert answer.status_code in {200, 201}, answer.content

    return store


Put = Callable[..., None]


def shown(client: APIClient, path: str, **headers: str) -> set[str]:
    answer = client.get(f"/v1/fhir/{path}", headers=headers)
    assert answer.status_code == 200, answer.content
    return ids_in(answer.json())


def observations(client: APIClient, **headers: str) -> set[str]:
    return {name.partition("/")[2] for name in shown(client, "Observation", **headers)}


ALL = {"lab-ann", "vital-ann", "lab-ben", "vital-ben"}
BEN = {"lab-ben", "vital-ben"}


def test_without_consents_nothing_is_held_back(reader: APIClient) -> None:
    assert observations(reader) == ALL


def test_a_denial_hides_the_record_on_every_route(reader: APIClient, put: Put) -> None:
    put(consent({"type": "deny"}))
    assert observations(reader) == BEN
    for path in ("Patient/ann", "Observation/lab-ann", "Observation/lab-ann/_history/1"):
        assert reader.get(f"/v1/fhir/{path}").status_code == 404, path
    assert shown(reader, "Patient?_revinclude=Observation:subject") == {
        "Patient/ben",
        "Observation/lab-ben",
        "Observation/vital-ben",
    }
    assert shown(reader, "Practitioner?_has:Patient:general-practitioner:name=Archer") == set()
    assert shown(reader, "Appointment") == {"Appointment/appt-ben"}
    assert shown(reader, "Observation?subject:Patient.name=Archer") == set()
    assert shown(reader, "Consent") == {"Consent/consent-ann"}
    assert reader.get("/v1/fhir/Patient/ann/$everything").status_code == 404


def test_where_consents_are_not_enforced_they_hold_nothing_back(
    records: APIClient, client_for: ClientFor, put: Put
) -> None:
    put(consent({"type": "deny"}))
    assert observations(client_for(scopes=READER)) == ALL


def test_a_consent_that_is_withdrawn_holds_nothing_back(reader: APIClient, put: Put) -> None:
    put(consent({"type": "deny"}))
    assert observations(reader) == BEN
    put(consent({"type": "deny"}, status="inactive"))
    assert observations(reader) == ALL


@pytest.mark.parametrize(
    ("provision", "hidden"),
    [
        ({"type": "deny", "class": [{"system": CLASS, "code": "Condition"}]}, set()),
        ({"type": "deny", "class": [{"system": CLASS, "code": "Observation"}]},
         {"lab-ann", "vital-ann"}),
        ({"type": "deny", "code": [{"coding": [{"system": "http://loinc.org", "code": "8310-5"}]}]},
         {"lab-ann", "vital-ann"}),
        ({"type": "deny", "code": [{"coding": [{"system": "http://loinc.org", "code": "1-1"}]}]},
         set()),
        ({"type": "deny", "action": [{"coding": [{"system": ACTION, "code": "access"}]}]},
         {"lab-ann", "vital-ann"}),
        ({"type": "deny", "action": [{"coding": [{"system": ACTION, "code": "correct"}]}]}, set()),
        ({"type": "deny", "period": {"start": "2020", "end": "2021"}}, set()),
        ({"type": "deny", "period": {"start": "2020-01-01"}}, {"lab-ann", "vital-ann"}),
        ({"type": "deny", "data": [{"meaning": "instance",
          "reference": {"reference": "Observation/lab-ann"}}]}, {"lab-ann"}),
        ({"provision": [{"type": "deny"}]}, {"lab-ann", "vital-ann"}),
        ({"type": "deny", "provision": [{"type": "permit", "data": [{"meaning": "instance",
          "reference": {"reference": "Observation/lab-ann"}}]}]}, {"vital-ann"}),
        ({"type": "deny", "provision": [{"type": "permit"}, {"type": "deny"}]},
         {"lab-ann", "vital-ann"}),
        ({"type": "deny", "purpose": [{"code": "HRESCH"}]}, set()),
        ({"type": "deny", "purpose": [{"code": "TREAT"}]}, {"lab-ann", "vital-ann"}),
        ({"type": "deny", "actor": [{"role": {"text": "x"},
          "reference": {"reference": "Practitioner/other"}}]}, set()),
        ({"type": "deny", "actor": [{"role": {"text": "x"},
          "reference": {"reference": "Organization/org_riverside"}}]}, {"lab-ann", "vital-ann"}),
    ],
)  # fmt: skip
def test_what_a_provision_names_decides(
    reader: APIClient, put: Put, provision: dict[str, Any], hidden: set[str]
) -> None:
    put(consent(provision))
    assert observations(reader) == ALL - hidden


def test_labels_and_dates_of_the_data_decide(reader: APIClient, put: Put) -> None:
    secret = {"security": [{"system": LABEL, "code": "R"}]}
    put(observation("lab-ann", "ann", "laboratory", meta=secret, effectiveDateTime="2020-05"))
    put(consent({"type": "deny", "securityLabel": [{"system": LABEL, "code": "R"}]}))
    assert observations(reader) == ALL - {"lab-ann"}
    put(consent({"type": "deny", "securityLabel": [{"system": LABEL, "code": "V"}]}))
    assert observations(reader) == ALL
    put(consent({"type": "deny", "dataPeriod": {"start": "2020-05-10", "end": "2020-06"}}))
    assert observations(reader) == ALL - {"lab-ann"}
    put(consent({"type": "deny", "dataPeriod": {"start": "2020-06", "end": "2020-07"}}))
    assert observations(reader) == ALL


def test_opting_out_denies_what_no_exception_permits(reader: APIClient, put: Put) -> None:
    exception = {"type": "permit", "class": [{"system": CLASS, "code": "Patient"}]}
    rule = {"coding": [{"code": "OPTOUTE"}]}
    put(consent({"provision": [exception]}, policyRule=rule))
    assert observations(reader) == BEN
    assert reader.get("/v1/fhir/Patient/ann").status_code == 200


def test_writing_is_no_reading(reader: APIClient, put: Put, records: APIClient) -> None:
    put(consent({"type": "deny"}))
    made = reader.post("/v1/fhir/Observation", observation("x", "ann", "laboratory"), format="json")
    assert made.status_code == 201
    assert reader.get(f"/v1/fhir/Observation/{made.json()['id']}").status_code == 404
    changed = observation("lab-ann", "ann", "vital-signs")
    assert reader.put("/v1/fhir/Observation/lab-ann", changed, format="json").status_code >= 400
    Project.objects.update(enforces_consent=False)
    found = records.get("/v1/fhir/Observation/lab-ann").json()
    assert found["meta"]["versionId"] == "1"


def test_what_is_written_is_told_where_consents_are_enforced(
    reader: APIClient, riverside_scope: Scope
) -> None:
    with tenant_scope(riverside_scope):
        consumers.attach("told")
    own = observation("own", "ann", "laboratory")
    assert reader.put("/v1/fhir/Observation/own", own, format="json").status_code == 201
    asked = DueWork.objects.filter(kind=consumers.DISPATCH_KIND).exclude(ref=consumers.SWEEP)
    assert asked.count() >= 1


def test_indexing_anew_shows_nothing_and_is_allowed(reader: APIClient, put: Put) -> None:
    put(consent({"type": "deny"}))
    nothing = {"resourceType": "Parameters"}
    begun = reader.post("/v1/fhir/Observation/$reindex", nothing, format="json")
    assert begun.status_code == 202
    place = begun["Content-Location"].removeprefix("http://testserver")
    assert reader.get(place).status_code == 202
    hidden = reader.post("/v1/fhir/Observation/lab-ann/$reindex", nothing, format="json")
    assert hidden.status_code == 404


def test_glass_is_broken_with_the_right_and_a_reason(
    reader: APIClient, put: Put, client_for: ClientFor, riverside_scope: Scope
) -> None:
    put(consent({"type": "deny"}))
    doctor = client_for(scopes=(*READER, "fhir:break-glass", "audit:read"))
    assert observations(doctor) == BEN
    assert observations(doctor, **{"X-Break-Glass": "unconscious"}) == ALL
    answer = doctor.get("/v1/fhir/Patient/ann", headers={"Purpose-Of-Use": "BTG"})
    assert answer.status_code == 200
    with tenant_scope(riverside_scope):
        kept = AuditEvent.objects.filter(action="consent.override").order_by("position")
        assert [row.details["reason"] for row in kept] == ["unconscious", "Purpose-Of-Use: BTG"]
        events = Event.objects.filter(type="consent.overridden")
        assert [event.payload["purpose"] for event in events] == ["BTG", "BTG"]
        assert "unconscious" not in str([event.payload for event in events])
    trail = doctor.get("/v1/fhir/AuditEvent?entity=Patient/ann").json()["entry"]
    purposes = [e["resource"]["purposeOfEvent"] for e in trail if "purposeOfEvent" in e["resource"]]
    assert purposes[0][0]["coding"][0]["code"] == "BTG"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Break-Glass": "curious"}, 403),
        ({"Purpose-Of-Use": "BTG"}, 403),
        ({"X-Break-Glass": " "}, 400),
        ({"X-Break-Glass": "x" * 300}, 400),
        ({"Purpose-Of-Use": "not a code"}, 400),
    ],
)
def test_glass_holds_without_the_right_or_a_reason(
    reader: APIClient, put: Put, headers: dict[str, str], status: int, riverside_scope: Scope
) -> None:
    put(consent({"type": "deny"}))
    assert reader.get("/v1/fhir/Patient/ann", headers=headers).status_code == status
    with tenant_scope(riverside_scope):
        assert not Event.objects.filter(type="consent.overridden").exists()


def test_an_app_is_held_to_scopes_and_consents(
    enforced: None, put: Put, launch_for: Callable[..., APIClient]
) -> None:
    put(consent({"type": "deny", "class": [{"system": CLASS, "code": "Condition"}]}))
    app = launch_for("patient/*.rs")
    assert shown(app, "Condition") == set()
    assert observations(app) == {"lab-ann", "vital-ann"}


def test_studio_heeds_consents(enforced: None, put: Put, alice: User) -> None:
    browser = Client()
    browser.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    place = "/studio/riverside/sandbox/screening/records"
    assert b"Archer" in browser.get(place).content
    put(consent({"type": "deny"}))
    page = browser.get(place).content
    assert b"Archer" not in page
    assert b"Baker" in page
    assert browser.get(f"{place}/patients/ann").status_code == 404


def test_the_setting_is_the_projects(client_for: ClientFor) -> None:
    admin = client_for(scopes=("org:admin",), project=None)
    path = "/v1/projects/proj_riverside_screening"
    assert admin.get(path).json()["enforces_consent"] is False
    answer = admin.patch(path, {"enforces_consent": True}, format="json")
    assert answer.json()["enforces_consent"] is True
