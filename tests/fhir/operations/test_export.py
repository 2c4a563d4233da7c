"""$export: what was committed at the kick-off, all of it, nothing else, as often as it crashes."""

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from fhir import store
from fhir.bulk import exporting
from healthcloud.actors import Actor
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.worker import run_until_idle
from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey, Project
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant

__all__ = ["live_scope", "live_tenant"]

ClientFor = Callable[..., APIClient]


def client_of(scope: Scope, *scopes: str) -> APIClient:
    secret = keys.generate("sandbox")
    ApiKey.objects.create(
        organization_id=scope.organization_id,
        environment_id=scope.environment_id,
        project_id=scope.project_id,
        name="test",
        prefix=secret.prefix,
        last4=secret.last4,
        digest=secret.digest,
        scopes=list(scopes or ("fhir:read", "fhir:write")),
        created_by_id="usr_alice",
    )
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret.text}")
    return client


def observation(rid: str, patient: str, status: str = "final") -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": rid,
        "status": status,
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
    }


@pytest.fixture
def now() -> datetime:
    """The real moment: the ledger has the database's clock."""
    return timezone.now()


@pytest.fixture
def write(live_tenant: Scope, alice_actor: Actor, now: datetime) -> Callable[..., None]:
    """Write resources in a transaction that commits."""

    def make(*resources: dict[str, Any]) -> None:
        with tenant_scope(live_tenant):
            store.write_many(resources=resources, actor=alice_actor, now=now)

    return make


@pytest.fixture
def client(live_tenant: Scope, write: Callable[..., None]) -> APIClient:
    """A client of a tenant with two patients, an organization and three observations."""
    write(
        {"resourceType": "Patient", "id": "p1", "gender": "female"},
        {"resourceType": "Patient", "id": "p2"},
        {"resourceType": "Organization", "id": "o1", "name": "Lab"},
        observation("a", "p1"),
        observation("b", "p1", "preliminary"),
        observation("c", "p2"),
        {
            "resourceType": "Group",
            "id": "g1",
            "type": "person",
            "actual": True,
            "member": [
                {"entity": {"reference": "Patient/p1"}},
                {"entity": {"reference": "Patient/p2"}, "inactive": True},
            ],
        },
    )
    return client_of(live_tenant)


def kick_off(client: APIClient, address: str) -> str:
    answer = client.get(f"/v1/fhir/{address}", HTTP_PREFER="respond-async")
    assert answer.status_code == 202, answer.content
    return str(answer["Content-Location"]).removeprefix("http://testserver")


def exported(client: APIClient, place: str) -> list[str]:
    """Return `Type/id` of all that was exported."""
    manifest = client.get(place)
    assert manifest.status_code == 200, manifest.content
    found = []
    for entry in manifest.json()["output"]:
        part = client.get(entry["url"].removeprefix("http://testserver"))
        lines = [json.loads(line) for line in part.content.splitlines()]
        assert len(lines) == entry["count"]
        assert {line["resourceType"] for line in lines} == {entry["type"]}
        found += [f"{line['resourceType']}/{line['id']}" for line in lines]
    return found


def test_the_system_is_exported_with_a_manifest(client: APIClient) -> None:
    place = kick_off(client, "$export?_outputFormat=application/fhir%2Bndjson")
    assert client.get(place).status_code == 202
    run_until_idle()
    manifest = client.get(place).json()
    assert manifest["requiresAccessToken"] is True
    assert manifest["request"].endswith("$export?_outputFormat=application/fhir%2Bndjson")
    assert (manifest["error"], manifest["deleted"]) == ([], [])
    assert sorted(exported(client, place)) == [
        "Group/g1",
        "Observation/a",
        "Observation/b",
        "Observation/c",
        "Organization/o1",
        "Patient/p1",
        "Patient/p2",
    ]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("$export?_type=Patient", ["Patient/p1", "Patient/p2"]),
        ("$export?_type=Organization,Group", ["Group/g1", "Organization/o1"]),
        (
            "Patient/$export?_type=Patient,Observation",
            ["Observation/a", "Observation/b", "Observation/c", "Patient/p1", "Patient/p2"],
        ),
        (
            "Group/g1/$export?_type=Patient,Observation",
            ["Observation/a", "Observation/b", "Patient/p1"],
        ),
        (
            "$export?_type=Observation&_typeFilter=Observation%3Fstatus%3Dpreliminary",
            ["Observation/b"],
        ),
    ],
)
def test_types_filters_and_levels_choose(
    client: APIClient, address: str, expected: list[str]
) -> None:
    place = kick_off(client, address)
    run_until_idle()
    assert sorted(exported(client, place)) == expected


