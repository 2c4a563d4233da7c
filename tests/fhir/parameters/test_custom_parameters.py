"""SearchParameters of a project's own: from the resource to searches that are right."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from fhir.parameters import known
from healthcloud.ledger.worker import run_until_idle

ClientFor = Callable[..., APIClient]
FHIR = "application/fhir+json"
EYES = "http://example.org/fhir/StructureDefinition/eye-color"
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_ledger")]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What is undone with the test is not remembered after it."""
    yield
    known._known.clear()


def parameter(code: str = "eye-color", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter",
        "id": code,
        "url": f"http://example.org/fhir/SearchParameter/{code}",
        "name": "EyeColor",
        "status": "active",
        "description": "The color of the eyes.",
        "code": code,
        "base": ["Patient"],
        "type": "token",
        "expression": f"Patient.extension.where(url='{EYES}').value",
        **more,
    }


def patient(rid: str, color: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": rid,
        "extension": [{"url": EYES, "valueCode": color}],
        **more,
    }


def put(client: APIClient, resource: dict[str, Any], status: int = 201) -> Any:
    address = f"/v1/fhir/{resource['resourceType']}/{resource['id']}"
    answer = client.put(address, json.dumps(resource), content_type=FHIR)
    assert answer.status_code == status, answer.content
    return answer.json()


def found(client: APIClient, query: str) -> list[str]:
    answer = client.get(f"/v1/fhir/{query}", HTTP_PREFER="handling=strict")
    assert answer.status_code == 200, answer.content
    return [entry["resource"]["id"] for entry in answer.json().get("entry", ())]


def diagnostics(client: APIClient, query: str) -> str:
    answer = client.get(f"/v1/fhir/{query}", HTTP_PREFER="handling=strict")
    assert answer.status_code == 400, answer.content
    return str(answer.json()["issue"][0]["diagnostics"])


def codes(client: APIClient, resource_type: str = "Patient") -> set[str]:
    [rest] = client.get("/v1/fhir/metadata").json()["rest"]
    [entry] = [entry for entry in rest["resource"] if entry["type"] == resource_type]
    return {entry["name"] for entry in entry["searchParam"]}


def test_what_is_stored_before_and_after_is_found_once_the_parameter_is_indexed(
    alice_client: APIClient, charlie_client: APIClient
) -> None:
    put(alice_client, patient("before", "blue"))
    put(alice_client, parameter())
    put(alice_client, patient("after", "blue"))
    put(alice_client, patient("other", "brown"))
    assert "being indexed" in diagnostics(alice_client, "Patient?eye-color=blue")
    assert "eye-color" not in codes(alice_client)
    run_until_idle()
    assert sorted(found(alice_client, "Patient?eye-color=blue")) == ["after", "before"]
    assert found(alice_client, "Patient?eye-color:not=blue") == ["other"]
    assert found(alice_client, "Patient?eye-color=green") == []
    assert sorted(found(alice_client, "Patient?eye-color:missing=false")) == [
        *("after", "before", "other")
    ]
    assert "eye-color" in codes(alice_client)
    assert "eye-color" not in codes(charlie_client)
    assert "no search parameter" in diagnostics(charlie_client, "Patient?eye-color=blue")


def test_lenient_searches_are_told_of_a_parameter_that_is_being_indexed(
    alice_client: APIClient,
) -> None:
    put(alice_client, parameter())
    bundle = alice_client.get("/v1/fhir/Patient?eye-color=blue").json()
    [outcome] = [e["resource"] for e in bundle["entry"] if e["search"]["mode"] == "outcome"]
    assert "being indexed" in outcome["issue"][0]["diagnostics"]


def test_a_job_tells_how_far_the_indexing_is(alice_client: APIClient) -> None:
    put(alice_client, patient("before", "blue"))
    put(alice_client, parameter())
    text = diagnostics(alice_client, "Patient?eye-color=blue")
    address = text.partition("GET ")[2].partition(" ")[0]
    assert alice_client.get(address).status_code == 202
    run_until_idle()
    done = alice_client.get(address)
    assert done.status_code == 200
    assert done.json()["parameter"] == [{"name": "indexed", "valueInteger": 1}]


def test_the_other_project_of_the_organization_has_no_such_parameter(
    alice_client: APIClient, client_for: ClientFor
) -> None:
    put(alice_client, parameter())
    run_until_idle()
    referrals = client_for(project="referrals")
    put(referrals, patient("theirs", "blue"))
    assert "no search parameter" in diagnostics(referrals, "Patient?eye-color=blue")
    assert found(alice_client, "Patient?eye-color=blue") == []


