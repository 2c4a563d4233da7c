"""patch over HTTP, in all forms and on conditions. https://hl7.org/fhir/R4/http.html#patch"""

import base64
import json
from collections.abc import Callable

import pytest
from django.http import HttpResponse
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db
FHIR, XML = "application/fhir+json", "application/fhir+xml"
JSON_PATCH, MERGE = "application/json-patch+json", "application/merge-patch+json"
PATIENT = {
    "resourceType": "Patient",
    "id": "pat_123",
    "identifier": [{"system": "urn:mrn", "value": "7"}],
    "active": True,
    "name": [{"family": "Abt", "given": ["Ann", "Bea"]}],
    "extension": [{"url": "urn:weight", "valueDecimal": 0.5}],
}


@pytest.fixture
def patient(alice_client: APIClient) -> APIClient:
    text = json.dumps(PATIENT).replace("0.5", "0.50")
    created = alice_client.put("/v1/fhir/Patient/pat_123", text, content_type=FHIR)
    assert created.status_code == 201
    return alice_client


def send(
    client: APIClient, body: object, kind: str, path: str = "Patient/pat_123", **headers: str
) -> HttpResponse:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.patch(f"/v1/fhir/{path}", text, content_type=kind, headers=headers)


def operation(kind: str, path: str, **parts: object) -> dict[str, object]:
    found: list[dict[str, object]] = [
        {"name": "type", "valueCode": kind},
        {"name": "path", "valueString": path},
    ]
    for name, value in parts.items():
        found.append({"name": name, **(value if isinstance(value, dict) else {"part": value})})
    return {"name": "operation", "part": found}


def parameters(*operations: dict[str, object]) -> dict[str, object]:
    return {"resourceType": "Parameters", "parameter": list(operations)}


def test_a_fhirpath_patch_changes_what_its_paths_find(patient: APIClient) -> None:
    answer = send(
        patient,
        parameters(
            operation("replace", "Patient.active", value={"valueBoolean": False}),
            operation("add", "Patient", name={"valueString": "gender"},
                      value={"valueCode": "female"}),
            operation("delete", "Patient.name.where(family = 'Abt').given[0]"),
            operation("insert", "Patient.name[0].given", index={"valueInteger": 0},
                      value={"valueString": "Zoe"}),
            operation("move", "Patient.name[0].given", source={"valueInteger": 0},
                      destination={"valueInteger": 1}),
            operation("add", "Patient", name={"valueString": "deceased"},
                      value={"valueDateTime": "2020-02-02"}),
            operation("add", "Patient", name={"valueString": "contact"},
                      value=[{"name": "name", "valueHumanName": {"text": "Carl"}}]),
        ),
        FHIR,
    )  # fmt: skip
    assert answer.status_code == 200, answer.content
    found = answer.json()
    assert (found["active"], found["gender"], found["deceasedDateTime"]) == (
        False, "female", "2020-02-02")  # fmt: skip
    assert found["name"] == [{"family": "Abt", "given": ["Bea", "Zoe"]}]
    assert found["contact"] == [{"name": {"text": "Carl"}}]
    assert b'"valueDecimal":0.50' in answer.content
    assert answer["ETag"] == 'W/"2"'


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Patient.name.first().family", {"family": None}),
        ("Patient.extension('urn:weight')", {"extension": None}),
        ("Patient.extension.where(value > 0.4 and url.startsWith('urn')).value", {}),
        ("name.given[1]", {"given": ["Ann"]}),
        ("Patient.name[0].given.last()", {"given": ["Ann"]}),
        ("Patient.name.given.where($this = 'Ann' or $this ~ 'ANN')", {"given": ["Bea"]}),
        ("%resource.active.where($this)", {"active": None}),
        ("Patient.extension.value.ofType(decimal)", {"extension": [{"url": "urn:weight"}]}),
        ("Patient.photo", {}),
        ("Patient.name.where(use.exists().not()).family", {"family": None}),
    ],
)
def test_paths(patient: APIClient, path: str, expected: dict[str, object]) -> None:
    answer = send(patient, parameters(operation("delete", path)), FHIR)
    if path.endswith(("value", "ofType(decimal)")):  # nothing but the url is left: invalid
        assert answer.status_code == 422
        assert patient.get("/v1/fhir/Patient/pat_123")["ETag"] == 'W/"1"'
        return
    assert answer.status_code == 200, answer.content
    found = answer.json()
    for name, value in expected.items():
        where = found["name"][0] if name in {"family", "given"} else found
        assert where.get(name) == value


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        (operation("replace", "Patient.photo", value={"valueString": "x"}), 422, "no element"),
        (operation("delete", "Patient.name.given"), 422, "2 elements"),
        (operation("delete", "Patient"), 422, "delete it"),
        (operation("replace", "Patient", value={"valueString": "x"}), 422, "update it"),
        (operation("add", "Patient", name={"valueString": "active"},
                   value={"valueBoolean": True}), 422, "already"),
        (operation("add", "Patient", name={"valueString": "colour"},
                   value={"valueString": "red"}), 422, "colour"),
        (operation("add", "Patient.photo", name={"valueString": "title"},
                   value={"valueString": "x"}), 422, "no element"),
        (operation("insert", "Patient.name", index={"valueInteger": 2},
                   value={"valueHumanName": {"text": "x"}}), 422, "too high"),
        (operation("insert", "Patient.active", index={"valueInteger": 0},
                   value={"valueBoolean": True}), 422, "no list"),
        (operation("move", "Patient.name", source={"valueInteger": 1},
                   destination={"valueInteger": 0}), 422, "moved"),
        (operation("replace", "Patient.gender.x(", value={"valueCode": "x"}), 400, "character"),
        (operation("replace", "Patient.matches('(a+)+b')", value={"valueCode": "x"}), 400,
         "matches"),
        (operation("delete", "Patient." + "(" * 99), 400, "character"),
        (operation("delete", "Patient.name" + ".where(true)" * 100), 200, ""),
        (operation("delete", "a" * 3000), 400, "characters"),
        (operation("delete", "1 + 1"), 400, "character"),
        (operation("delete", "'text'"), 422, "value"),
        (operation("delete", "Patient.name['a']"), 422, "whole number"),
        (operation("delete", "Patient.active < 'a'"), 422, "text nor"),
        (operation("replace", "Patient.id", value={"valueId": "other"}), 400, "pat_123"),
        (operation("replace", "Patient.gender"), 400, "value"),
        (operation("explode", "Patient.gender"), 400, "type"),
        (operation("insert", "Patient.name", index={"valueInteger": -1},
                   value={"valueString": "x"}), 400, "index"),
        (operation("add", "Patient", name={"valueString": "gender"},
                   value={"valueCode": "nonsense"}), 422, "gender"),
        ({"name": "other", "part": []}, 400, "operation"),
        ({"name": "operation", "part": "x"}, 400, "part"),
        ("x", 400, "object"),
    ],
)  # fmt: skip
def test_a_fhirpath_patch_that_does_not_fit_changes_nothing(
    patient: APIClient, change: dict[str, object], status: int, word: str
) -> None:
    answer = send(patient, parameters(change), FHIR)
    assert answer.status_code == status, answer.content
    assert word in str(answer.json())
    expected = 'W/"2"' if status == 200 else 'W/"1"'
    assert patient.get("/v1/fhir/Patient/pat_123")["ETag"] == expected