def test_what_is_written_after_the_kick_off_is_not_in_it(
    client: APIClient, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PAGE", 1)
    place = kick_off(client, "$export?_type=Patient")
    write({"resourceType": "Patient", "id": "p1", "gender": "male"})
    write({"resourceType": "Patient", "id": "p0"})
    assert client.delete("/v1/fhir/Patient/p2").status_code == 204
    run_until_idle()
    assert exported(client, place) == ["Patient/p1", "Patient/p2"]
    first = json.loads(client.get(f"{place}/0").content)
    assert (first["gender"], first["meta"]["versionId"]) == ("female", "1")


def test_since_leaves_out_what_is_older_and_tells_deletions(client: APIClient) -> None:
    since = timezone.now().isoformat().replace("+", "%2B")
    assert client.delete("/v1/fhir/Patient/p2").status_code == 204
    place = kick_off(client, f"$export?_type=Patient&_since={since}")
    run_until_idle()
    assert exported(client, place) == []
    [deleted] = client.get(place).json()["deleted"]
    bundle = json.loads(client.get(deleted["url"].removeprefix("http://testserver")).content)
    assert bundle["entry"] == [{"request": {"method": "DELETE", "url": "Patient/p2"}}]


def test_elements_narrow_the_lines(client: APIClient) -> None:
    place = kick_off(client, "$export?_type=Patient&_elements=Patient.gender,Observation.code")
    run_until_idle()
    lines = client.get(f"{place}/0").content.splitlines()
    assert set(json.loads(lines[0])) == {"resourceType", "id", "meta", "gender"}


def test_a_crash_in_the_middle_exports_nothing_twice(
    client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PAGE", 1)
    place = kick_off(client, "$export?_type=Patient")
    whole, calls = exporting._page, []

    def crash(*given: Any) -> exporting.Page:
        calls.append(given)
        if len(calls) == 2:
            raise RuntimeError("killed")
        return whole(*given)

    monkeypatch.setattr(exporting, "_page", crash)
    with pytest.raises(RuntimeError):
        run_until_idle()
    DueWork.objects.filter(state="running").update(state="ready", lease_until=None)
    run_until_idle()
    assert exported(client, place) == ["Patient/p1", "Patient/p2"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("LatestProvenanceResources", ["v2"]), ("RelevantProvenanceResources", ["v1", "v2"])],
)
def test_provenances_of_what_is_exported_come_besides(
    client: APIClient, write: Callable[..., None], kind: str, expected: list[str]
) -> None:
    for number, target in enumerate(("Patient/p1", "Patient/p1/_history/1", "Organization/o1"), 1):
        write(
            {
                "resourceType": "Provenance",
                "id": f"v{number}",
                "target": [{"reference": target}],
                "recorded": "2026-01-01T00:00:00Z",
                "agent": [{"who": {"display": "x"}}],
            }
        )
    place = kick_off(client, f"$export?_type=Patient&includeAssociatedData={kind}")
    run_until_idle()
    found = exported(client, place)
    assert found == ["Patient/p1", "Patient/p2", *(f"Provenance/{rid}" for rid in expected)]


def test_whom_a_patients_record_names_comes_along(
    client: APIClient, write: Callable[..., None]
) -> None:
    write(
        *({"resourceType": "Practitioner", "id": f"d{n}"} for n in (1, 2, 3)),
        {**observation("d", "p1"), "performer": [{"reference": "Practitioner/d1"}]},
        {**observation("e", "p2"), "performer": [{"reference": "Practitioner/d2"}]},
        {
            "resourceType": "Patient",
            "id": "p1",
            "managingOrganization": {"reference": "Organization/o1"},
        },
    )
    for address, expected in (
        ("Patient/$export", ["Organization/o1", "Practitioner/d1", "Practitioner/d2"]),
        ("Group/g1/$export", ["Organization/o1", "Practitioner/d1"]),
    ):
        place = kick_off(client, f"{address}?_type=Practitioner,Organization")
        run_until_idle()
        assert exported(client, place) == expected
        place = kick_off(client, address)
        run_until_idle()
        assert set(expected) < set(exported(client, place))


def test_lenient_clients_are_told_what_was_ignored(client: APIClient) -> None:
    answer = client.get(
        "/v1/fhir/$export?_type=Patient&organizeOutputBy=Patient",
        headers={"Prefer": "respond-async, handling=lenient"},
    )
    assert answer.status_code == 202
    run_until_idle()
    place = str(answer["Content-Location"]).removeprefix("http://testserver")
    assert exported(client, place) == ["Patient/p1", "Patient/p2"]
    [error] = client.get(place).json()["error"]
    outcome = client.get(error["url"].removeprefix("http://testserver")).content
    assert b"organizeOutputBy" in outcome


def test_patients_are_named_in_parameters(client: APIClient) -> None:
    given = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "patient", "valueReference": {"reference": "Patient/p2"}},
            {"name": "_type", "valueString": "Patient,Observation"},
            {"name": "_outputFormat", "valueString": "ndjson"},
        ],
    }
    answer = client.post(
        "/v1/fhir/Patient/$export", json.dumps(given), content_type="application/fhir+json"
    )
    assert answer.status_code == 202, answer.content
    run_until_idle()
    place = str(answer["Content-Location"]).removeprefix("http://testserver")
    assert sorted(exported(client, place)) == ["Observation/c", "Patient/p2"]
    done = client.get(place)
    assert (done["Content-Type"], "Expires" in done) == ("application/json", True)


