"""Tokens, strings, URIs and references with every modifier. search.html#modifiers"""

from typing import Any

import pytest

from fhir.search.errors import SearchRefused
from tests.fhir.search.conftest import Ask, Clinic

SYSTEM = "http://codes.example"
BASE = "http://127.0.0.1:8000/v1/fhir/"


def patient(rid: str, **more: object) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": rid, **more}


def place(rid: str, part_of: str | None = None, **more: object) -> dict[str, Any]:
    link = {"partOf": {"reference": f"Location/{part_of}"}} if part_of else {}
    return {"resourceType": "Location", "id": rid, **link, **more}


def observation(rid: str, coding: dict[str, str], **more: object) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": rid,
        "status": "final",
        "code": {"coding": [coding], "text": f"Text of {rid}"},
        **more,
    }


RESOURCES = [
    patient(
        "anna",
        active=True,
        name=[{"text": "Dr. Anna Maria von Müller", "family": "von Müller", "given": ["Anna"]}],
        address=[{"line": ["1 Main St."], "city": "São Paulo", "postalCode": "01000"}],
        telecom=[{"system": "phone", "use": "home", "value": "555-1"}],
        identifier=[
            {
                "type": {"coding": [{"system": "http://types", "code": "MR"}], "text": "Record"},
                "system": "urn:mrn",
                "value": "A|1",
            }
        ],
        generalPractitioner=[{"reference": "Practitioner/doc", "display": "Doctor Strange"}],
    ),
    patient("bert", active=False, name=[{"family": "Smith,  Jr", "given": ["Bert"]}]),
    patient("cleo", name=[{"given": ["MÜLLER"]}]),
    observation("o1", {"system": SYSTEM, "code": "A", "display": "Alpha Wave"}),
    observation("o2", {"code": "a"}, subject={"reference": f"{BASE}Patient/anna"}),
    observation("o3", {"system": "http://other", "code": "A"}, subject={"reference": "Group/anna"}),
    observation("o4", {"system": SYSTEM, "code": "B,C"}, subject={"identifier": {"value": "9"}}),
    observation(
        "o5",
        {"system": SYSTEM, "code": "D$E"},
        subject={"reference": "Patient/anna/_history/1"},
        device={"reference": "http://elsewhere.example/fhir/Device/1"},
    ),
    observation("o6", {"system": SYSTEM, "code": "F"}, focus=[{"reference": "urn:uuid:1-2"}]),
    place("campus"),
    place("house", "campus"),
    place("ward", "house"),
    place("loop1", "loop2"),
    place("loop2", "loop1"),
    {
        "resourceType": "Encounter",
        "id": "visit",
        "status": "finished",
        "class": {"code": "AMB"},
        "location": [{"location": {"reference": "Location/ward"}}],
    },
    {"resourceType": "ValueSet", "id": "v1", "status": "draft", "url": "http://a.example/fhir/vs"},
    {"resourceType": "ValueSet", "id": "v2", "status": "draft", "url": "http://a.example/fhir/vsx"},
    {
        "resourceType": "ValueSet",
        "id": "v3",
        "status": "draft",
        "url": "http://a.example/fhir/vs/1",
    },
    {"resourceType": "ValueSet", "id": "v4", "status": "draft", "url": "urn:oid:1.2.3"},
    {
        "resourceType": "QuestionnaireResponse",
        "id": "qr",
        "status": "completed",
        "questionnaire": "http://q.example/q|2",
    },
]


@pytest.fixture
def ask(clinic: Clinic) -> Ask:
    return clinic(RESOURCES)