@pytest.mark.parametrize("ending", ["retired", "deleted"])
def test_a_parameter_that_ended_is_used_no_longer(alice_client: APIClient, ending: str) -> None:
    put(alice_client, patient("before", "blue"))
    put(alice_client, parameter())
    run_until_idle()
    assert found(alice_client, "Patient?eye-color=blue") == ["before"]
    if ending == "retired":
        put(alice_client, parameter(status="retired"), 200)
    else:
        assert alice_client.delete("/v1/fhir/SearchParameter/eye-color").status_code == 204
    assert "no search parameter" in diagnostics(alice_client, "Patient?eye-color=blue")
    assert "eye-color" not in codes(alice_client)


def test_a_changed_expression_is_indexed_anew(alice_client: APIClient) -> None:
    put(alice_client, patient("ann", "blue", gender="female"))
    put(alice_client, parameter())
    run_until_idle()
    put(alice_client, parameter(expression="Patient.gender"), 200)
    assert "being indexed" in diagnostics(alice_client, "Patient?eye-color=blue")
    run_until_idle()
    assert found(alice_client, "Patient?eye-color=blue") == []
    assert found(alice_client, "Patient?eye-color=female") == ["ann"]


def test_what_searches_do_not_heed_changes_without_indexing(alice_client: APIClient) -> None:
    put(alice_client, parameter())
    run_until_idle()
    put(alice_client, parameter(description="Iris color."), 200)
    assert found(alice_client, "Patient?eye-color=blue") == []