def test_files_are_packed_for_who_unpacks_them(client: APIClient) -> None:
    place = kick_off(client, "$export?_type=Patient")
    run_until_idle()
    plain = client.get(f"{place}/0")
    packed = client.get(f"{place}/0", headers={"Accept-Encoding": "gzip, deflate"})
    assert ("Content-Encoding" in plain, packed["Content-Encoding"]) == (False, "gzip")
    assert gzip.decompress(packed.content) == plain.content
    assert packed["Content-Type"] == plain["Content-Type"] == "application/fhir+ndjson"


def test_an_export_that_goes_on_says_how_far_it_is_and_ends_when_told(client: APIClient) -> None:
    place = kick_off(client, "$export")
    waiting = client.get(place)
    assert (waiting.status_code, waiting["X-Progress"]) == (202, "queued")
    assert int(waiting["Retry-After"]) > 0
    assert client.delete(place).status_code == 202
    run_until_idle()
    assert client.get(place).status_code == 404
    assert client.get(f"{place}/0").status_code == 404
    assert client.delete(place).status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        "$export?_outputFormat=csv",
        "$export?_type=Patients",
        "Patient/$export?_type=ValueSet",
        "$export?_typeFilter=Observation",
        "$export?_type=Observation&_typeFilter=Observation%3Fcolour%3Dred",
        "$export?_since=yesterday",
        "$export?includeAssociatedData=x",
    ],
)
def test_what_can_not_be_done_is_refused_at_once(client: APIClient, address: str) -> None:
    answer = client.get(f"/v1/fhir/{address}")
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["diagnostics"]