FOUND = [
    # token
    ("Observation", "code=A", ["o1", "o2", "o3"]),
    ("Observation", f"code={SYSTEM}|a", ["o1"]),
    ("Observation", "code=|A", ["o2"]),
    ("Observation", f"code={SYSTEM}|", ["o1", "o4", "o5", "o6"]),
    ("Observation", r"code=B\,C", ["o4"]),
    ("Observation", "code=B,C", []),
    ("Observation", r"code=D\$E,F", ["o5", "o6"]),
    ("Observation", f"code={SYSTEM}|A&code=B", []),
    ("Observation", f"code:not={SYSTEM}|A", ["o2", "o3", "o4", "o5", "o6"]),
    ("Observation", "code:not=A,F", ["o4", "o5"]),
    ("Observation", "value-concept:not=A", ["o1", "o2", "o3", "o4", "o5", "o6"]),
    ("Observation", "code:text=alpha", ["o1"]),
    ("Observation", "code:text=wave", ["o1"]),
    ("Observation", "code:text=ave", []),
    ("Observation", "code:text=text of o3,alpha", ["o1", "o3"]),
    ("Observation", "code:missing=false&subject:missing=true", ["o1", "o6"]),
    ("Patient", r"identifier=urn:mrn|A\|1", ["anna"]),
    ("Patient", r"identifier=a\|1", ["anna"]),
    ("Patient", r"identifier:of-type=http://types|MR|A\|1", ["anna"]),
    ("Patient", "identifier:of-type=http://types|XX|A", []),
    ("Patient", "identifier:text=rec", ["anna"]),
    ("Patient", "active=true", ["anna"]),
    ("Patient", "active=http://hl7.org/fhir/special-values|false", ["bert"]),
    ("Patient", "active:not=true", ["bert", "cleo"]),
    ("Patient", "active:missing=true", ["cleo"]),
    ("Patient", "phone=555-1", ["anna"]),
    ("Patient", "telecom=phone|555-1", ["anna"]),
    ("Patient", "email=555-1", []),
    ("Patient", "_id=anna,cleo,nobody", ["anna", "cleo"]),
    ("Patient", "_id:not=anna", ["bert", "cleo"]),
    # string
    ("Patient", "family=VON MULL", ["anna"]),
    ("Patient", "family=müller", []),
    ("Patient", "name=muller", ["cleo"]),
    ("Patient", "name=dr. anna  maria", ["anna"]),
    ("Patient", "name:contains=ULLER", ["anna", "cleo"]),
    ("Patient", "name:exact=MÜLLER", ["cleo"]),
    ("Patient", "name:exact=MU\u0308LLER", ["cleo"]),
    ("Patient", "name:exact=müller", []),
    ("Patient", "name:text=müll", ["anna", "cleo"]),
    ("Patient", r"family=smith\, jr", ["bert"]),
    ("Patient", "family=smith,von", ["anna", "bert"]),
    ("Patient", "family:missing=true", ["cleo"]),
    ("Patient", "address=sao", ["anna"]),
    ("Patient", "address=1 main", ["anna"]),
    ("Patient", "address-city:exact=São Paulo", ["anna"]),
    ("Patient", "address-postalcode=01", ["anna"]),
    # uri
    ("ValueSet", "url=http://a.example/fhir/vs", ["v1"]),
    ("ValueSet", "url=http://A.example/fhir/vs", []),
    ("ValueSet", "url:below=http://a.example/fhir/vs", ["v1", "v3"]),
    ("ValueSet", "url:below=http://a.example/fhir/", ["v1", "v2", "v3"]),
    ("ValueSet", "url:above=http://a.example/fhir/vs/1/2", ["v1", "v3"]),
    ("ValueSet", "url=urn:oid:1.2.3", ["v4"]),
    ("ValueSet", "url:missing=true", []),
    # reference
    ("Observation", "subject=Patient/anna", ["o2", "o5"]),
    ("Observation", "subject=anna", ["o2", "o3", "o5"]),
    ("Observation", "subject:Patient=anna", ["o2", "o5"]),
    ("Observation", "subject:Group=Group/anna", ["o3"]),
    ("Observation", "subject:Patient=Group/anna", []),
    ("Observation", "subject=http://localhost:8000/v1/fhir/Patient/anna", ["o2", "o5"]),
    ("Observation", "subject=http://testserver/v1/fhir/Patient/anna", ["o2", "o5"]),
    ("Observation", "subject=http://stranger.example/v1/fhir/Patient/anna", []),
    ("Observation", f"subject={BASE}Patient/anna", ["o2", "o5"]),
    ("Observation", "subject=Patient/anna/_history/1", ["o5"]),
    ("Observation", "patient=anna", ["o2", "o5"]),
    ("Observation", "subject:identifier=9", ["o4"]),
    ("Observation", "device=http://elsewhere.example/fhir/Device/1", ["o5"]),
    ("Observation", "device=Device/1", []),
    ("Observation", "focus=urn:uuid:1-2", ["o6"]),
    ("Patient", "general-practitioner:text=strange", ["anna"]),
    ("QuestionnaireResponse", "questionnaire=http://q.example/q", ["qr"]),
    ("QuestionnaireResponse", r"questionnaire=http://q.example/q\|2", ["qr"]),
    ("QuestionnaireResponse", "questionnaire=http://q.example/q|2", ["qr"]),
    ("QuestionnaireResponse", "questionnaire=http://q.example/q|3", []),
    # references into a hierarchy
    ("Encounter", "location=Location/campus", []),
    ("Encounter", "location:below=Location/campus", ["visit"]),
    ("Encounter", "location:below=Location/ward", ["visit"]),
    ("Encounter", "location:below=Location/loop1", []),
    ("Location", "partof:below=Location/campus", ["house", "ward"]),
    ("Location", "partof:below=loop1", ["loop1", "loop2"]),
    ("Location", "partof:above=Location/house", ["house", "ward"]),
    ("Location", "partof:above=Location/campus", ["house"]),
]


