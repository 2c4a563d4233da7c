"""$validate over HTTP: modes, ways to send, profiles of R4 and of the project."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

FHIR = "application/fhir+json"
BASE = "http://hl7.org/fhir/StructureDefinition/"
BP = BASE + "bp"
US = "http://example.org/fhir/StructureDefinition/"
LOINC = "http://loinc.org"

pytestmark = pytest.mark.django_db


def quantity(value: float) -> dict[str, Any]:
    return {
        "value": value,
        "unit": "mmHg",
        "system": "http://unitsofmeasure.org",
        "code": "mm[Hg]",
    }


def pressure(**changes: Any) -> dict[str, Any]:
    category = {
        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
        "code": "vital-signs",
    }
    return {
        "resourceType": "Observation",
        "meta": {"profile": [BP]},
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">120 over 80</div>',
        },
        "status": "final",
        "category": [{"coding": [category]}],
        "code": {"coding": [{"system": LOINC, "code": "85354-9"}]},
        "subject": {"reference": "Patient/1"},
        "effectiveDateTime": "2026-11-22",
        "component": [
            {
                "code": {"coding": [{"system": LOINC, "code": code}]},
                "valueQuantity": quantity(value),
            }
            for code, value in (("8480-6", 120), ("8462-4", 80))
        ],
        **changes,
    }


def patient(**changes: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "text": pressure()["text"], **changes}


def profile(name: str, of: str, *elements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "StructureDefinition",
        "url": US + name,
        "name": name.title().replace("-", ""),
        "status": "active",
        "kind": "resource",
        "abstract": False,
        "type": of,
        "baseDefinition": BASE + of,
        "derivation": "constraint",
        "differential": {"element": [{"id": e["path"], **e} for e in elements]},
        **more,
    }


RACE = profile(
    "race",
    "Extension",
    {"path": "Extension.url", "fixedUri": US + "race"},
    {"path": "Extension.value[x]", "min": 1, "type": [{"code": "string"}]},
    kind="complex-type",
    context=[{"type": "element", "expression": "Patient"}],
)
SLICES = {"discriminator": [{"type": "value", "path": "url"}], "rules": "open"}
PATIENT = profile(
    "us-patient",
    "Patient",
    {"path": "Patient.extension", "slicing": SLICES, "min": 1},
    {
        "id": "Patient.extension:race",
        "path": "Patient.extension",
        "sliceName": "race",
        "min": 1,
        "max": "1",
        "type": [{"code": "Extension", "profile": [US + "race"]}],
    },
    {"path": "Patient.identifier", "min": 1, "mustSupport": True},
    {"path": "Patient.identifier.system", "min": 1},
    {"path": "Patient.deceased[x]", "type": [{"code": "boolean"}]},
    {"path": "Patient.photo", "max": "0"},
    {"path": "Patient.maritalStatus", "patternCodeableConcept": {"text": "single"}},
)
GOOD = {
    "meta": {"profile": [US + "us-patient"]},
    "extension": [{"url": US + "race", "valueString": "x"}],
    "identifier": [{"system": "urn:mrn", "value": "1"}],
}


def issues(client: APIClient, body: dict[str, Any], path: str = "$validate") -> list[Any]:
    answer = client.post(f"/v1/fhir/{path}", json.dumps(body), content_type=FHIR)
    assert answer.status_code == 200, answer.content
    found: list[Any] = json.loads(answer.content)["issue"]
    return found


def errors(client: APIClient, body: dict[str, Any], path: str = "$validate") -> list[str]:
    found = issues(client, body, path)
    return [issue["expression"][0] for issue in found if issue["severity"] == "error"]


@pytest.fixture
def us_client(alice_client: APIClient) -> APIClient:
    for resource in (RACE, PATIENT):
        answer = alice_client.post(
            "/v1/fhir/StructureDefinition", json.dumps(resource), content_type=FHIR
        )
        assert answer.status_code == 201, answer.content
    return alice_client


def test_a_blood_pressure_fits_the_profile_of_r4(alice_client: APIClient) -> None:
    assert errors(alice_client, pressure()) == []


def test_a_missing_slice_is_named(alice_client: APIClient) -> None:
    one = pressure()["component"][0]
    found = issues(alice_client, pressure(component=[one, {**one, "code": {"text": "x"}}]))
    wrong = [issue for issue in found if issue["severity"] == "error"]
    assert [issue["expression"] for issue in wrong] == [["Observation.component"]]
    assert "slice DiastolicBP required, found 0" in wrong[0]["diagnostics"]


def test_a_slice_is_held_to_its_fixed_values(alice_client: APIClient) -> None:
    wrong = pressure()
    wrong["component"][0]["valueQuantity"]["code"] = "kPa"
    assert errors(alice_client, wrong) == [
        "Observation.component[0].value",
        "Observation.component[0].value.code",
    ]


def test_invariants_of_profiles_are_evaluated(alice_client: APIClient) -> None:
    assert not [i for i in issues(alice_client, pressure()) if i["code"] == "not-supported"]
    wrong = pressure()
    del wrong["component"][0]["valueQuantity"]
    found = [i for i in issues(alice_client, wrong) if i["code"] == "invariant"]
    assert [issue["expression"] for issue in found] == [["Observation.component[0]"]]
    assert "(vs-3)" in found[0]["diagnostics"]
    short = {k: v for k, v in pressure().items() if k != "component"}
    assert "Observation" in errors(alice_client, short)
    assert "Observation.effective" in errors(alice_client, pressure(effectiveDateTime="2026"))
    period = {k: v for k, v in pressure().items() if k != "effectiveDateTime"}
    assert errors(alice_client, {**period, "effectivePeriod": {"start": "2026"}}) == []


@pytest.mark.parametrize(
    ("expression", "severity", "code", "word"),
    [
        ("name.exists()", "error", "invariant", "A human says why (own-1)"),
        ("name.exists() or active", "", "", ""),
        ("inv.exists()", "information", "not-supported", "no element `inv`"),
        ("name.slice('x').exists()", "information", "not-supported", "no function slice()"),
        ("active.matches('a')", "information", "not-supported", "needs a String"),
        ("'a'.matches('(?=a)')", "information", "not-supported", "look-around"),
        ("1 +", "information", "not-supported", "Not FHIRPath at character 4"),
        ("(1).repeat($this + 1).exists()", "information", "too-costly", "too much work"),
        ("gender.memberOf('http://hl7.org/fhir/ValueSet/administrative-gender')", "", "", ""),
        ("gender.memberOf('http://x/none')", "information", "not-supported", "not known here"),
        ("conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')", "", "", ""),
        ("managingOrganization.resolve() is Organization", "", "", ""),
        ("managingOrganization.resolve() is Practitioner", "error", "invariant", "(own-1)"),
        ("contact.all(name.exists()) and gender in ('male' | 'other')", "", "", ""),
        ("%resource.id = '1' and %rootResource.active", "", "", ""),
        ("birthDate < today() and birthDate + 10 years > @1960", "", "", ""),
    ],
)
def test_an_invariant_is_evaluated_or_told(
    alice_client: APIClient, expression: str, severity: str, code: str, word: str
) -> None:
    constraint = {"key": "own-1", "severity": "error", "human": "A human says why."}
    made = profile(
        "own",
        "Patient",
        {"path": "Patient", "constraint": [{**constraint, "expression": expression}]},
    )
    answer = alice_client.post("/v1/fhir/StructureDefinition", json.dumps(made), content_type=FHIR)
    assert answer.status_code == 201, answer.content
    sent = patient(
        id="1",
        active=True,
        gender="male",
        birthDate="1980-01-01",
        managingOrganization={"reference": "Organization/1"},
    )
    found = issues(alice_client, sent, f"$validate?profile={US}own")
    if not severity:
        assert [issue["severity"] for issue in found] == ["information"]
        assert found[0]["code"] == "informational"
        return
    assert [(issue["severity"], issue["code"]) for issue in found] == [(severity, code)]
    assert word in found[0]["diagnostics"]


def test_what_a_parent_profile_demands_is_missed_too(alice_client: APIClient) -> None:
    wrong = {k: v for k, v in pressure().items() if k not in {"subject", "category"}}
    assert set(errors(alice_client, wrong)) == {"Observation.subject", "Observation.category"}


def test_a_required_extension_slice_of_the_project(us_client: APIClient) -> None:
    assert errors(us_client, patient(**GOOD)) == []
    other = {**GOOD, "extension": [{"url": "urn:other", "valueString": "x"}]}
    assert errors(us_client, patient(**other)) == ["Patient.extension"]
    assert errors(us_client, patient(identifier=GOOD["identifier"])) == []
    wrong = {**GOOD, "extension": [{"url": US + "race", "valueCode": "x"}]}
    assert errors(us_client, patient(**wrong)) == ["Patient.extension[0].value"]


@pytest.mark.parametrize(
    ("changes", "places"),
    [
        ({"identifier": [{"value": "1"}]}, ["Patient.identifier[0].system"]),
        ({"deceasedDateTime": "2020"}, ["Patient.deceased"]),
        ({"photo": [{"url": "http://x"}]}, ["Patient.photo"]),
        ({"maritalStatus": {"text": "married"}}, ["Patient.maritalStatus"]),
    ],
)
def test_cardinality_types_and_patterns(
    us_client: APIClient, changes: dict[str, Any], places: list[str]
) -> None:
    assert errors(us_client, patient(**{**GOOD, **changes})) == places


def test_a_profile_can_be_named_in_the_query_or_in_parameters(us_client: APIClient) -> None:
    bare = patient(identifier=GOOD["identifier"])
    assert errors(us_client, bare) == []
    named = f"Patient/$validate?profile={US}us-patient"
    assert set(errors(us_client, bare, named)) == {"Patient.extension"}
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "resource", "resource": bare},
            {"name": "mode", "valueCode": "profile"},
            {"name": "profile", "valueUri": US + "us-patient"},
        ],
    }
    assert set(errors(us_client, body)) == {"Patient.extension"}


def test_profiles_of_another_organization_are_unknown(
    us_client: APIClient, charlie_client: APIClient
) -> None:
    found = issues(charlie_client, patient(**GOOD))
    assert [(i["severity"], i["code"], i["expression"][0]) for i in found] == [
        ("warning", "not-found", "Patient.meta.profile[0]"),
        ("information", "not-found", "Patient.extension[0]"),
    ]


def test_a_profile_that_is_asked_for_and_unknown_is_an_error(alice_client: APIClient) -> None:
    [issue] = issues(alice_client, patient(), "$validate?profile=http://x/nowhere")
    assert (issue["severity"], issue["code"]) == ("error", "not-found")
    assert "store its StructureDefinition" in issue["diagnostics"]


def test_a_profile_of_another_type_is_an_error(alice_client: APIClient) -> None:
    [issue] = issues(alice_client, patient(), f"$validate?profile={BP}")
    assert "is for Observation, not for Patient" in issue["diagnostics"]


def test_modes(alice_client: APIClient) -> None:
    assert errors(alice_client, patient(), "Patient/$validate?mode=create") == []
    assert errors(alice_client, patient(), "Patient/$validate?mode=update") == ["Patient.id"]
    assert errors(alice_client, patient(id="2"), "Patient/1/$validate?mode=update") == [
        "Patient.id"
    ]
    for query in ("mode=other", "mode=profile", "mode=delete"):
        answer = alice_client.post(
            f"/v1/fhir/Patient/$validate?{query}", json.dumps(patient()), content_type=FHIR
        )
        assert answer.status_code == 400


def test_an_instance_is_validated_as_it_is_stored(alice_client: APIClient) -> None:
    alice_client.put("/v1/fhir/Patient/p1", json.dumps(patient(id="p1")), content_type=FHIR)
    answer = alice_client.get("/v1/fhir/Patient/p1/$validate")
    assert (answer.status_code, json.loads(answer.content)["issue"][0]["severity"]) == (
        200,
        "information",
    )
    answer = alice_client.get(f"/v1/fhir/Patient/p1/$validate?profile={BP}")
    assert json.loads(answer.content)["issue"][0]["severity"] == "error"
    assert alice_client.get("/v1/fhir/Patient/none/$validate").status_code == 404


def test_parameters_are_validated_themselves_where_the_address_says_so(
    alice_client: APIClient,
) -> None:
    body = {"resourceType": "Parameters", "parameter": [{"name": "a", "valueFoo": 1}]}
    assert errors(alice_client, body, "Parameters/$validate") == [
        "Parameters.parameter[0].valueFoo"
    ]
    assert errors(alice_client, body, "Parameters/$validate?mode=create") == [
        "Parameters.parameter[0].valueFoo"
    ]
    for path in ("$validate", "Patient/$validate"):
        answer = alice_client.post(f"/v1/fhir/{path}", json.dumps(body), content_type=FHIR)
        assert answer.status_code == 400
        assert "no parameter `a`" in answer.content.decode()


def test_a_resource_in_xml_is_validated(alice_client: APIClient) -> None:
    xml = '<Patient xmlns="http://hl7.org/fhir"><gender value="x"/><foo value="1"/></Patient>'
    answer = alice_client.post("/v1/fhir/$validate", xml, content_type="application/fhir+xml")
    assert answer.status_code == 200
    found = json.loads(answer.content)["issue"]
    places = {issue["expression"][0] for issue in found if issue["severity"] == "error"}
    assert places == {"Patient.gender", "Patient.foo"}
    wanted = alice_client.post(
        "/v1/fhir/Patient/$validate?_format=xml", json.dumps(patient()), content_type=FHIR
    )
    assert wanted.status_code == 200
    assert b"<OperationOutcome" in wanted.content


def test_the_capabilities_name_it_once(alice_client: APIClient) -> None:
    rest = alice_client.get("/v1/fhir/metadata").json()["rest"][0]
    every = [rest, *rest["resource"]]
    for one in every:
        assert [o["definition"] for o in one["operation"] if o["name"] == "validate"] == [
            "http://hl7.org/fhir/OperationDefinition/Resource-validate"
        ]


def test_warnings_are_told(alice_client: APIClient) -> None:
    [issue] = issues(alice_client, {"resourceType": "Patient", "active": True})
    assert issue["severity"] == "warning"
    assert "(dom-6)" in issue["diagnostics"]


def test_profiles_wait_for_the_structure(alice_client: APIClient) -> None:
    found = issues(alice_client, pressure(component=[7], contained="x"))
    assert found[-1]["severity"] == "information"
    assert {issue["severity"] for issue in found[:-1]} == {"error"}


def test_references_in_circles_end_and_unknown_bases_are_told(alice_client: APIClient) -> None:
    targets = [{"code": "Reference", "targetProfile": [US + "circle"]}]
    element = {"path": "Patient.link.other", "type": targets}
    broken = {"path": "Patient.name", "type": [{"code": "HumanName", "profile": [US + "orphan"]}]}
    circle = profile("circle", "Patient", element, broken)
    orphan = profile("orphan", "HumanName", kind="complex-type", baseDefinition=US + "nowhere")
    orphan["differential"] = {"element": [{"id": "HumanName", "path": "HumanName"}]}
    for resource in (circle, orphan):
        answer = alice_client.post(
            "/v1/fhir/StructureDefinition", json.dumps(resource), content_type=FHIR
        )
        assert answer.status_code == 201, answer.content
    links = [{"other": {"reference": f"#p{n}"}, "type": "seealso"} for n in range(12)]
    inside = [{"resourceType": "Patient", "id": f"p{n}", "link": links} for n in range(12)]
    sent = patient(contained=inside, link=links, name=[{"text": "x"}])
    found = issues(alice_client, sent, f"$validate?profile={US}circle")
    told = [issue for issue in found if issue["code"] == "not-found"]
    assert [issue["severity"] for issue in told] == ["warning"]
    assert "which is not known here" in told[0]["diagnostics"]
    assert not [issue for issue in found if issue["severity"] == "error"]
