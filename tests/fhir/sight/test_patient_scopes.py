"""An app launched for one patient: every way to another patient's record ends in nothing."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from fhir import consumers
from healthcloud.ledger.models import DueWork
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.fhir.sight.conftest import LaunchFor, ids_in, observation, told_in

pytestmark = pytest.mark.django_db
ANN = {
    *("Patient/ann", "Observation/lab-ann", "Observation/vital-ann", "Encounter/enc-ann"),
    *("Condition/cond-ann", "AllergyIntolerance/allergy-ann", "Device/dev-ann", "Task/task-ann"),
    *("Appointment/appt-ann", "List/list-ann"),
}
BEN = {reference.replace("ann", "ben") for reference in ANN}


@pytest.fixture
def app(records: APIClient, launch_for: LaunchFor) -> APIClient:
    return launch_for("launch/patient", "patient/*.cruds")


def get(client: APIClient, path: str) -> tuple[int, Any]:
    answer = client.get(f"/v1/fhir/{path}")
    return answer.status_code, json.loads(answer.content) if answer.content else None


def test_the_patients_own_record_is_read(app: APIClient) -> None:
    for reference in sorted(ANN):
        status, body = get(app, reference)
        assert (status, body["id"]) == (200, reference.partition("/")[2]), reference


def test_what_records_refer_to_is_read(app: APIClient) -> None:
    assert get(app, "Practitioner/doc")[0] == 200
    assert ids_in(get(app, "Practitioner?name=House")[1]) == {"Practitioner/doc"}


@pytest.mark.parametrize("reference", sorted(BEN | {"Group/both", "Binary/bin", "Basic/loose"}))
@pytest.mark.parametrize("tail", ["", "/_history", "/_history/1"])
def test_another_record_is_not_there(app: APIClient, reference: str, tail: str) -> None:
    status, body = get(app, reference + tail)
    assert status == 404 or (status == 200 and body["total"] == 0), (status, body)
    assert "Baker" not in told_in(body)
    assert "mrn-ben" not in told_in(body)


SEARCHES = [
    "Patient",
    "Patient?_id=ben",
    "Patient?name=Baker",
    "Patient?identifier=urn:mrn|mrn-ben",
    "Patient?_has:Observation:patient:code=8310-5",
    "Observation",
    "Observation?patient=ben",
    "Observation?subject=Patient/ben",
    "Observation?patient.name=Baker",
    "Observation?patient.identifier=mrn-ben",
    "Observation?subject:Patient._has:Condition:patient:_id=cond-ben",
    "Observation?_id=lab-ben,vital-ben",
    "Observation?code=8310-5&_include=Observation:subject",
    "Observation?code:missing=false&_total=accurate",
    "Observation?code:not=1-1",
    "Observation?_sort=-_lastUpdated",
    "Observation?_list=list-ben",
    "Observation?_filter=subject.name eq Baker",
    "Observation?_filter=code pr true",
    "Practitioner?_revinclude=Patient:general-practitioner",
    "Practitioner?_revinclude=Observation:performer",
    "Practitioner?_revinclude:iterate=Observation:performer&_include:iterate=Observation:subject",
    "Practitioner?_has:Observation:performer:subject=Patient/ben",
    "Encounter?subject=Patient/ben",
    "Encounter?_has:Observation:encounter:code=8310-5",
    "Condition?_content=secret",
    "Condition?_text=secret",
    "Condition?code:text=secret",
    "Group",
    "Group?member=Patient/ben",
    "List?item=Observation/lab-ben",
    "Patient/ben/Observation",
    "Patient/ben/Condition?code:text=secret",
    "Practitioner/doc/Observation",
    "Encounter/enc-ben/Observation",
    "Patient/_history",
    "Observation/_history",
    "_history",
    "Binary",
    "Basic",
    "?_type=Patient,Observation",
    "?_type=Patient&name=Baker",
    "Patient/ben/*",
    "Observation?_sort=patient",
    "Observation?_total=estimate",
]


@pytest.mark.parametrize("query", SEARCHES)
def test_no_search_shows_another_record(app: APIClient, records: APIClient, query: str) -> None:
    status, body = get(app, query)
    assert status in {200, 400, 403, 404}, body
    shown = ids_in(body)
    assert not shown & (BEN | {"Group/both", "Binary/bin", "Basic/loose"})
    assert "Baker" not in told_in(body)
    if status == 200 and body.get("type") == "searchset" and "total" in body:
        matches = [e for e in body.get("entry", []) if e["search"]["mode"] == "match"]
        assert body["total"] == len(matches)
    if query == "Practitioner?_has:Observation:performer:subject=Patient/ben":
        assert shown == set()


def test_searches_find_the_own_record(app: APIClient) -> None:
    found = {"Observation/lab-ann", "Observation/vital-ann"}
    for query in ("Observation", "Observation?patient=ann", "Observation?patient.name=Archer"):
        assert ids_in(get(app, query)[1]) == found, query
    assert ids_in(get(app, "Patient?_has:Observation:patient:code=8310-5")[1]) == {"Patient/ann"}
    together = ids_in(get(app, "Observation?_id=lab-ann&_include=Observation:*")[1])
    assert together == {"Observation/lab-ann", "Patient/ann", "Practitioner/doc"}


def test_a_posted_search_is_no_way_around(app: APIClient) -> None:
    answer = app.post(
        "/v1/fhir/Observation/_search",
        "patient=ben",
        content_type="application/x-www-form-urlencoded",
    )
    assert ids_in(answer.json()) == set()


@pytest.mark.parametrize(
    "path",
    [
        "Patient/ben/$everything",
        "Patient/$everything",
        "Encounter/enc-ben/$everything",
        "Patient/ben/$summary",
        "Observation/$lastn?patient=Patient/ben",
        "Observation/$stats?subject=Patient/ben&code=http://loinc.org|8310-5&statistic=count",
        "Patient/ben/$meta",
        "Patient/ben/$validate",
        "Patient/ben/$graphql?query={name{family}}",
        "$graphql?query={Patient(id:%22ben%22){name{family}}}",
        "$graphql?query={PatientList{id name{family}}}",
        "$graphql?query={ObservationList(patient:%22ben%22){id}}",
        "$export",
        "Patient/$export",
        "Group/both/$export",
        "Subscription/$status",
        "AuditEvent",
        "metadata",
    ],
)
def test_no_operation_shows_another_record(app: APIClient, path: str) -> None:
    answer = app.get(f"/v1/fhir/{path}")
    assert answer.status_code in {200, 400, 403, 404, 422}, answer.content
    text = told_in(answer.json())
    for name in ("Baker", "mrn-ben", "lab-ben", "cond-ben"):
        assert name not in text
    if answer.status_code == 200 and path.endswith("everything"):
        assert ids_in(answer.json()) <= ANN | {"Practitioner/doc"}


def test_own_everything_is_whole(app: APIClient) -> None:
    shown = ids_in(get(app, "Patient/ann/$everything")[1])
    # R4's compartment has neither Device nor Task.
    assert shown == (ANN - {"Device/dev-ann", "Task/task-ann"}) | {"Practitioner/doc"}


def test_jobs_and_subscriptions_are_refused(app: APIClient, records: APIClient) -> None:
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": []}
    later = app.post("/v1/fhir", bundle, format="json", HTTP_PREFER="respond-async")
    subscription = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "x",
        "criteria": "Observation?code=8310-5",
        "channel": {"type": "rest-hook", "endpoint": "https://evil.example/"},
    }
    made = app.post("/v1/fhir/Subscription", subscription, format="json")
    nothing = {"resourceType": "Parameters"}
    taken = app.post("/v1/fhir/$import", nothing, format="json")
    indexed = [
        app.post(f"/v1/fhir/{at}$reindex", nothing, format="json").status_code
        for at in ("", "Observation/", "Observation/lab-ann/")
    ]
    assert [later.status_code, made.status_code, taken.status_code] == [403, 403, 403]
    assert indexed == [403, 403, 403]
    assert ids_in(records.get("/v1/fhir/Subscription").json()) == set()


def test_the_output_of_jobs_is_not_there(app: APIClient, records: APIClient) -> None:
    begun = records.get("/v1/fhir/$export", headers={"Prefer": "respond-async"})
    assert begun.status_code == 202
    job = begun["Content-Location"].rpartition("/")[2]
    assert records.get(f"/v1/fhir/_jobs/{job}").status_code == 202
    for path in (f"_jobs/{job}", f"_jobs/{job}/0"):
        assert app.get(f"/v1/fhir/{path}").status_code == 404
    assert app.delete(f"/v1/fhir/_jobs/{job}").status_code == 404
    assert records.get(f"/v1/fhir/_jobs/{job}").status_code == 202


def test_a_batch_reads_nothing_else(app: APIClient) -> None:
    urls = ["Patient/ben", "Observation?patient=ben", "Patient/ben/_history/1",
            "Patient/ben/_history", "Patient?name=Baker", "Observation/lab-ann",
            "Patient/ben/$everything", "$export", "?_type=Patient,Condition"]  # fmt: skip
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    body = app.post("/v1/fhir", bundle, format="json").json()
    assert ids_in(body) == {"Observation/lab-ann", "Patient/ann", "Condition/cond-ann"}
    assert "Baker" not in told_in(body)


def test_the_own_record_is_written(app: APIClient) -> None:
    new = observation("new", "ann", "laboratory")
    assert app.put("/v1/fhir/Observation/new", new, format="json").status_code == 201
    assert app.put("/v1/fhir/Observation/new", new, format="json").status_code == 200
    created = app.post("/v1/fhir/Observation", new, format="json")
    assert created.status_code == 201
    patch = [{"op": "replace", "path": "/status", "value": "amended"}]
    patched = app.patch(
        "/v1/fhir/Observation/new", json.dumps(patch), content_type="application/json-patch+json"
    )
    assert (patched.status_code, patched.json()["status"]) == (200, "amended")
    assert app.delete("/v1/fhir/Observation/new").status_code == 204
    assert get(app, "Observation/new")[0] in {404, 410}


def versions(client: APIClient) -> dict[str, str]:
    entries = client.get("/v1/fhir/_history?_count=200").json()["entry"]
    return {e["fullUrl"] + e["response"]["etag"]: e["request"]["method"] for e in entries}


def test_nothing_is_written_outside_of_it(app: APIClient, records: APIClient) -> None:
    before = versions(records)
    stolen = observation("lab-ben", "ann", "laboratory")
    foreign = observation("x", "ben", "laboratory")
    moved = observation("lab-ann", "ben", "laboratory")
    patch = json.dumps([{"op": "replace", "path": "/subject/reference", "value": "Patient/ben"}])
    as_patch = {"content_type": "application/json-patch+json"}
    attempts = [
        app.post("/v1/fhir/Observation", foreign, format="json"),
        app.put("/v1/fhir/Observation/x", foreign, format="json"),
        app.put("/v1/fhir/Observation/lab-ben", stolen, format="json"),
        app.put("/v1/fhir/Observation/lab-ann", moved, format="json"),
        app.patch("/v1/fhir/Observation/lab-ann", patch, **as_patch),
        app.patch("/v1/fhir/Observation/lab-ben", patch, **as_patch),
        app.delete("/v1/fhir/Observation/lab-ben"),
        app.delete("/v1/fhir/Patient/ben"),
        app.delete("/v1/fhir/Group/both"),
        app.delete("/v1/fhir/Observation?patient=ben&code=8310-5"),
        app.post("/v1/fhir/Patient", {"resourceType": "Patient"}, format="json"),
        app.put("/v1/fhir/Patient/eve", {"resourceType": "Patient", "id": "eve"}, format="json"),
        app.put("/v1/fhir/Practitioner/doc", {"resourceType": "Practitioner", "id": "doc"},
                format="json"),
        app.post("/v1/fhir/Basic", {"resourceType": "Basic", "code": {"text": "x"}}, format="json"),
        app.post("/v1/fhir/ValueSet", {"resourceType": "ValueSet", "status": "draft"},
                 format="json"),
        app.post("/v1/fhir/Patient/ben/$meta-add", {"resourceType": "Parameters", "parameter": [
            {"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}, format="json"),
    ]  # fmt: skip
    # 409: the id is taken; 204: whatever was to be deleted is not there; 200: nothing matched.
    codes = [a.status_code for a in attempts]
    kept, refused = [404, 204, 204, 204, 200], [403, 403, 403, 403, 403, 404]
    assert codes == [403, 403, 409, 403, 403, *kept, *refused]
    assert versions(records) == before
    assert records.get("/v1/fhir/Group/both").status_code == 200


def test_naming_the_patient_in_another_role_is_no_way_into_another_record(
    app: APIClient, records: APIClient
) -> None:
    own = [{"reference": "Patient/ann"}]
    mixed = observation("mixed", "ben", "laboratory", performer=own)
    assert app.put("/v1/fhir/Observation/mixed", mixed, format="json").status_code == 403
    assert app.post("/v1/fhir/Observation", mixed, format="json").status_code == 403
    assert records.put("/v1/fhir/Observation/mixed", mixed, format="json").status_code == 201
    assert get(app, "Observation/mixed")[0] == 200  # it is in the compartment
    changed = {**mixed, "status": "amended"}
    assert app.put("/v1/fhir/Observation/mixed", changed, format="json").status_code >= 400
    assert app.delete("/v1/fhir/Observation/mixed").status_code in {204, 403, 404}
    assert records.get("/v1/fhir/Observation/mixed").json()["meta"]["versionId"] == "1"


def test_a_bundle_that_writes_outside_of_it_writes_nothing(
    app: APIClient, records: APIClient
) -> None:
    before = versions(records)
    entries = [
        {"resource": observation("fine", "ann", "laboratory"),
         "request": {"method": "PUT", "url": "Observation/fine"}},
        {"resource": observation("x", "ben", "laboratory"),
         "request": {"method": "POST", "url": "Observation"}},
    ]  # fmt: skip
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    assert app.post("/v1/fhir", bundle, format="json").status_code == 403
    assert versions(records) == before
    answer = app.post("/v1/fhir", {**bundle, "type": "batch"}, format="json").json()
    assert [e["response"]["status"][:3] for e in answer["entry"]] == ["201", "403"]


def test_conditional_references_find_nobody_else(app: APIClient) -> None:
    entry = {
        "resource": {**observation("x", "ann", "laboratory"),
                     "focus": [{"reference": "Patient?identifier=urn:mrn|mrn-ben"}]},
        "request": {"method": "POST", "url": "Observation"},
    }  # fmt: skip
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    answer = app.post("/v1/fhir", bundle, format="json")
    assert answer.status_code in {400, 404, 412, 422}, answer.content
    found = app.post(
        "/v1/fhir/Patient",
        {"resourceType": "Patient"},
        format="json",
        HTTP_IF_NONE_EXIST="identifier=urn:mrn|mrn-ben",
    )
    assert found.status_code == 403


def test_without_a_patient_the_scopes_say_nothing(
    records: APIClient, launch_for: LaunchFor
) -> None:
    app = launch_for("patient/*.rs", patient=None)
    assert ids_in(get(app, "Observation")[1]) == set()
    assert get(app, "Patient/ann")[0] == 404


def test_reading_is_not_writing(records: APIClient, launch_for: LaunchFor) -> None:
    app = launch_for("patient/*.rs")
    new = observation("new", "ann", "laboratory")
    assert app.post("/v1/fhir/Observation", new, format="json").status_code == 403
    assert app.delete("/v1/fhir/Observation/lab-ann").status_code == 403
    assert get(records, "Observation/lab-ann")[0] == 200


def test_an_app_that_only_writes_reads_nothing(records: APIClient, launch_for: LaunchFor) -> None:
    app = launch_for("patient/Observation.c")
    new = observation("new", "ann", "laboratory")
    assert app.post("/v1/fhir/Observation", new, format="json").status_code == 201
    foreign = observation("new", "ben", "laboratory")
    assert app.post("/v1/fhir/Observation", foreign, format="json").status_code == 403
    assert get(app, "Observation")[0] == 403
    assert get(app, "Observation/lab-ann")[0] == 403


def test_types_stay_apart(records: APIClient, launch_for: LaunchFor) -> None:
    app = launch_for("patient/Observation.rs")
    assert get(app, "Condition")[0] == 403
    assert get(app, "Patient/ann")[0] == 403
    assert ids_in(get(app, "Observation?_include=Observation:subject")[1]) == {
        "Observation/lab-ann",
        "Observation/vital-ann",
    }


def test_older_versions_of_another_patient_stay_hidden(records: APIClient, app: APIClient) -> None:
    moved = observation("lab-ben", "ann", "laboratory")
    assert records.put("/v1/fhir/Observation/lab-ben", moved, format="json").status_code == 200
    assert get(app, "Observation/lab-ben")[0] == 200
    assert get(app, "Observation/lab-ben/_history/1")[0] == 404
    assert get(app, "Observation/lab-ben/_history")[1]["total"] == 1


def test_own_older_versions_are_shown(records: APIClient, app: APIClient) -> None:
    again = observation("lab-ann", "ann", "laboratory", status="amended")
    assert records.put("/v1/fhir/Observation/lab-ann", again, format="json").status_code == 200
    assert get(app, "Observation/lab-ann/_history/1")[1]["status"] == "final"
    assert get(app, "Observation/lab-ann/_history")[1]["total"] == 2


@pytest.mark.parametrize(
    "path", ["/v1/projects", "/v1/organizations", "/v1/workflows", "/v1/api-keys", "/v1/usage"]
)
def test_the_token_is_no_key_to_the_platform(app: APIClient, path: str) -> None:
    answer = app.get(path)
    assert answer.status_code == 403
    assert "FHIR API" in answer.json()["error"]["message"]


def test_the_aliases_are_as_narrow(app: APIClient) -> None:
    assert ids_in(app.get("/v1/patients").json()) == {"Patient/ann"}
    assert app.get("/v1/patients/ben").status_code == 404
    assert ids_in(app.get("/v1/observations?patient=ben").json()) == set()


def test_what_it_writes_is_told_as_other_writes_are(app: APIClient, riverside_scope: Scope) -> None:
    with tenant_scope(riverside_scope):
        consumers.attach("told")
    own = observation("own", "ann", "laboratory")
    assert app.put("/v1/fhir/Observation/own", own, format="json").status_code == 201
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"request": {"method": "PUT", "url": "Observation/own"},
         "resource": {**own, "status": "amended"}}]}  # fmt: skip
    assert app.post("/v1/fhir", bundle, format="json").status_code == 200
    assert app.delete("/v1/fhir/Observation/own").status_code == 204
    asked = DueWork.objects.filter(kind=consumers.DISPATCH_KIND).exclude(ref=consumers.SWEEP)
    assert asked.count() >= 1
