"""Searches against stored resources: each kind of parameter, modifiers, chains, pages, includes."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import connections

from fhir import store
from fhir.search import first, search
from fhir.search.errors import SearchRefused, UnknownSearchParameter, UnsupportedSearch
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope, tenant_scope

Find = Callable[..., list[str]]
LOINC = "http://loinc.org"
TAG = "https://healthcloud.dev/fhir/tag/"
TESTED = "_has:Observation:patient:code=8480-6"


def observation(rid: str, patient: str, code: str, when: str, value: float) -> dict[str, object]:
    return {
        "resourceType": "Observation",
        "id": rid,
        "status": "final" if rid != "o3" else "amended",
        "category": [{"coding": [{"code": "vital-signs", "display": "Vital Signs"}]}],
        "code": {"coding": [{"system": LOINC, "code": code, "display": f"Test {code}"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": when,
        "valueQuantity": {
            "value": value,
            "unit": "mmHg",
            "system": "http://unitsofmeasure.org",
            "code": "mm[Hg]",
        },
    }


RESOURCES: list[dict[str, object]] = [
    {
        "resourceType": "Patient",
        "id": "p1",
        "active": True,
        "identifier": [
            {
                "type": {"coding": [{"system": "http://t", "code": "MR"}]},
                "system": "urn:mrn",
                "value": "A-7",
            }
        ],
        "name": [{"family": "Müller", "given": ["Anna", "Maria"]}],
        "gender": "female",
        "birthDate": "1980-02-29",
        "telecom": [{"system": "phone", "value": "555-1"}],
        "managingOrganization": {"reference": "Organization/org1"},
    },
    {
        "resourceType": "Patient",
        "id": "p2",
        "name": [{"family": "Mullen", "given": ["Bo"]}],
        "gender": "male",
        "birthDate": "1980-03",
    },
    {"resourceType": "Patient", "id": "p3", "name": [{"family": "O'Neill, Jr"}], "gender": "male"},
    {"resourceType": "Organization", "id": "org1", "name": "Riverside"},
    observation("o1", "p1", "8480-6", "2026-01-10T10:00:00Z", 120.5),
    observation("o2", "p1", "8462-4", "2026-01-11", 80),
    observation("o3", "p2", "8480-6", "2026-02", 140),
    {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p1"},
        "period": {"start": "2026-01-10T08:00:00Z", "end": "2026-01-12T08:00:00Z"},
    },
    {
        "resourceType": "Encounter",
        "id": "e2",
        "status": "in-progress",
        "class": {"code": "AMB"},
        "subject": {"identifier": {"system": "urn:mrn", "value": "A-7"}},
        "period": {"start": "2026-02-01T08:00:00Z"},
    },
    {
        "resourceType": "ValueSet",
        "id": "v1",
        "url": "http://example.org/fhir/vs/one",
        "status": "draft",
    },
    {
        "resourceType": "RiskAssessment",
        "id": "r1",
        "status": "final",
        "subject": {"reference": "Patient/p1"},
        "prediction": [{"probabilityDecimal": 0.25}],
    },
]


@pytest.fixture
def find(in_riverside: Scope, alice_actor: Actor, now: datetime) -> Find:
    """Search the little clinic above; answer the sorted ids."""
    store.write_many(resources=RESOURCES, actor=alice_actor, now=now)
    connections["default"].send_ahead()  # the trail of the writes is no query of the search

    def run(resource_type: str, query: str) -> list[str]:
        result = search(resource_type=resource_type, query=query, now=now, strict=True)
        return sorted(entry.id for entry in result.entries)

    return run


@pytest.mark.parametrize(
    ("resource_type", "query", "ids"),
    [
        ("Patient", "", ["p1", "p2", "p3"]),
        # token
        ("Patient", "gender=male", ["p2", "p3"]),
        ("Patient", "gender=MALE,female", ["p1", "p2", "p3"]),
        ("Patient", "gender=http://hl7.org/fhir/administrative-gender|female", ["p1"]),
        ("Patient", "gender:not=male", ["p1"]),
        ("Patient", "identifier=urn:mrn|A-7", ["p1"]),
        ("Patient", "identifier=A-7", ["p1"]),
        ("Patient", "identifier=urn:mrn|", ["p1"]),
        ("Patient", "identifier=|A-7", []),
        ("Patient", "identifier:of-type=http://t|MR|A-7", ["p1"]),
        ("Patient", "identifier:missing=true", ["p2", "p3"]),
        ("Patient", "identifier:missing=false", ["p1"]),
        ("Patient", "active=true", ["p1"]),
        ("Patient", "phone=555-1", ["p1"]),
        ("Observation", f"code={LOINC}|8480-6", ["o1", "o3"]),
        ("Observation", "code=8480-6&status=final", ["o1"]),
        ("Observation", "code:text=test 84", ["o1", "o2", "o3"]),
        ("Observation", "category:text=signs", ["o1", "o2", "o3"]),
        # string
        ("Patient", "family=mul", ["p1", "p2"]),
        ("Patient", "family=MÜLLER", ["p1"]),
        ("Patient", "family:exact=Müller", ["p1"]),
        ("Patient", "family:exact=Muller", []),
        ("Patient", "family:contains=LLE", ["p1", "p2"]),
        ("Patient", "name=anna", ["p1"]),
        ("Patient", "given=maria", ["p1"]),
        ("Patient", r"family=O'Neill\, Jr", ["p3"]),
        ("Patient", "family=bo,o'neill", ["p3"]),
        # id and time
        ("Patient", "_id=p1,p3", ["p1", "p3"]),
        ("Patient", "_lastUpdated=2026-11-22", ["p1", "p2", "p3"]),
        ("Patient", "_lastUpdated=lt2026-11-22", []),
        (
            "Patient",
            f"_tag={TAG}environment|sandbox",
            ["p1", "p2", "p3"],
        ),
        # date
        ("Patient", "birthdate=1980-02-29", ["p1"]),
        ("Patient", "birthdate=1980", ["p1", "p2"]),
        ("Patient", "birthdate=1980-03-01", []),
        ("Patient", "birthdate=ge1980-03-01", ["p2"]),
        ("Patient", "birthdate=lt1980-03", ["p1"]),
        ("Patient", "birthdate:missing=true", ["p3"]),
        ("Observation", "date=2026-01", ["o1", "o2"]),
        ("Observation", "date=ge2026-01-11&date=le2026-01-31", ["o2"]),
        ("Observation", "date=sa2026-01-11", ["o3"]),
        ("Observation", "date=eb2026-01-11", ["o1"]),
        ("Observation", "date=ne2026-01-11", ["o1", "o3"]),
        ("Encounter", "date=2026-01-11", []),
        ("Encounter", "date=gt2026-01-11", ["e1", "e2"]),
        ("Encounter", "date=lt2026-01-11", ["e1"]),
        ("Encounter", "date=ge2027", ["e2"]),
        ("Encounter", "date=ap2026-01-11", ["e1", "e2"]),
        # quantity and number
        ("Observation", "value-quantity=120.5", ["o1"]),
        ("Observation", "value-quantity=120", []),
        ("Observation", "value-quantity=1.4e2", ["o3"]),
        ("Observation", "value-quantity=gt100", ["o1", "o3"]),
        ("Observation", "value-quantity=le80|http://unitsofmeasure.org|mm[Hg]", ["o2"]),
        ("Observation", "value-quantity=80||mmHg", ["o2"]),
        ("Observation", "value-quantity=80||kPa", []),
        ("Observation", "value-quantity=ap130", ["o1", "o3"]),
        ("RiskAssessment", "probability=0.25", ["r1"]),
        ("RiskAssessment", "probability=gt0.2", ["r1"]),
        ("RiskAssessment", "probability=gt0.25", []),
        # reference
        ("Observation", "subject=Patient/p1", ["o1", "o2"]),
        ("Observation", "patient=p1", ["o1", "o2"]),
        ("Observation", "subject:Patient=p2", ["o3"]),
        ("Observation", "patient=Patient/p1,Patient/p2", ["o1", "o2", "o3"]),
        ("Encounter", "subject:identifier=urn:mrn|A-7", ["e2"]),
        ("Patient", "organization=Organization/org1", ["p1"]),
        # uri
        ("ValueSet", "url=http://example.org/fhir/vs/one", ["v1"]),
        ("ValueSet", "url=http://example.org/fhir/vs", []),
        ("ValueSet", "url:below=http://example.org/fhir/", ["v1"]),
        ("ValueSet", "url:above=http://example.org/fhir/vs/one/two", ["v1"]),
        # composite
        ("Observation", "code-value-quantity=8480-6$gt130", ["o3"]),
        ("Observation", f"code-value-quantity={LOINC}|8462-4$gt100", []),
        # chains and _has
        ("Observation", "patient.family=müller", ["o1", "o2"]),
        ("Observation", "subject:Patient.gender=male", ["o3"]),
        ("Observation", "patient.organization.name=river", ["o1", "o2"]),
        ("Observation", "subject:Patient.birthdate=ge1980-03", ["o3"]),
        ("Patient", "organization.name=riverside", ["p1"]),
        ("Patient", "_has:Observation:patient:code=8462-4", ["p1"]),
        ("Patient", "_has:Observation:subject:value-quantity=gt130", ["p2"]),
        ("Organization", "_has:Patient:organization:family=muller", ["org1"]),
        (
            "Organization",
            f"_has:Patient:organization:{TESTED}",
            ["org1"],
        ),
    ],
)
def test_search_finds(find: Find, resource_type: str, query: str, ids: list[str]) -> None:
    assert find(resource_type, query.replace("+", "%2B")) == ids


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("favourite=blue", UnknownSearchParameter),
        ("birthdate=yesterday", SearchRefused),
        ("birthdate=2021-02-30", SearchRefused),
        ("birthdate=10000", SearchRefused),
        ("family:below=x", SearchRefused),
        ("family:nonsense=x", SearchRefused),
        ("gender.family=x", SearchRefused),
        ("_count=-1", SearchRefused),
        ("_sort=_nonsense", UnknownSearchParameter),
        ("_total=exactly", SearchRefused),
        ("_include=Patient:gender", SearchRefused),
        ("_include=nonsense", SearchRefused),
        ("_has:Observation:patient=x", SearchRefused),
        ("_has:Observation:code:code=1", SearchRefused),
        ("_cursor=AAAA", SearchRefused),
        ("identifier:of-type=x", SearchRefused),
        ("active:missing=maybe", SearchRefused),
        ("_query=x", UnsupportedSearch),
        ("family=a%00b", SearchRefused),
        ("_id=%00", SearchRefused),
    ],
)
def test_what_cannot_be_read_is_refused(find: Find, query: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        find("Patient", query)


def test_unknown_parameters_are_ignored_when_lenient(find: Find, now: datetime) -> None:
    result = search(resource_type="Patient", query="favourite=blue&gender=female", now=now)
    assert [entry.id for entry in result.entries] == ["p1"]
    assert [ignored.name for ignored in result.ignored] == ["favourite"]
    assert result.self_query == "gender=female"


@pytest.mark.parametrize(
    ("sort", "ids"),
    [
        ("-date", ["o3", "o2", "o1"]),
        ("date", ["o1", "o2", "o3"]),
        ("status,-date", ["o3", "o2", "o1"]),
        ("value-quantity", ["o2", "o1", "o3"]),
        ("_id", ["o1", "o2", "o3"]),
        ("-_id", ["o3", "o2", "o1"]),
    ],
)
def test_sort(find: Find, now: datetime, sort: str, ids: list[str]) -> None:
    result = search(resource_type="Observation", query=f"_sort={sort}", now=now)
    assert [entry.id for entry in result.entries] == ids


def test_missing_values_sort_last_either_way(find: Find, now: datetime) -> None:
    for sort in ("birthdate", "-birthdate"):
        result = search(resource_type="Patient", query=f"_sort={sort}", now=now)
        assert result.entries[-1].id == "p3"


@pytest.mark.parametrize("sort", ["", "date", "-date", "status,-date", "-value-quantity", "_id"])
def test_pages_hold_each_match_once(
    find: Find, alice_actor: Actor, now: datetime, sort: str
) -> None:
    more = [observation(f"x{n}", "p1", "1-1", f"2026-03-{n % 9 + 1:02}", n % 4) for n in range(25)]
    store.write_many(resources=more, actor=alice_actor, now=now + timedelta(seconds=1))
    query: str | None = f"code=1-1&_count=7&_sort={sort}"
    seen: list[str] = []
    pages = 0
    while query is not None:
        result = search(resource_type="Observation", query=query, now=now)
        seen += [entry.id for entry in result.entries]
        query = result.next_query
        pages += 1
    assert pages == 4
    assert sorted(seen) == sorted(str(entry["id"]) for entry in more)
    query = f"code=1-1&_count=99&_sort={sort}"
    everything = search(resource_type="Observation", query=query, now=now)
    assert [entry.id for entry in everything.entries] == seen


def test_totals(find: Find, now: datetime) -> None:
    def total(query: str) -> int | None:
        return search(resource_type="Observation", query=query, now=now).total

    assert total("") == 3  # all matches are on the page
    assert total("_count=3") == 3
    assert total("_total=none") is None
    assert total("_count=2") is None
    assert total("code=8480-6&_include=Observation:subject") == 2
    assert total("code=nothing") == 0
    assert total("_total=accurate&_count=1") == 3
    assert total("_summary=count&code=8480-6") == 2
    assert total("_count=0") == 3


def test_a_search_is_one_round_trip(
    find: Find, now: datetime, django_assert_num_queries: Callable[[int], object]
) -> None:
    with django_assert_num_queries(1):
        search(resource_type="Observation", query="patient=p1&_sort=-date&_total=accurate", now=now)
    with django_assert_num_queries(2):
        search(
            resource_type="Observation",
            query="_include=Observation:subject&_revinclude=Provenance:target",
            now=now,
        )


@pytest.mark.parametrize(
    ("resource_type", "query", "ids"),
    [
        ("Observation", "_id=o1&_include=Observation:subject", ["p1"]),
        ("Observation", "_id=o1&_include=Observation:*", ["p1"]),
        ("Observation", "_id=o1&_include=Observation:subject:Group", []),
        (
            "Observation",
            "_id=o1&_include=Observation:subject&_include:iterate=Patient:organization",
            ["org1", "p1"],
        ),
        ("Patient", "_id=p1&_revinclude=Observation:subject", ["o1", "o2"]),
        ("Patient", "_id=p2&_revinclude=Observation:*", ["o3"]),
    ],
)
def test_includes(
    find: Find, now: datetime, resource_type: str, query: str, ids: list[str]
) -> None:
    result = search(resource_type=resource_type, query=query, now=now)
    assert sorted(entry.id for entry in result.included) == ids


def test_first_answers_one_or_none(find: Find, now: datetime) -> None:
    found = first(resource_type="Observation", query="patient=p1&_sort=-date", now=now)
    assert found is not None
    assert found.id == "o2"
    assert first(resource_type="Observation", query="patient=nobody", now=now) is None


def test_deleted_and_replaced_values_are_not_found(
    find: Find, alice_actor: Actor, now: datetime
) -> None:
    store.delete(resource_type="Observation", id="o1", actor=alice_actor, now=now)
    assert find("Observation", "code=8480-6") == ["o3"]
    changed = observation("o3", "p1", "9-9", "2027-01-01", 1)
    store.update(resource_type="Observation", id="o3", resource=changed, actor=alice_actor, now=now)
    assert find("Observation", "code=8480-6") == []
    assert find("Observation", "date=2026-02") == []
    assert find("Observation", "value-quantity=140") == []
    assert find("Observation", "patient=p1") == ["o2", "o3"]


def test_other_scopes_find_nothing(
    find: Find,
    lakeside_scope: Scope,
    riverside_production_scope: Scope,
    riverside_referrals_scope: Scope,
    now: datetime,
) -> None:
    for scope in (lakeside_scope, riverside_production_scope, riverside_referrals_scope):
        with tenant_scope(scope):
            for query in ("", "_id=p1", "identifier=A-7", "family=m", "_summary=count"):
                result = search(resource_type="Patient", query=query, now=now)
                assert result.entries == []
                assert result.total in {None, 0}
            chained = "_has:Observation:patient:code=8480-6"
            assert search(resource_type="Patient", query=chained, now=now).entries == []
