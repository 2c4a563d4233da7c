"""Pages in the order of a parameter are the same, whichever way they are read. search.html#_sort"""

from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from fhir import store
from fhir.search import fixed_pages, query, search, service, walked_values
from fhir.search.context import SearchContext
from fhir.search.parser import parse
from fhir.search.query import matching
from fhir.sql import fetch_all
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope, active_project

pytestmark = pytest.mark.usefixtures("nothing_remembered")
UCUM = "http://unitsofmeasure.org"
NAMES: dict[str, list[str]] = {
    "a": ["Berg", "Zoe"],
    "b": ["Adler"],
    "c": ["Berg", "BERG"],
    "d": [],
    "e": ["Mann"],
    "f": ["Adler", "Aal"],
    "g": [],
    "h": ["Zoe"],
}
MEASURED: dict[str, dict[str, Any]] = {
    "two-kg": {"valueQuantity": {"value": 2, "system": UCUM, "code": "kg"}},
    "half-kg": {"valueQuantity": {"value": 500, "system": UCUM, "code": "g"}},
    "a-kg": {"valueQuantity": {"value": 1, "system": UCUM, "code": "kg"}},
    "again-a-kg": {"valueQuantity": {"value": 1000, "system": UCUM, "code": "g"}},
    "meter": {"valueQuantity": {"value": 1, "system": UCUM, "code": "m"}},
    "bare": {"valueQuantity": {"value": 700}},
    "coded": {"valueQuantity": {"value": 800, "system": "http://u", "code": "z"}},
    "below": {"valueQuantity": {"value": 5, "comparator": "<", "system": UCUM, "code": "g"}},
    "none": {},
    "other": {"valueString": "x"},
    "open": {"valuePeriod": {"end": "2020-01-01"}},
    "day": {"valueDateTime": "2020-01-01"},
    "year": {"valueDateTime": "2020"},
    "later": {"valuePeriod": {"start": "2021-01-01"}},
}


@pytest.fixture
def stored(in_riverside: Scope, alice_actor: Actor, now: datetime) -> None:
    for number, (rid, names) in enumerate(NAMES.items()):
        named = {"name": [{"family": name, "given": [f"G{number % 2}"]} for name in names]}
        patient = {
            "resourceType": "Patient",
            "id": rid,
            "gender": "female" if number % 2 else "male",
            "birthDate": f"19{50 + number % 3}-01-01",
            **(named if names else {}),
        }
        store.write_many(resources=[patient], actor=alice_actor, now=now)
    for number, (rid, value) in enumerate(MEASURED.items()):
        measured = {
            "resourceType": "Observation",
            "id": rid,
            "status": "final" if number % 3 else "amended",
            "code": {"coding": [{"system": "http://l", "code": rid[0]}]},
            **value,
        }
        store.write_many(resources=[measured], actor=alice_actor, now=now)
    risks = [
        {
            "resourceType": "RiskAssessment",
            "id": f"risk-{number}",
            "status": "final",
            "subject": {"reference": "Patient/a"},
            "prediction": [{"probabilityDecimal": value} for value in values],
        }
        for number, values in enumerate([[0.5, 0.1], [0.2], [], [0.05], [0.2]])
    ]
    for risk in risks:
        if not risk["prediction"]:
            del risk["prediction"]
        store.write_many(resources=[risk], actor=alice_actor, now=now)


def pages(kind: str, asked: str, now: datetime) -> list[list[str]]:
    """Read all pages, and back to the first; both ways hold the same."""
    seen: list[list[str]] = []
    following, page = asked, None
    while following:
        page = search(resource_type=kind, query=following, now=now, strict=True)
        seen.append([entry.id for entry in page.entries])
        following = page.next_query or ""
    back, previous = [], (page.prev_query if page else None) or ""
    while previous:
        page = search(resource_type=kind, query=previous, now=now, strict=True)
        back.append([entry.id for entry in page.entries])
        previous = page.prev_query or ""
    assert back == seen[-2::-1]
    return seen


