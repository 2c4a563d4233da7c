"""`$versions`, NamingSystem/$preferred-id and List/$find."""

import pytest
from rest_framework.test import APIClient

from tests.fhir.conftest import ClientFor
from tests.fhir.operations.conftest import get, post, put

pytestmark = pytest.mark.django_db
SSN = "http://hl7.org/fhir/sid/us-ssn"
OID = "2.16.840.1.113883.4.1"


def test_the_versions_of_fhir(alice_client: APIClient) -> None:
    said = get(alice_client, "$versions")
    assert said["parameter"] == [
        {"name": "version", "valueCode": "4.0"},
        {"name": "default", "valueCode": "4.0"},
    ]
    plain = alice_client.get("/v1/fhir/$versions", HTTP_ACCEPT="application/json")
    assert plain["Content-Type"].startswith("application/json")
    assert plain.json() == {"versions": ["4.0"], "default": "4.0"}


def test_another_name_of_the_same_system(alice_client: APIClient) -> None:
    names = [("uri", SSN), ("oid", OID), ("other", "a"), ("other", "b")]
    system = {
        "resourceType": "NamingSystem",
        "id": "ssn",
        "name": "SSN",
        "status": "active",
        "kind": "identifier",
        "date": "2020-01-01",
        "uniqueId": [{"type": kind, "value": value} for kind, value in names],
    }
    put(alice_client, system)
    asked = f"NamingSystem/$preferred-id?id={SSN}&type="
    assert get(alice_client, asked + "oid")["parameter"][0]["valueString"] == OID
    assert get(alice_client, asked + "uuid", 404)["resourceType"] == "OperationOutcome"
    assert get(alice_client, asked + "other", 400)["resourceType"] == "OperationOutcome"
    assert get(alice_client, asked + "code", 400)["resourceType"] == "OperationOutcome"
    system["uniqueId"][3]["preferred"] = True
    put(alice_client, system)
    assert get(alice_client, asked + "other")["parameter"][0]["valueString"] == "b"
    assert get(alice_client, "NamingSystem/$preferred-id?id=urn:no&type=oid", 404)


def test_a_list_of_what_is_current(
    ann: APIClient, charlie_client: APIClient, client_for: ClientFor
) -> None:
    for rid, status in (("now", "active"), ("past", "resolved")):
        coding = {
            "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
            "code": status,
        }
        put(
            ann,
            {
                "resourceType": "Condition",
                "id": rid,
                "subject": {"reference": "Patient/ann"},
                "clinicalStatus": {"coding": [coding]},
                **({"abatementDateTime": "2020"} if status == "resolved" else {}),
            },
        )
    address = "List/$find?patient=ann&name=current-problems"
    found = get(ann, address)
    references = [entry["item"]["reference"] for entry in found["entry"]]
    assert (found["resourceType"], found["mode"]) == ("List", "snapshot")
    assert "Condition/now" in references
    assert "Condition/past" not in references
    assert "is one of" in get(ann, address + "x", 400)["issue"][0]["diagnostics"]
    assert get(ann, "List/$find?patient=nobody&name=current-problems", 404)
    assert get(charlie_client, address, 404)
    assert get(client_for(scopes=("List:read", "Patient:read")), address, 403)


def test_operations_of_others_are_not_implemented(alice_client: APIClient) -> None:
    for name in (
        "Claim/$submit",
        "Measure/$care-gaps",
        "Patient/$member-match",
        "$process-message",
    ):
        answer = post(alice_client, name, {"resourceType": "Parameters"})
        assert answer.status_code == 501, name
