"""Every access is in the trail, granted or denied, and the trail is FHIR's AuditEvent."""

import base64
from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from fhir.sql import fetch
from fhir.validation import validate
from healthcloud.tenancy.scope import Scope, tenant_scope

PATIENT = {"resourceType": "Patient", "id": "pat_1", "name": [{"family": "Shaw"}]}


@pytest.fixture
def auditor(client_for: Callable[..., APIClient]) -> APIClient:
    return client_for(scopes=("fhir:read", "audit:read"))


def events(client: APIClient, query: str = "") -> list[dict]:
    answer = client.get(f"/v1/fhir/AuditEvent?{query}")
    assert answer.status_code == 200, answer.json()
    return [entry["resource"] for entry in answer.json()["entry"]]


def store_patient(client: APIClient) -> None:
    assert client.put("/v1/fhir/Patient/pat_1", PATIENT, format="json").status_code == 201


@pytest.mark.parametrize(
    ("path", "subtype", "action"),
    [
        ("/v1/fhir/Patient/pat_1", "read", "R"),
        ("/v1/patients/pat_1", "read", "R"),
        ("/v1/fhir/Patient/pat_1/_history/1", "vread", "R"),
        ("/v1/fhir/Patient/pat_1/_history", "history-instance", "R"),
        ("/v1/fhir/Patient/_history", "history-type", "R"),
        ("/v1/fhir/_history", "history-system", "R"),
        ("/v1/fhir/Patient?name=shaw", "search-type", "E"),
        ("/v1/fhir/Patient/pat_1/Observation", "search-type", "E"),
        ("/v1/fhir/Subscription/$status", "operation", "E"),
    ],
)
def test_each_read_is_one_audit_event(
    alice_client: APIClient, auditor: APIClient, path: str, subtype: str, action: str
) -> None:
    store_patient(alice_client)
    assert alice_client.get(path).status_code == 200
    [event, _] = events(auditor)
    assert validate(event) == []
    assert (event["subtype"][0]["code"], event["action"], event["outcome"]) == (
        subtype,
        action,
        "0",
    )
    assert event["agent"][0]["who"]["display"] == "test"


def test_writes_are_in_the_same_trail(alice_client: APIClient, auditor: APIClient) -> None:
    store_patient(alice_client)
    alice_client.delete("/v1/fhir/Patient/pat_1")
    delete, create = events(auditor)
    assert (delete["action"], create["action"]) == ("D", "U")
    assert create["entity"][0]["what"]["reference"] == "Patient/pat_1/_history/1"
    assert create["entity"][1]["what"]["reference"] == "Patient/pat_1"
    assert validate(create) == []
    one = auditor.get(f"/v1/fhir/AuditEvent/{create['id']}")
    assert one.json() == create


def test_a_search_keeps_its_query_also_of_a_form(
    alice_client: APIClient, auditor: APIClient
) -> None:
    alice_client.post(
        "/v1/fhir/Patient/_search",
        "family=Shaw",
        content_type="application/x-www-form-urlencoded",
    )
    [event] = events(auditor)
    assert base64.b64decode(event["entity"][0]["query"]) == b"Patient?family=Shaw"