def sorted_whole(kind: str, asked: str, now: datetime) -> list[str]:
    """Return the ids as a sort of everything that matches has them."""
    request = parse(kind, asked)
    context = SearchContext(active_project()[1], now)
    statement = query.page_statement(request, matching(request, context), context)
    return [row[2].decode() for row in fetch_all([statement])[0]]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("steps", [1, 4, 2000])
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("Patient?_sort=family", ["f", "b", "a", "c", "e", "h", "d", "g"]),
        ("Patient?_sort=-family", ["h", "a", "e", "c", "f", "b", "g", "d"]),
        ("Patient?_sort=family,_id", ["f", "b", "a", "c", "e", "h", "d", "g"]),
        ("Patient?_sort=-family,-_id", ["h", "a", "e", "c", "f", "b", "g", "d"]),
        ("Patient?_sort=-family,_id", ["a", "h", "e", "c", "b", "f", "d", "g"]),
        ("Patient?_sort=birthdate,-_id", ["g", "d", "a", "h", "e", "b", "f", "c"]),
        ("RiskAssessment?_sort=probability", ["risk-3", "risk-0", "risk-1", "risk-4", "risk-2"]),
        ("RiskAssessment?_sort=-probability", ["risk-0", "risk-4", "risk-1", "risk-3", "risk-2"]),
        (
            "Observation?_sort=value-date,_id",
            [
                *("open", "day", "year", "later", "a-kg", "again-a-kg", "bare", "below", "coded"),
                *("half-kg", "meter", "none", "other", "two-kg"),
            ],
        ),
    ],
)
def test_what_has_a_value_comes_in_its_order_and_then_the_rest(
    monkeypatch: pytest.MonkeyPatch, now: datetime, steps: int, asked: str, expected: list[str]
) -> None:
    monkeypatch.setattr(walked_values, "_STEPS", ((1000, steps),))
    kind, _, sort = asked.partition("?")
    seen = pages(kind, f"{sort}&_count=3", now)
    assert seen == [expected[start : start + 3] for start in range(0, len(expected), 3)]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("steps", "few", "is_known"),
    [(1, 1, True), (3, 3, False), (2000, 1, True), (2000, 1000, False)],
)
@pytest.mark.parametrize(
    "asked",
    [
        *("Observation?_sort=value-quantity", "Observation?_sort=-value-quantity"),
        *("Observation?_sort=value-date", "Observation?_sort=-value-date"),
        *("Observation?_sort=value-quantity,_id", "Observation?_sort=-value-date,code"),
        *(f"Observation?value-quantity=ge1|{UCUM}|kg", "Observation?value-quantity=ge1&code=m"),
        *("Observation?value-quantity=lt900&_sort=-_id", "RiskAssessment?probability=ge0.1"),
        *("Observation?_sort=value-string", "Observation?_sort=combo-value-quantity"),
        *("Observation?status=final&_sort=value-quantity", "Observation?code=a&_sort=-value-date"),
        *("Patient?gender=male&_sort=family", "Patient?gender=male&_sort=-family,birthdate"),
        *("Patient?gender=other&_sort=family", "Patient?name=b&_sort=-given"),
        *("Patient?_sort=birthdate,family", "Patient?birthdate=ge1951&_sort=family"),
        *("RiskAssessment?patient=a&_sort=probability", "RiskAssessment?patient=b&_sort=-date"),
    ],
)
def test_pages_are_those_of_a_sort_of_everything(
    monkeypatch: pytest.MonkeyPatch,
    now: datetime,
    steps: int,
    few: int,
    asked: str,
    is_known: bool,
) -> None:
    monkeypatch.setattr(walked_values, "_STEPS", ((1000, steps),))
    monkeypatch.setattr(walked_values, "_MORE", 1)
    for module in (query, fixed_pages, service):
        monkeypatch.setattr(module, "FEW", few)
    if is_known:
        monkeypatch.setattr(service, "is_many", lambda _: True)
    kind, _, rest = asked.partition("?")
    seen = pages(kind, f"{rest}&_count=2", now)
    ids = [rid for page in seen for rid in page]
    assert ids == sorted_whole(kind, rest, now)
    assert all(len(page) == 2 for page, _ in pairwise(seen))


@pytest.mark.usefixtures("stored")
def test_a_page_that_is_read_by_values_has_the_total_that_is_asked_for(now: datetime) -> None:
    for asked, total in (("", None), ("&_total=accurate", 14), ("&_total=estimate", 14)):
        found = search(
            resource_type="Observation", query=f"_sort=value-quantity&_count=2{asked}", now=now
        )
        assert found.total == total
    whole = search(resource_type="Observation", query="_sort=value-quantity", now=now)
    assert (whole.total, whole.next_query) == (14, None)


@pytest.mark.usefixtures("stored")
def test_pages_stay_as_they_were_where_others_are_written_and_deleted(
    alice_actor: Actor, now: datetime
) -> None:
    first = search(resource_type="Patient", query="_sort=family&_count=3", now=now)
    assert [entry.id for entry in first.entries] == ["f", "b", "a"]
    early = {"resourceType": "Patient", "id": "new", "name": [{"family": "Aaa"}]}
    store.write_many(resources=[early], actor=alice_actor, now=now)
    store.delete(resource_type="Patient", id="b", actor=alice_actor, now=now)
    second = search(resource_type="Patient", query=first.next_query or "", now=now)
    assert [entry.id for entry in second.entries] == ["c", "e", "h"]
    third = search(resource_type="Patient", query=second.next_query or "", now=now)
    assert [entry.id for entry in third.entries] == ["d", "g"]
    back = search(resource_type="Patient", query=second.prev_query or "", now=now)
    assert [entry.id for entry in back.entries] == ["new", "f", "a"]
