"""`_include` and `_revinclude`: ids, canonicals, circles, limits. search.html#revinclude"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from fhir import store
from fhir.bundles import searchset
from fhir.search import includes, search
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope

Included = Callable[[str, str], list[str]]
Q = "http://q.example/Questionnaire/phq"


def questionnaire(rid: str, version: str | None = None) -> dict[str, Any]:
    named = {"version": version} if version else {}
    return {
        "resourceType": "Questionnaire",
        "id": rid,
        "url": Q,
        "status": "active",
        "derivedFrom": ["http://q.example/Questionnaire/base"],
        **named,
    }


def response(rid: str, canonical: str, patient: str) -> dict[str, Any]:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": rid,
        "status": "completed",
        "questionnaire": canonical,
        "subject": {"reference": f"Patient/{patient}"},
    }


RESOURCES: list[dict[str, Any]] = [
    questionnaire("q1", "1.0"),
    questionnaire("q2", "2.0"),
    {
        "resourceType": "Questionnaire",
        "id": "base",
        "url": "http://q.example/Questionnaire/base",
        "status": "active",
        "derivedFrom": [Q],
    },
    response("r1", f"{Q}|1.0", "p1"),
    response("r2", Q, "p1"),
    response("r3", f"{Q}|9", "p2"),
    {
        "resourceType": "Patient",
        "id": "p1",
        "link": [{"other": {"reference": "Patient/p2"}, "type": "seealso"}],
    },
    {
        "resourceType": "Patient",
        "id": "p2",
        "link": [{"other": {"reference": "Patient/p1"}, "type": "seealso"}],
    },
    {"resourceType": "Library", "id": "l1", "url": "http://l.example/l", "status": "active",
     "type": {"text": "x"}},
    {"resourceType": "Measure", "id": "m1", "status": "active",
     "library": ["http://l.example/l"]},
    {"resourceType": "PlanDefinition", "id": "pd", "status": "active",
     "library": ["http://l.example/l"]},
]  # fmt: skip


@pytest.fixture
def beside(in_riverside: Scope, alice_actor: Actor, now: datetime) -> Included:
    store.write_many(resources=RESOURCES, actor=alice_actor, now=now)

    def run(kind: str, query: str) -> list[str]:
        found = search(resource_type=kind, query=query, now=now, strict=True)
        assert not found.notes
        return sorted(entry.id for entry in found.included)

    return run


@pytest.mark.parametrize(
    ("kind", "query", "ids"),
    [
        ("QuestionnaireResponse", "_id=r1&_include=QuestionnaireResponse:questionnaire", ["q1"]),
        (
            "QuestionnaireResponse",
            "_id=r2&_include=QuestionnaireResponse:questionnaire",
            ["q1", "q2"],
        ),
        ("QuestionnaireResponse", "_id=r3&_include=QuestionnaireResponse:questionnaire", []),
        (
            "QuestionnaireResponse",
            "_id=r1&_include=QuestionnaireResponse:questionnaire:Questionnaire",
            ["q1"],
        ),
        ("QuestionnaireResponse", "_id=r1&_include=*", ["p1", "q1"]),
        ("QuestionnaireResponse", "_id=r1&_include=QuestionnaireResponse:*", ["p1", "q1"]),
        (
            "QuestionnaireResponse",
            "_id=r1&_include=*&_include:iterate=*",
            ["p1", "p2", "q1"],
        ),
        ("Measure", "_include=Measure:depends-on", ["l1"]),
        ("Library", "_revinclude=Measure:depends-on", ["m1"]),
        ("Library", "_revinclude=*", ["m1", "pd"]),
        ("Questionnaire", "_id=q1&_revinclude=QuestionnaireResponse:questionnaire", ["r1", "r2"]),
        ("Questionnaire", "_id=q2&_revinclude=QuestionnaireResponse:questionnaire", ["r2"]),
        ("Questionnaire", "_id=q2&_revinclude=*", ["r2"]),
        ("Patient", "_id=p1&_include=Patient:link&_include:iterate=Patient:link", ["p2"]),
        (
            "Patient",
            "_id=p1&_include:iterate=Patient:link&_revinclude:iterate=QuestionnaireResponse:subject",
            ["p2", "r1", "r2", "r3"],
        ),
    ],
)
def test_includes_follow_ids_and_canonicals(
    beside: Included, kind: str, query: str, ids: list[str]
) -> None:
    assert beside(kind, query) == ids


def test_many_who_may_refer_are_looked_up_one_by_one(
    beside: Included, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = (
        "_id=p1&_revinclude=*",
        "_id=p2&_revinclude:iterate=*",
        "_id=p1&_revinclude=Patient:*",
    )
    before = [beside("Patient", query) for query in queries]
    monkeypatch.setattr(includes, "MAX_COMPARED", 1)
    assert [beside("Patient", query) for query in queries] == before
    assert before == [["p2", "r1", "r2"], ["p1", "r1", "r2", "r3"], ["p2"]]


def test_what_does_not_fit_is_told(
    beside: Included, alice_actor: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [response(f"x{n}", Q, "p1") for n in range(8)]
    store.write_many(resources=more, actor=alice_actor, now=now)
    monkeypatch.setattr(includes, "MAX_INCLUDED", 5)
    query = "_id=p1&_revinclude=QuestionnaireResponse:subject"
    found = search(resource_type="Patient", query=query, now=now)
    assert len(found.included) == 5
    assert found.notes == (includes.CUT,)
    text = searchset(found, now=now).decode()
    assert '"mode":"outcome"' in text
    assert '"severity":"warning","code":"incomplete"' in text


def test_a_long_way_is_followed_to_its_end(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    places = [
        {
            "resourceType": "Location",
            "id": f"l{n}",
            **({"partOf": {"reference": f"Location/l{n + 1}"}} if n < 40 else {}),
        }
        for n in range(41)
    ]
    store.write_many(resources=places, actor=alice_actor, now=now)
    query = "_include:iterate=Location:partof&_id="
    near = search(resource_type="Location", query=f"{query}l20", now=now)
    assert (len(near.included), near.notes) == (20, ())
    far = search(resource_type="Location", query=f"{query}l0", now=now)
    assert far.notes == (includes.CUT,)