def test_added_references_are_chained_included_and_referred_by(alice_client: APIClient) -> None:
    url = "http://example.org/fhir/StructureDefinition/tutor"
    put(
        alice_client,
        parameter(
            "tutor",
            type="reference",
            expression=f"Patient.extension('{url}').value.ofType(Reference)",
            target=["Practitioner"],
        ),
    )
    put(alice_client, parameter())
    run_until_idle()
    put(
        alice_client,
        {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Grey"}]},
    )
    reference = {"url": url, "valueReference": {"reference": "Practitioner/doc"}}
    kid = patient("kid", "blue")
    put(alice_client, {**kid, "extension": [*kid["extension"], reference]})
    put(alice_client, patient("other", "blue"))
    assert found(alice_client, "Patient?tutor=Practitioner/doc") == ["kid"]
    assert found(alice_client, "Patient?tutor=doc") == ["kid"]
    assert found(alice_client, "Patient?tutor.name=grey") == ["kid"]
    assert found(alice_client, "Practitioner?_has:Patient:tutor:eye-color=blue") == ["doc"]
    assert found(alice_client, "Practitioner?_has:Patient:tutor:eye-color=red") == []
    assert found(alice_client, "Patient?_id=kid&_include=Patient:tutor") == ["kid", "doc"]
    assert found(alice_client, "Patient?_id=kid&_include=*") == ["kid", "doc"]
    assert found(alice_client, "Practitioner?_revinclude=Patient:tutor") == ["doc", "kid"]
    assert found(alice_client, "Practitioner?_revinclude=*") == ["doc", "kid"]


@pytest.mark.parametrize(
    ("kind", "name", "values", "query", "expected"),
    [
        ("string", "valueString", ["Zoë", "adam"], "zoe", "p0"),
        ("date", "valueDateTime", ["2020-05-01", "2021-05-01"], "gt2020-12", "p1"),
        ("number", "valueDecimal", [1.5, 2.5], "lt2", "p0"),
        ("uri", "valueUri", ["urn:a", "urn:b"], "urn:b", "p1"),
        (
            "quantity",
            "valueQuantity",
            [
                {"value": 1, "system": "http://unitsofmeasure.org", "code": "g"},
                {"value": 2, "system": "http://unitsofmeasure.org", "code": "g"},
            ],
            "2000|http://unitsofmeasure.org|mg",
            "p1",
        ),
    ],
)
def test_every_type_of_parameter_finds_and_sorts(
    alice_client: APIClient, kind: str, name: str, values: list[Any], query: str, expected: str
) -> None:
    put(alice_client, parameter("extra", type=kind))
    run_until_idle()
    for number, value in enumerate(values):
        resource = {"resourceType": "Patient", "id": f"p{number}"}
        put(alice_client, {**resource, "extension": [{"url": EYES, name: value}]})
    assert found(alice_client, f"Patient?extra={query}") == [expected]
    order = ["p1", "p0"] if kind == "string" else ["p0", "p1"]
    assert found(alice_client, "Patient?_sort=extra") == order
    assert found(alice_client, "Patient?_sort=-extra") == order[::-1]


def test_tokens_of_extensions_are_sorted(alice_client: APIClient) -> None:
    put(alice_client, parameter())
    run_until_idle()
    put(alice_client, patient("b", "brown"))
    put(alice_client, patient("a", "amber"))
    assert found(alice_client, "Patient?_sort=eye-color") == ["a", "b"]


def test_a_composite_of_added_and_official_parameters_matches_in_one_place(
    alice_client: APIClient,
) -> None:
    put(alice_client, parameter("contact-role", expression="Patient.contact.relationship"))
    put(
        alice_client,
        parameter(
            "contact",
            type="composite",
            expression="Patient.contact",
            component=[
                {
                    "definition": "http://example.org/fhir/SearchParameter/contact-role",
                    "expression": "relationship",
                },
                {
                    "definition": "http://hl7.org/fhir/SearchParameter/individual-family",
                    "expression": "name.family",
                },
            ],
        ),
    )
    run_until_idle()
    role = {"system": "http://terminology.hl7.org/CodeSystem/v2-0131"}
    contacts = [
        {"relationship": [{"coding": [{**role, "code": "N"}]}], "name": {"family": "Ek"}},
        {"relationship": [{"coding": [{**role, "code": "E"}]}], "name": {"family": "Berg"}},
    ]
    put(alice_client, {"resourceType": "Patient", "id": "ann", "contact": contacts})
    assert found(alice_client, "Patient?contact=N$ek") == ["ann"]
    assert found(alice_client, "Patient?contact=E$ek") == []


@pytest.mark.parametrize(
    ("change", "element", "text"),
    [
        ({"expression": "Patient.name.count() > 1"}, "expression", "Cannot compile"),
        ({"expression": "Patient.nome"}, "expression", "leads to nothing in Patient"),
        ({"expression": "Observation.code"}, "expression", "leads to nothing in Patient"),
        ({"type": "date"}, "type", ""),
        ({"type": "special"}, "type", "needs code of the server's own"),
        ({"expression": None}, "expression", "needs a FHIRPath expression"),
        ({"code": "birthdate"}, "code", "another parameter `birthdate`"),
        ({"code": "patient"}, "code", "can't be the code"),
        ({"code": "_mine"}, "code", "can't be the code"),
        ({"code": "a.b"}, "code", "can't be the code"),
        ({"type": "composite"}, "component", "needs components"),
        (
            {
                "type": "composite",
                "expression": "Patient.contact",
                "component": [{"definition": "http://nowhere", "expression": "gender"}],
            },
            "component[0].definition",
            "no active search parameter",
        ),
    ],
)
def test_a_parameter_that_can_not_be_searched_by_is_refused_by_element_and_reason(
    alice_client: APIClient, change: dict[str, Any], element: str, text: str
) -> None:
    resource = {name: v for name, v in {**parameter(), **change}.items() if v is not None}
    if change == {"type": "date"}:
        resource["expression"] = "Patient.gender"
    outcome = put(alice_client, resource, 422)
    [issue] = outcome["issue"]
    assert issue["expression"] == [f"SearchParameter.{element}"]
    assert text in issue["diagnostics"]
    assert alice_client.get("/v1/fhir/SearchParameter/eye-color").status_code == 404
    put(alice_client, {**resource, "status": "draft"})


def test_two_parameters_can_not_share_a_code(alice_client: APIClient) -> None:
    put(alice_client, parameter())
    again = {**parameter(), "id": "again", "url": "http://example.org/again"}
    outcome = put(alice_client, again, 422)
    assert "SearchParameter/eye-color has the code" in outcome["issue"][0]["diagnostics"]
    put(alice_client, {**again, "base": ["Practitioner"], "expression": "Practitioner.gender"})


def test_a_parameter_that_r4_has_is_stored_and_is_that_one(alice_client: APIClient) -> None:
    put(alice_client, parameter("name", type="string", expression="Patient.name"))
    put(alice_client, {"resourceType": "Patient", "id": "ann", "name": [{"family": "Ek"}]})
    assert found(alice_client, "Patient?name=ek") == ["ann"]


def test_a_parameter_of_every_type_is_there_for_every_type(alice_client: APIClient) -> None:
    expression = f"DomainResource.extension('{EYES}').value"
    put(alice_client, parameter(base=["DomainResource"], expression=expression))
    run_until_idle()
    put(alice_client, {**patient("x", "blue"), "resourceType": "Practitioner"})
    put(alice_client, patient("p", "blue"))
    assert found(alice_client, "Practitioner?eye-color=blue") == ["x"]
    assert found(alice_client, "Patient?eye-color=blue") == ["p"]
    assert "eye-color" in codes(alice_client, "Observation")
    assert "eye-color" not in codes(alice_client, "Bundle")


def test_a_bundle_that_brings_the_parameter_and_resources_is_indexed(
    alice_client: APIClient,
) -> None:
    entries = [
        {
            "resource": resource,
            "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
        }
        for resource in (patient("p", "blue"), parameter())
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    answer = alice_client.post("/v1/fhir", json.dumps(bundle), content_type=FHIR)
    assert answer.status_code == 200, answer.content
    run_until_idle()
    assert found(alice_client, "Patient?eye-color=blue") == ["p"]