def test_each_exported_type_needs_its_scope(client: APIClient, live_tenant: Scope) -> None:
    narrow = client_of(live_tenant, "Patient:read")
    assert narrow.get("/v1/fhir/$export").status_code == 403
    assert narrow.get("/v1/fhir/$export?_type=Observation").status_code == 403
    place = kick_off(narrow, "$export?_type=Patient")
    run_until_idle()
    assert exported(narrow, place) == ["Patient/p1", "Patient/p2"]
    assert client_of(live_tenant, "Observation:read").get(place).status_code == 403


@pytest.fixture
def enforce(live_tenant: Scope) -> Iterator[Callable[[], None]]:
    """Return what has Consents enforced in the project, until the test is over."""
    project = Project.objects.filter(id=live_tenant.project_id)
    yield lambda: project.update(enforces_consent=True) and None
    project.update(enforces_consent=False)


WITHOUT_P2 = ["Consent/no", "Observation/a", "Observation/b", "Organization/o1", "Patient/p1"]
GLASS = {"X-Break-Glass": "an outbreak"}


@pytest.fixture
def denied(client: APIClient, write: Callable[..., None], enforce: Callable[[], None]) -> APIClient:
    """A client in a project where `p2` denies everything."""
    system = "http://terminology.hl7.org/CodeSystem/consentscope"
    write(
        {
            "resourceType": "Consent",
            "id": "no",
            "status": "active",
            "scope": {"coding": [{"system": system, "code": "patient-privacy"}]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "patient": {"reference": "Patient/p2"},
            "policyRule": {"coding": [{"code": "OPTIN"}]},
            "provision": {"type": "deny"},
        }
    )
    enforce()
    return client


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("$export", WITHOUT_P2),
        ("$export?_typeFilter=Observation%3Fstatus%3Dpreliminary&_type=Observation",
         ["Observation/b"]),
        ("Patient/$export?_type=Patient,Observation",
         ["Observation/a", "Observation/b", "Patient/p1"]),
        ("$export?_since=2020-01-01T00:00:00Z&_type=Patient", ["Patient/p1"]),
    ],
)  # fmt: skip
def test_an_export_leaves_out_what_consents_hold_back(
    denied: APIClient, address: str, expected: list[str]
) -> None:
    place = kick_off(denied, address)
    run_until_idle()
    assert sorted(exported(denied, place)) == expected


def test_the_output_is_its_own_where_consents_are_enforced(
    denied: APIClient, live_tenant: Scope
) -> None:
    place = kick_off(denied, "$export")
    run_until_idle()
    other = client_of(live_tenant)
    for path in (place, f"{place}/0"):
        assert denied.get(path).status_code == 200
        assert other.get(path).status_code == 404
    assert other.delete(place).status_code == 404
    assert denied.get(place).status_code == 200


def test_what_was_exported_through_broken_glass_is_seen_through_broken_glass(
    denied: APIClient, live_tenant: Scope
) -> None:
    doctor = client_of(live_tenant, "fhir:read", "fhir:break-glass")
    begun = doctor.get("/v1/fhir/$export?_type=Patient", headers=GLASS)
    assert begun.status_code == 202
    place = begun["Content-Location"].removeprefix("http://testserver")
    run_until_idle()
    part = doctor.get(f"{place}/0", headers=GLASS)
    assert {json.loads(line)["id"] for line in part.content.splitlines()} == {"p1", "p2"}
    for path in (place, f"{place}/0"):
        assert [c.get(path).status_code for c in (doctor, denied)] == [404, 404]
        assert denied.get(path, headers=GLASS).status_code == 403


def test_what_was_exported_before_consents_were_enforced_is_not_there(
    client: APIClient, enforce: Callable[[], None]
) -> None:
    place = kick_off(client, "$export")
    run_until_idle()
    assert client.get(f"{place}/0").status_code == 200
    enforce()
    assert [client.get(path).status_code for path in (place, f"{place}/0")] == [404, 404]


def test_a_group_that_consents_hold_back_is_not_exported(denied: APIClient) -> None:
    answer = denied.get("/v1/fhir/Group/g1/$export", HTTP_PREFER="respond-async")
    assert answer.status_code == 404