def test_search_finds(ask: Ask) -> None:
    wrong = {
        (kind, query): found for kind, query, ids in FOUND if (found := ask(kind, query)) != ids
    }
    assert wrong == {}


REFUSED = [
    ("Patient", "name:below=x", "name:below"),
    ("Patient", "gender:exact=male", "gender:exact"),
    ("Patient", "birthdate:not=2020", "birthdate:not"),
    ("Patient", "active:missing=maybe", "active"),
    ("Patient", "identifier:of-type=a|b", "identifier:of-type"),
    ("Patient", "identifier=|", "identifier"),
    ("Patient", "name=,", "name"),
    ("Patient", "_id:exact=1", "_id:exact"),
    ("Patient", "_lastUpdated:not=2020", "_lastUpdated:not"),
    ("ValueSet", "url:below=urn:oid:1.2", "url:below"),
    ("Observation", "subject:below=Patient/1", "subject:below"),
    ("Observation", "subject:below=/", "subject:below"),
    ("Observation", "subject:above=/1", "subject:above"),
    ("Observation", "subject:Nothing=1", "subject:Nothing"),
    ("Observation", "code-value-quantity=1", "code-value-quantity"),
    ("Patient", "organization.name:below=x", "name:below"),
    ("Patient", "_query=named", "_query"),
    ("Patient", "_list=$current-allergies", "_list"),
    ("AllergyIntolerance", "_list=$current-hobbies", "_list"),
    ("Patient", "_contained=maybe", "_contained"),
    ("Patient", "_containedType=both", "_containedType"),
    ("Patient", "_contained=true&_sort=_id", "_sort"),
    ("Patient", "_contained=true&_cursor=cx.1", "_cursor"),
    ("Patient", "_sort=near", "_sort"),
    ("Patient", "_type=Observation", "_type"),
    ("Patient", "_summary=text&_include=Patient:organization", "_summary"),
    ("Patient", "_include=Patient:organization:Device", "_include"),
    ("Patient", "_count=-1", "_count"),
    ("Patient", "_count=٣", "_count"),
]


def test_what_can_not_be_asked_is_refused_by_name(ask: Ask) -> None:
    for kind, query, param in REFUSED:
        with pytest.raises(SearchRefused) as refusal:
            ask(kind, query)
        assert refusal.value.param == param, query


def test_many_values_are_one_search(ask: Ask) -> None:
    values = ",".join([*(f"nobody-{n}" for n in range(999)), "555-1"])
    assert ask("Patient", f"phone={values}") == ["anna"]
    for text in ("name", "birthdate", "phone:text", "gender:in"):
        with pytest.raises(SearchRefused, match="1000 values"):
            ask("Patient", f"{text}=" + ",".join("x" for _ in range(10_000)))
    with pytest.raises(SearchRefused, match="20000 values"):
        ask("Patient", "_id=" + ",".join("x" for _ in range(20_001)))
    with pytest.raises(SearchRefused, match="many types"):
        ask("Provenance", "target=" + ",".join(f"id{n}" for n in range(1000)))


def test_ten_thousand_ids_tokens_and_references_are_one_search(ask: Ask) -> None:
    many = [f"nobody-{n}" for n in range(9_999)]
    assert ask("Patient", "_id=" + ",".join([*many, "anna"])) == ["anna"]
    assert ask("Patient", "phone=" + ",".join([*many, "555-1"])) == ["anna"]
    rest = ask("Patient", "phone:not=555-1")
    assert "anna" not in rest
    assert ask("Patient", "phone:not=" + ",".join([*many, "555-1"])) == rest
    assert ask("Location", "partof=" + ",".join([*many, "Location/none"])) == []


def test_a_thousand_dates_and_beginnings_are_one_search(clinic: Clinic) -> None:
    born = [patient("a", birthDate="1950-03-02"), patient("b", birthDate="1950"), patient("c")]
    named = [patient("d", name=[{"family": "Ärzte"}]), patient("e", name=[{"family": "Arzt"}])]
    ask = clinic([*born, *named])
    days = [f"1950-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
    assert ask("Patient", "birthdate=" + ",".join(days)) == ["a"]
    assert ask("Patient", "birthdate=" + ",".join([*days, "1950"])) == ["a", "b"]
    assert ask("Patient", "birthdate=" + ",".join([*days, "ge1950-03-03"])) == ["a", "b"]
    names = [f"nobody{number}" for number in range(999)]
    assert ask("Patient", "family=" + ",".join([*names, "arzte"])) == ["d"]
    assert ask("Patient", "family=" + ",".join([*names, "ARZ"])) == ["d", "e"]
    assert ask("Patient", "family:exact=" + ",".join([*names, "Ärzte"])) == ["d"]