def test_a_fhirpath_patch_in_xml(patient: APIClient) -> None:
    body = (
        '<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/>'
        '<part><name value="type"/><valueCode value="replace"/></part>'
        '<part><name value="path"/><valueString value="Patient.active"/></part>'
        '<part><name value="value"/><valueBoolean value="false"/></part></parameter></Parameters>'
    )
    assert send(patient, body, XML).json()["active"] is False


def test_extensions_of_primitives_are_added_and_removed(patient: APIClient) -> None:
    extension = {"url": "urn:why", "valueString": "so"}
    added = send(
        patient,
        parameters(
            operation("add", "Patient.active", name={"valueString": "extension"},
                      value={"valueExtension": extension})
        ),
        FHIR,
    ).json()  # fmt: skip
    assert (added["active"], added["_active"]) == (True, {"extension": [extension]})
    removed = send(
        patient, parameters(operation("delete", "Patient.active.extension('urn:why')")), FHIR
    ).json()
    assert removed["active"] is True
    assert "_active" not in removed


def test_a_merge_patch(patient: APIClient) -> None:
    answer = send(patient, {"active": None, "gender": "female", "name": [{"text": "X"}]}, MERGE)
    assert answer.status_code == 200
    found = answer.json()
    assert "active" not in found
    assert (found["gender"], found["name"]) == ("female", [{"text": "X"}])
    assert b'"valueDecimal":0.50' in answer.content


