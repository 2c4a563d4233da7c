"""`_total`, `_summary`, `_elements`. https://hl7.org/fhir/R4/search.html#return"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import orjson
import pytest
from django.db import connections

from fhir import store
from fhir.bundles import searchset
from fhir.search import query as search_query
from fhir.search import search
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope

OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "language": "en",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">a</div>'},
    "status": "final",
    "code": {"coding": [{"system": "urn:c", "code": "1"}], "text": "One"},
    "subject": {"reference": "Patient/p1"},
    "interpretation": [{"text": "high"}],
    "note": [{"text": "hm"}],
    "component": [
        {
            "code": {"text": "part"},
            "valueString": "x",
            "interpretation": [{"text": "low"}],
            "referenceRange": [{"text": "all"}],
        }
    ],
}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "name": [{"family": "Ada"}],
    "gender": "female",
    "photo": [{"title": "x"}],
    "contact": [{"name": {"family": "Bo"}}],
}
SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}


@pytest.fixture
def stored(in_riverside: Scope, alice_actor: Actor, now: datetime) -> None:
    store.write_many(resources=[OBSERVATION, PATIENT], actor=alice_actor, now=now)


def answered(query: str, now: datetime) -> dict[str, dict[str, Any]]:
    found = search(resource_type="Observation", query=query, now=now, strict=True)
    bundle = orjson.loads(searchset(found, now=now))
    return {entry["resource"]["id"]: entry["resource"] for entry in bundle["entry"]}


ALWAYS = {"resourceType", "id", "meta"}


@pytest.mark.parametrize(
    ("query", "members"),
    [
        ("_elements=subject", {"subject", "status", "code"}),
        ("_elements=Observation.subject,value[x]", {"subject", "status", "code"}),
        ("_elements=note&_elements=subject", {"note", "subject", "status", "code"}),
        ("_summary=text", {"text", "status", "code"}),
        ("_summary=true", {"status", "code", "subject", "component"}),
        (
            "_summary=data",
            {"language", "status", "code", "subject", "interpretation", "note", "component"},
        ),
    ],
)
def test_a_part_is_tagged(stored: None, now: datetime, query: str, members: set[str]) -> None:
    found = answered(query, now)["o1"]
    assert set(found) == ALWAYS | members
    assert SUBSETTED in found["meta"]["tag"]
    assert found["meta"]["versionId"] == "1"


def test_a_summary_reaches_into_components(stored: None, now: datetime) -> None:
    found = answered("_summary=true", now)["o1"]
    assert found["component"] == [{"code": {"text": "part"}, "valueString": "x"}]


def test_a_whole_resource_has_no_such_tag(stored: None, now: datetime) -> None:
    for query in ("_summary=false", "", "_elements=Patient.name"):
        found = answered(query, now)["o1"]
        assert SUBSETTED not in found["meta"]["tag"]
        assert found["note"] == OBSERVATION["note"]


def test_elements_mean_matches_unless_they_name_a_type(stored: None, now: datetime) -> None:
    include = "_include=Observation:subject"
    whole = answered(f"_elements=status&{include}", now)
    assert "photo" in whole["p1"]
    assert "note" not in whole["o1"]
    part = answered(f"_elements=status,Patient.name&{include}", now)
    assert set(part["p1"]) == ALWAYS | {"name"}
    assert SUBSETTED in part["p1"]["meta"]["tag"]
    summary = answered(f"_summary=true&{include}", now)
    assert set(summary["p1"]) == ALWAYS | {"name", "gender"}


def test_a_total_is_exact_estimated_or_absent(
    stored: None, alice_actor: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [{**OBSERVATION, "id": f"x{n}"} for n in range(30)]
    store.write_many(resources=more, actor=alice_actor, now=now)

    def total(query: str) -> int | None:
        return search(resource_type="Observation", query=query, now=now, strict=True).total

    assert total("_count=30") is None
    assert total("_count=31") == 31
    assert total("_total=none") is None
    assert total("_total=accurate&_count=3") == 31
    assert total("_total=estimate&_count=3") == 31
    assert total("_total=estimate&_id=o1") == 1
    assert total("_total=estimate&_count=0") == 31
    monkeypatch.setattr(search_query, "EXACT_UP_TO", 7)
    monkeypatch.setattr("fhir.search.service.EXACT_UP_TO", 7)
    estimate = total("_total=estimate")
    assert estimate is not None
    assert estimate > 7
    assert total("_total=estimate&code=urn:c|1") is not None
    assert total("_total=accurate") == 31


def test_pages_behind_the_first_count_nothing_unless_asked(
    stored: None,
    alice_actor: Actor,
    now: datetime,
    django_assert_num_queries: Callable[[int], AbstractContextManager[object]],
) -> None:
    more = [{**OBSERVATION, "id": f"x{n}"} for n in range(30)]
    store.write_many(resources=more, actor=alice_actor, now=now)
    connections["default"].send_ahead()  # the trail of the writes is no query of the search
    asked = "code=urn:c|1&_count=10&_sort=_id"
    first = search(resource_type="Observation", query=asked, now=now)
    assert (len(first.entries), first.next_query is not None) == (10, True)
    assert first.next_query is not None
    with django_assert_num_queries(1):
        second = search(resource_type="Observation", query=first.next_query, now=now)
    assert (second.total, len(second.entries)) == (None, 10)
    for total in ("accurate", "estimate"):
        query = f"{first.next_query}&_total={total}"
        assert search(resource_type="Observation", query=query, now=now).total == 31
    none = search(resource_type="Observation", query=f"{asked}&_total=none", now=now)
    assert none.total is None
