"""`_filter`: the grammar and operators of R4. search_filter.html"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir.search.criterion import CriterionReader
from fhir.search.errors import SearchRefused
from fhir.search.filters import read_filter
from tests.fhir.search.conftest import Ask, Clinic

UCUM = "http://unitsofmeasure.org"


def patient(rid: str, given: str, family: str, born: str, **more: object) -> dict[str, Any]:
    name = [{"given": [given], "family": family}]
    return {"resourceType": "Patient", "id": rid, "name": name, "birthDate": born, **more}


RESOURCES = [
    patient("p1", "Peter", "Müller", "2014-10-10", gender="male"),
    patient("p2", "Petra", "Miller (Jr)", "2014-10-09", gender="female"),
    patient("p3", "Karl", "O'Neil", "2020"),
    {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "1234-5"}]},
        "subject": {"reference": "Patient/p1"},
        "effectivePeriod": {"start": "2020-01-01", "end": "2020-01-31"},
        "valueQuantity": {"value": 5, "system": UCUM, "code": "cm"},
    },
    {
        "resourceType": "Observation",
        "id": "o2",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "6"}]},
        "subject": {"reference": "Patient/p2"},
        "effectiveDateTime": "2021",
    },
    {
        "resourceType": "ValueSet",
        "id": "v",
        "status": "draft",
        "url": "http://a.example/ValueSet/b",
    },
]


@pytest.fixture
def ask(clinic: Clinic) -> Ask:
    return clinic(RESOURCES)


FOUND = [
    ("Patient", 'name co "et"', ["p1", "p2"]),
    ("Patient", 'given eq "peter" and birthdate ge 2014-10-10', ["p1"]),
    ("Patient", "given eq pet", []),
    ("Patient", "given sw pet", ["p1", "p2"]),
    ("Patient", "given ew RA", ["p2"]),
    ("Patient", "given ne peter", ["p2", "p3"]),
    ("Patient", 'family eq "miller (jr)"', ["p2"]),
    ("Patient", "gender eq male", ["p1"]),
    ("Patient", "gender ne male", ["p2"]),
    ("Patient", "gender pr false", ["p3"]),
    ("Patient", "gender pr true", ["p1", "p2"]),
    ("Patient", "not (gender eq male)", ["p2", "p3"]),
    ("Patient", "not(gender eq male or given eq karl)", ["p2"]),
    # from left to right, without precedence
    ("Patient", "given eq peter or given eq petra and gender eq female", ["p2"]),
    ("Patient", "given eq peter or (given eq petra and gender eq female)", ["p1", "p2"]),
    ("Patient", "birthdate lt 2014-10-10", ["p2"]),
    ("Patient", "birthdate gt 2014-10-10", ["p3"]),
    ("Patient", "birthdate sa 2014 or birthdate eb 2014-10-10", ["p2", "p3"]),
    ("Patient", "birthdate eq 2014", ["p1", "p2"]),
    ("Patient", "birthdate ne 2014", ["p3"]),
    ("Patient", "birthdate po 2020-05", ["p3"]),
    ("Patient", "id eq p2 or _id eq p3", ["p2", "p3"]),
    ("Patient", "_lastUpdated ge 2026", ["p1", "p2", "p3"]),
    ("Patient", "_has:Observation:patient:code eq 1234-5", ["p1"]),
    ("Observation", "code eq http://loinc.org|1234-5", ["o1"]),
    ("Observation", 'subject:Patient.name co "pet"', ["o1", "o2"]),
    ("Observation", "subject.id eq p1", ["o1"]),
    ("Observation", "patient.gender eq female", ["o2"]),
    ("Observation", "patient[gender eq male].name sw pet", ["o1"]),
    (
        "Observation",
        "patient[gender eq male or gender eq female].birthdate lt 2014-10-10",
        ["o2"],
    ),
    ("Observation", "subject re Patient/p1", ["o1"]),
    ("Observation", "subject eq Patient/p2", ["o2"]),
    ("Observation", "subject ne Patient/p2", ["o1"]),
    ("Observation", "date po 2020-01-15", ["o1"]),
    ("Observation", "date po 2020-02", []),
    ("Observation", f"value-quantity lt 0.06|{UCUM}|m", ["o1"]),
    ("Observation", f"code-value-quantity eq 1234-5$5|{UCUM}|cm", ["o1"]),
    ("ValueSet", "url eq http://a.example/ValueSet/b", ["v"]),
    ("ValueSet", "url sw http://a.example/", ["v"]),
    ("ValueSet", "url co example", ["v"]),
    ("ValueSet", "url ew b", ["v"]),
    ("ValueSet", "url ne http://a.example/ValueSet/b", []),
]


def test_filters_find(ask: Ask) -> None:
    wrong = {
        (kind, text): found
        for kind, text, ids in FOUND
        if (found := ask(kind, f"_filter={text}")) != ids
    }
    assert wrong == {}


def test_a_filter_stands_beside_other_parameters(ask: Ask) -> None:
    assert ask("Patient", "gender=male&_filter=given sw pet") == ["p1"]
    assert ask("Patient", "_filter=given sw pet&_filter=gender eq female") == ["p2"]


NO_FILTERS = [
    *("name", "name co", "name xx y", "(name co y", "name co y)", "and", "name co y and"),
    *('name co "unclosed', "nothing eq 1", "name gt x", "gender co m", "birthdate co 2"),
    *("gender pr maybe", "name.given eq x", "organization[name eq x", "not gender eq male"),
    *("organization[name eq x]name eq y", "name:exact eq x", '"name" eq x', "birthdate eq x"),
    *("(" * 40 + "name co x" + ")" * 40, " or ".join(["name co x"] * 300), "gender po male"),
    *(
        r'name co "\ud800"',
        r'name co "\u0000"',
        r'name co "\x"',
        "a[b].c",
        "_has:Observation eq x",
    ),
    *("partof eq 1", "organization." * 20 + "name eq x"),
]


def test_what_is_no_filter_is_refused(ask: Ask) -> None:
    for text in NO_FILTERS:
        with pytest.raises(SearchRefused):
            ask("Patient", f"_filter={text}")


@given(st.text(max_size=40) | st.text(alphabet='nameco "()[].eqandnot', max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_filter("Patient", text, CriterionReader())
    except SearchRefused:
        return