@pytest.mark.parametrize(
    "body",
    [
        {"active": False},
        [{"op": "replace", "path": "/active", "value": False}],
        parameters(operation("replace", "Patient.active", value={"valueBoolean": False})),
    ],
)
def test_a_patch_that_is_only_called_json_is_what_it_looks_like(
    patient: APIClient, body: object
) -> None:
    assert send(patient, body, "application/json").json()["active"] is False


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ([], MERGE, 400),
        ({"id": "other"}, MERGE, 400),
        ({"resourceType": "Group"}, MERGE, 400),
        ({"gender": "nonsense"}, MERGE, 422),
        ("{", MERGE, 400),
        ('{"a":1},"b":{"c":1', MERGE, 400),
        ({}, JSON_PATCH, 400),
        ([{"op": "test", "path": "/active", "value": 1}], JSON_PATCH, 422),
        ([{"op": "replace", "path": "/id", "value": "x"}], JSON_PATCH, 400),
        ([{"op": "replace", "path": "/resourceType", "value": "Group"}], JSON_PATCH, 400),
        ([{"op": "replace", "path": "", "value": []}], JSON_PATCH, 422),
        ({"resourceType": "Patient"}, FHIR, 400),
        ("<Patient/>", XML, 400),
        ("x", "text/plain", 415),
        ("", JSON_PATCH, 400),
    ],
)
def test_what_is_no_patch_or_makes_no_patient_is_refused(
    patient: APIClient, body: object, kind: str, status: int
) -> None:
    answer = send(patient, body, kind)
    assert answer.status_code == status, answer.content
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert patient.get("/v1/fhir/Patient/pat_123")["ETag"] == 'W/"1"'


def test_if_match_holds_for_patches(patient: APIClient) -> None:
    stale = send(patient, {"active": False}, MERGE, **{"If-Match": 'W/"9"'})
    assert stale.status_code == 412
    assert send(patient, {"active": False}, MERGE, **{"If-Match": 'W/"1"'}).status_code == 200


def test_a_conditional_patch_needs_exactly_one_match(patient: APIClient) -> None:
    path = "Patient?identifier=urn:mrn|7"
    assert send(patient, {"active": False}, MERGE, path).json()["active"] is False
    none = send(patient, {"active": True}, MERGE, "Patient?identifier=urn:mrn|8")
    assert none.status_code == 404
    assert none.json()["issue"][0]["code"] == "not-found"
    stale = send(patient, {"active": True}, MERGE, path, **{"If-Match": 'W/"1"'})
    assert stale.status_code == 412
    second = {k: v for k, v in PATIENT.items() if k != "id"}
    patient.post("/v1/fhir/Patient", json.dumps(second), content_type=FHIR)
    several = send(patient, {"active": True}, MERGE, path)
    assert several.status_code == 412
    assert several.json()["issue"][0]["code"] == "multiple-matches"
    assert send(patient, {"active": True}, MERGE, "Patient").status_code == 400
    assert patient.get("/v1/fhir/Patient/pat_123")["ETag"] == 'W/"2"'


def test_what_is_missing_or_deleted_can_not_be_patched(patient: APIClient) -> None:
    assert send(patient, {"active": True}, MERGE, "Patient/none").status_code == 404
    patient.delete("/v1/fhir/Patient/pat_123")
    assert send(patient, {"active": True}, MERGE).status_code == 410


def test_a_patch_makes_no_other_type_of_it(patient: APIClient) -> None:
    for other in ("Observation", "Dummy"):
        refused = send(patient, {"resourceType": other}, MERGE)
        assert (refused.status_code, refused.json()["issue"][0]["code"]) == (400, "invalid")
    assert patient.get("/v1/fhir/Patient/pat_123")["ETag"] == 'W/"1"'


def test_charlie_can_not_patch_and_nothing_moves(
    patient: APIClient, charlie_client: APIClient, client_for: Callable[..., APIClient]
) -> None:
    for path in ("Patient/pat_123", "Patient?identifier=urn:mrn|7"):
        assert send(charlie_client, {"active": False}, MERGE, path).status_code == 404
        writer = client_for(scopes=("Patient:write",))
        assert send(writer, {"active": False}, MERGE, path).status_code == 403
    assert patient.get("/v1/fhir/Patient/pat_123")["ETag"] == 'W/"1"'


def test_an_xml_patch_is_applied_by_itself_and_in_a_bundle(alice_client: APIClient) -> None:
    body = json.dumps({"resourceType": "Patient", "id": "x", "active": True})
    alice_client.put("/v1/fhir/Patient/x", body, content_type="application/fhir+json")
    patch = '<diff><replace sel="Patient/active/@value">false</replace></diff>'
    kind = "application/xml-patch+xml"
    answer = alice_client.patch("/v1/fhir/Patient/x", patch, content_type=kind)
    assert (answer.status_code, answer.json()["active"]) == (200, False)
    data = base64.b64encode(b'<diff><remove sel="Patient/active"/></diff>').decode()
    binary = {"resourceType": "Binary", "contentType": kind, "data": data}
    entry = {"request": {"method": "PATCH", "url": "Patient/x"}, "resource": binary}
    bundle = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    done = alice_client.post("/v1/fhir", bundle, content_type="application/fhir+json")
    assert "active" not in done.json()["entry"][0]["resource"]
    broken = '<diff><add sel="Patient"><gender value="nonsense"/></add></diff>'
    refused = alice_client.patch("/v1/fhir/Patient/x", broken, content_type=kind)
    assert (refused.status_code, alice_client.get("/v1/fhir/Patient/x")["ETag"]) == (422, 'W/"3"')