def test_reads_in_a_batch_are_recorded_one_by_one(
    alice_client: APIClient, auditor: APIClient
) -> None:
    store_patient(alice_client)
    entries = [
        {"request": {"method": "GET", "url": "Patient/pat_1"}},
        {"request": {"method": "GET", "url": "Patient?name=shaw"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    assert alice_client.post("/v1/fhir", bundle, format="json").status_code == 200
    assert sorted(e["subtype"][0]["code"] for e in events(auditor, "action=R,E")) == [
        "read",
        "search-type",
    ]


def test_what_was_denied_or_not_found_is_recorded_as_such(
    alice_client: APIClient, client_for: Callable[..., APIClient], auditor: APIClient
) -> None:
    store_patient(alice_client)
    narrow = client_for(scopes=("Observation:read",))
    assert narrow.get("/v1/fhir/Patient/pat_1").status_code == 403
    assert narrow.post("/v1/fhir/Patient", PATIENT, format="json").status_code == 403
    assert alice_client.get("/v1/fhir/Patient/nobody").status_code == 404
    assert [event["outcome"] for event in events(auditor, "outcome=8")] == ["8", "8"]
    [missing] = events(auditor, "outcome=4")
    assert missing["entity"][0]["what"]["reference"] == "Patient/nobody"


def test_the_trail_is_searched_by_patient_agent_date_and_entity(
    alice_client: APIClient, auditor: APIClient
) -> None:
    store_patient(alice_client)
    observation = {
        "resourceType": "Observation",
        "id": "obs_1",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/pat_1"},
    }
    alice_client.put("/v1/fhir/Observation/obs_1", observation, format="json")
    alice_client.get("/v1/fhir/Observation/obs_1")
    alice_client.get("/v1/fhir/Observation?patient=pat_1")
    alice_client.get("/v1/fhir/Practitioner")
    assert len(events(auditor, "patient=Patient/pat_1")) == 4
    assert len(events(auditor, "patient=pat_1&action=R")) == 1
    assert len(events(auditor, "entity=Observation/obs_1")) == 2
    assert len(events(auditor, "date=ge2020-01-01")) >= 5
    assert events(auditor, "date=lt2020-01-01") == []
    agent = events(auditor)[-1]["agent"][0]["who"]["identifier"]["value"]
    assert len(events(auditor, f"agent={agent}")) == 5
    assert auditor.get("/v1/fhir/AuditEvent?nothing=1").status_code == 400
    assert auditor.get("/v1/fhir/AuditEvent?date=soon").status_code == 400


def test_the_trail_has_pages(alice_client: APIClient, auditor: APIClient) -> None:
    store_patient(alice_client)
    for _ in range(4):
        alice_client.get("/v1/fhir/Patient/pat_1")
    page = auditor.get("/v1/fhir/AuditEvent?_count=3&action=R&subtype=read").json()
    seen = [entry["resource"]["id"] for entry in page["entry"]]
    following = [link["url"] for link in page["link"] if link["relation"] == "next"]
    rest = auditor.get(following[0]).json()
    seen += [entry["resource"]["id"] for entry in rest["entry"]]
    assert len(seen) == len(set(seen)) == 4


def test_only_auditors_read_the_trail_and_nobody_changes_it(
    alice_client: APIClient, auditor: APIClient, riverside_scope: Scope
) -> None:
    store_patient(alice_client)
    assert alice_client.get("/v1/fhir/AuditEvent").json().get("entry", []) == []
    [event, *_] = events(auditor)
    assert alice_client.get(f"/v1/fhir/AuditEvent/{event['id']}").status_code == 403
    with tenant_scope(riverside_scope):
        [(granted,)] = fetch(
            "SELECT has_table_privilege(current_user, 'fhir_access', 'UPDATE')"
            " OR has_table_privilege(current_user, 'fhir_access', 'DELETE')"
        )
    assert granted is False


def test_charlie_sees_his_own_trail_only(
    alice_client: APIClient, charlie_client: APIClient, client_for: Callable[..., APIClient]
) -> None:
    store_patient(alice_client)
    assert charlie_client.get("/v1/fhir/Patient/pat_1").status_code == 404
    auditor = client_for("lakeside", scopes=("fhir:read", "audit:read"))
    assert [event["outcome"] for event in events(auditor)] == ["4"]


DICOM = "http://dicom.nema.org/resources/ontology/DCM"
BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
# Of each pattern: subtypes, action, the codes of the client's and the server's role, and how many
# entities it has of what is written, read or asked (type 2).
PATTERNS = {
    "Create": ({"create"}, "C", "110153", "110152"),
    "Update": ({"update", "patch"}, "U", "110153", "110152"),
    "Delete": ({"delete"}, "D", "110153", "110152"),
    "Read": ({"read", "vread"}, "R", "110152", "110153"),
    "Query": ({"search", "search-type", "search-system"}, "E", "110153", "110152"),
}


def check_balp(event: dict) -> str:
    """Hold an event against the rules of the pattern that it claims, and return its name."""
    assert validate(event) == []
    [claimed] = event["meta"]["profile"]
    name = claimed.removeprefix(BALP)
    of_patient = name.startswith("Patient")
    subtypes, action, client, server = PATTERNS[name.removeprefix("Patient")]
    assert (event["type"]["code"], event["action"], event["outcome"]) == ("rest", action, "0")
    assert {coding["code"] for coding in event["subtype"]} <= subtypes
    roles = [(a["type"]["coding"][0]["system"], a["type"]["coding"][0]["code"], a)
             for a in event["agent"]]  # fmt: skip
    for code in (client, server):
        [agent] = [a for system, found, a in roles if (system, found) == (DICOM, code)]
        assert agent["who"]
        assert agent["network"]
    for agent in [a for _, code, a in roles if code == "IRCP"]:
        assert agent["who"]
        assert agent["requestor"] is True
        assert "network" not in agent
    kinds = [entity["type"]["code"] for entity in event["entity"]]
    assert kinds.count("2") == 1
    assert kinds.count("1") == of_patient
    [thing] = [entity for entity in event["entity"] if entity["type"]["code"] == "2"]
    if name.endswith("Query"):
        assert thing["role"]["code"] == "24"
        assert "what" not in thing
        assert base64.b64decode(thing["query"], validate=True)
    else:
        assert thing["role"]["code"] == "4"
        assert thing["what"]["reference"]
    for entity in event["entity"]:
        if entity["type"]["code"] == "XrequestId":
            assert entity["what"]["identifier"]["value"]
        elif entity["type"]["code"] == "1":
            assert entity["what"]["reference"].startswith("Patient/")
    return name


def test_events_follow_the_basic_audit_log_patterns(
    auditor: APIClient, client_for: Callable[..., APIClient]
) -> None:
    client = client_for()
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    made = client.post("/v1/fhir/Observation", observation, format="json").json()
    path = f"/v1/fhir/Observation/{made['id']}"
    client.put(path, {**made, "status": "amended"}, format="json")
    client.put("/v1/fhir/Patient/p", {"resourceType": "Patient", "id": "p"}, format="json")
    for address in (path, f"{path}/_history/1", f"{path}?_summary=true", "/v1/fhir/Patient/p"):
        assert client.get(address).status_code == 200
    client.get("/v1/fhir/Observation?code=x")
    client.get("/v1/fhir/Patient/p/Observation")
    client.delete(path)
    found = [check_balp(event) for event in events(auditor) if "profile" in event["meta"]]
    assert set(found) == {
        *("Create", "Update", "Delete", "Read", "Query", "PatientRead"),
        *({"PatientCreate", "PatientUpdate"} & set(found)),
    }


def test_what_failed_claims_no_pattern(
    auditor: APIClient, client_for: Callable[..., APIClient]
) -> None:
    client_for().get("/v1/fhir/Patient/nobody")
    [missing] = [event for event in events(auditor) if event["outcome"] == "4"]
    assert "profile" not in missing["meta"]
