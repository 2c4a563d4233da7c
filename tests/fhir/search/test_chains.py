"""Chains and `_has` of any depth, through references and canonical addresses."""

from typing import Any

import pytest

from fhir.search.errors import SearchRefused
from tests.fhir.search.conftest import Ask, Clinic


def resource(kind: str, rid: str, **more: object) -> dict[str, Any]:
    return {"resourceType": kind, "id": rid, **more}


def to(reference: str) -> dict[str, str]:
    return {"reference": reference}


RESOURCES = [
    resource("Organization", "north", name="North Hospital"),
    resource("Organization", "ward", name="Ward", partOf=to("Organization/north")),
    resource("Practitioner", "doc", name=[{"family": "Øst"}]),
    resource(
        "Patient",
        "anna",
        name=[{"family": "Müller"}],
        gender="female",
        birthDate="1980-05",
        managingOrganization=to("Organization/ward"),
        generalPractitioner=[to("Practitioner/doc")],
        link=[{"other": to("Patient/bert"), "type": "seealso"}],
    ),
    resource("Patient", "bert", name=[{"family": "Mull"}], gender="male"),
    resource("Group", "all", type="person", actual=True, name="Müllers"),
    resource(
        "Observation",
        "o1",
        status="final",
        code={"coding": [{"code": "a"}]},
        subject=to("Patient/anna/_history/1"),
        performer=[to("Practitioner/doc")],
    ),
    resource(
        "Observation",
        "o2",
        status="amended",
        code={"coding": [{"code": "b"}]},
        subject=to("Patient/bert"),
        hasMember=[to("Observation/o1")],
    ),
    resource(
        "Observation",
        "o3",
        status="final",
        code={"coding": [{"code": "c"}]},
        subject=to("Group/all"),
    ),
    resource(
        "Provenance",
        "p1",
        target=[to("Observation/o1")],
        recorded="2026-01-01T00:00:00Z",
        agent=[{"who": to("Practitioner/doc")}],
    ),
    resource("Questionnaire", "q", status="active", url="http://q.example/q", title="Sleep"),
    resource("Questionnaire", "q2", status="active", url="http://q.example/q2", title="Pain"),
    resource(
        "QuestionnaireResponse",
        "qr2",
        status="completed",
        questionnaire="http://q.example/q2",
        subject=to("Patient/bert"),
    ),
    resource(
        "QuestionnaireResponse",
        "qr",
        status="completed",
        questionnaire="http://q.example/q|2",
        subject=to("Patient/anna"),
    ),
]


@pytest.fixture
def ask(clinic: Clinic) -> Ask:
    return clinic(RESOURCES)


FOUND = [
    ("Observation", "subject:Patient.name=mull", ["o1", "o2"]),
    ("Observation", "subject:Patient.family:exact=Müller", ["o1"]),
    ("Observation", "subject:Patient.gender:not=male", ["o1"]),
    ("Observation", "subject:Patient.birthdate:missing=true", ["o2"]),
    ("Observation", "subject:Patient.birthdate=ge1980-05", ["o1"]),
    ("Observation", "patient.birthdate=1980", ["o1"]),
    ("Observation", "subject:Patient._id=anna", ["o1"]),
    ("Observation", "subject._id=anna,all", ["o1", "o3"]),
    ("Observation", "subject:Group.code:missing=true", ["o3"]),
    ("Observation", "subject.name=mull", ["o1", "o2"]),
    ("Observation", "subject.actual=true", ["o3"]),
    ("Observation", "subject:Patient.organization.name=ward", ["o1"]),
    ("Observation", "subject:Patient.organization:Organization.partof.name=north", ["o1"]),
    ("Observation", "subject:Patient.general-practitioner:Practitioner.family=ost", ["o1"]),
    ("Observation", "performer:Practitioner.family=øst&status=final", ["o1"]),
    ("Observation", "subject:Patient.link=Patient/bert", ["o1"]),
    ("Observation", "has-member.code=a", ["o2"]),
    ("Observation", "has-member:Observation.subject:Patient.gender=female", ["o2"]),
    ("Observation", "subject:Patient.name=mull&subject:Patient.gender=male", ["o2"]),
    ("Patient", "_has:Observation:patient:code=a", ["anna"]),
    # Observation.patient never refers to a RelatedPerson, which a link may lead to
    ("Patient", "link._has:Observation:patient:code=b", ["anna"]),
    ("Patient", "_has:Observation:subject:code=a,b", ["anna", "bert"]),
    ("Patient", "_has:Observation:patient:status:not=final", ["bert"]),
    ("Patient", "_has:Observation:patient:_has:Provenance:target:recorded=2026", ["anna"]),
    ("Patient", "_has:Observation:patient:performer:Practitioner.family=ost", ["anna"]),
    ("Patient", "_has:Observation:patient:has-member.code=a", ["bert"]),
    ("Patient", "link:Patient._has:Observation:patient:code=b", ["anna"]),
    ("Patient", "_has:Patient:link:family=muller", ["bert"]),
    ("Organization", "_has:Patient:organization:_has:Observation:subject:code=a", ["ward"]),
    ("Practitioner", "_has:Provenance:agent:target:Observation.code=a", ["doc"]),
    ("QuestionnaireResponse", "questionnaire.title=sleep", ["qr"]),
    ("QuestionnaireResponse", "questionnaire:Questionnaire.title=x", []),
    ("Questionnaire", "_has:QuestionnaireResponse:questionnaire:patient=anna", ["q"]),
    ("Questionnaire", "_has:QuestionnaireResponse:questionnaire:patient.gender=male", ["q2"]),
    ("Patient", "_has:QuestionnaireResponse:patient:questionnaire.title=sleep", ["anna"]),
]


def test_chains_find(ask: Ask) -> None:
    wrong = {
        (kind, query): found for kind, query, ids in FOUND if (found := ask(kind, query)) != ids
    }
    assert wrong == {}


BROKEN = [
    ("Observation", "code.name=x"),
    ("Observation", "subject:Nothing.name=x"),
    ("Observation", "subject:Patient.nothing=x"),
    ("Observation", "focus.name=x"),
    ("Patient", "_has:Observation:code=a"),
    ("Patient", "_has:Nothing:patient:code=a"),
    ("Patient", "_has:Observation:code:status=a"),
    ("Patient", "_has:Observation:device:code=a"),
    ("Patient", "_has:Observation:patient:nothing=a"),
    ("Patient", "_has:"),
    ("Patient", ":not=a"),
    ("Patient", ".=a"),
    ("Encounter", ".".join(["part-of"] * 30) + "=1"),
    ("Patient", "_has:Patient:link:" * 30 + "name=x"),
]


def test_broken_chains_are_refused(ask: Ask) -> None:
    for kind, query in BROKEN:
        with pytest.raises(SearchRefused):
            ask(kind, query if "=" in query else f"{query}=x")
