"""Pages of searches that match few and many are the same, whichever way they are read."""

from datetime import datetime, timedelta

import pytest

from fhir import store
from fhir.search import fixed_pages, many, query, search, service
from fhir.search.context import SearchContext
from fhir.search.parser import parse
from fhir.search.query import matching
from fhir.sql import fetch_all
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope, active_project

pytestmark = pytest.mark.usefixtures("nothing_remembered")
IDS = [f"p{number}" for number in range(7)]


@pytest.fixture
def patients(in_riverside: Scope, alice_actor: Actor, now: datetime) -> None:
    for number, rid in enumerate(IDS):
        patient = {
            "resourceType": "Patient",
            "id": rid,
            "gender": "female",
            "birthDate": f"198{number}-01-01",
            "name": [{"family": "Many"}],
            "link": [{"other": {"reference": "Patient/p0"}, "type": "seealso"}],
        }
        measured = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
            "subject": {"reference": f"Patient/{rid}"},
        }
        moment = now + timedelta(minutes=number)
        store.write_many(resources=[patient, measured], actor=alice_actor, now=moment)


@pytest.mark.usefixtures("patients")
@pytest.mark.parametrize(("few", "steps"), [(3, 4), (3, 5000), (7, 4), (8, 4), (1000, 5000)])
@pytest.mark.parametrize(
    "criteria",
    [
        "gender=female",
        "name=many&gender=female",
        "name=many",
        "_id=" + ",".join(IDS),
        "_has:Observation:patient:code=8310-5",
        "_has:Observation:patient:code=8310-5&gender:not=male",
        "link:Patient.name=many",
        "link:Patient._id=p0&gender=female",
        "birthdate=ge1980&gender=female",
        "birthdate=" + ",".join(f"198{number}-01-01" for number in range(7)),
        "link:Patient.birthdate=lt1990&gender=female",
        "birthdate=ge1980&name=many",
        "link:Patient.name=many&name=many",
        "_has:Observation:patient:code=8310-5&name=many&birthdate=lt1990",
    ],
)
@pytest.mark.parametrize(
    "sort", ["", "&_sort=birthdate", "&_sort=-birthdate", "&_sort=family,-_id"]
)
def test_pages_follow_each_other_both_ways(
    monkeypatch: pytest.MonkeyPatch, now: datetime, few: int, steps: int, criteria: str, sort: str
) -> None:
    monkeypatch.setattr(fixed_pages, "_STEPS", ((1000, steps),))
    monkeypatch.setattr(fixed_pages, "_FEWER", 1)
    for module in (query, fixed_pages, service):
        monkeypatch.setattr(module, "FEW", few)
    forwards = sort == "&_sort=birthdate"
    expected = IDS if forwards else IDS[::-1]
    asked = f"{criteria}{sort}&_count=3&_total=accurate"
    seen, back, page = [], [], None
    while page is None or asked:
        page = search(resource_type="Patient", query=asked or "", now=now)
        assert page.total == 7
        seen.append([entry.id for entry in page.entries])
        asked = page.next_query or ""
    assert seen == [expected[:3], expected[3:6], expected[6:]]
    asked = page.prev_query or ""
    while asked:
        page = search(resource_type="Patient", query=asked, now=now)
        back.append([entry.id for entry in page.entries])
        asked = page.prev_query or ""
    assert back == [expected[3:6], expected[:3]]


@pytest.mark.usefixtures("patients")
def test_what_matched_many_is_planned_for_its_values_for_a_while(
    monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    for module in (query, fixed_pages, service):
        monkeypatch.setattr(module, "FEW", 3)
    asked: list[str] = []
    real = service._fetch_few
    monkeypatch.setattr(
        service,
        "_fetch_few",
        lambda *given: asked.append(given[0].resource_type) or real(*given),
    )
    for _ in range(2):
        found = search(resource_type="Patient", query="gender=female", now=now)
        assert [entry.id for entry in found.entries] == IDS[::-1]
    assert asked == ["Patient"]
    search(resource_type="Patient", query="gender=male", now=now)
    assert len(asked) == 2
    monkeypatch.setattr(many, "SECONDS", -1.0)
    search(resource_type="Patient", query="gender=female", now=now)
    assert len(asked) == 3


@pytest.mark.usefixtures("patients")
@pytest.mark.parametrize("few", [3, 1000])
def test_nothing_found_has_a_total_of_none(
    monkeypatch: pytest.MonkeyPatch, now: datetime, few: int
) -> None:
    for module in (query, fixed_pages, service):
        monkeypatch.setattr(module, "FEW", few)
    found = search(resource_type="Patient", query="gender=male&_total=accurate", now=now)
    assert (found.entries, found.total, found.next_query) == ([], 0, None)


@pytest.mark.usefixtures("patients")
@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize(
    "asked",
    [
        *("Patient?birthdate=1983", "Patient?birthdate=1983-01-01", "Patient?birthdate=ne1983"),
        *("Patient?birthdate=ge1983-01-01&birthdate=le1983-01-20", "Patient?birthdate=eb1983"),
        *("Patient?birthdate=gt1983-01-01&birthdate=lt1983-01-20", "Patient?birthdate=sa1983"),
        *("Patient?birthdate=gt1982-12-31&birthdate=lt1983-01-02&gender=female",),
        *("Patient?birthdate=ge1983&gender=female", "Patient?birthdate=ge1983&gender=male"),
        *("Patient?birthdate=1983-01-01,1984-01-01&gender:not=male", "Patient?name=many"),
        *("Patient?name:exact=Many&birthdate=lt1983", "Patient?_id=p3,p4&birthdate=lt1984"),
        *("Patient?_has:Observation:patient:code=8310-5&birthdate=gt1984", "Patient?_id=none"),
        *("Patient?_has:Observation:patient:code=other", "Patient?family=m&given:missing=true"),
        *("Observation?patient.birthdate=lt1983&code=8310-5", "Observation?patient.name=many"),
        *("Observation?patient=p3", "Observation?patient=p3,p4&code=8310-5"),
        *("Observation?patient=p3&code:not=8310-5", "Observation?patient=p3&patient.name=many"),
        *("Observation?subject:Patient.link=Patient/p0", "Patient?link:Patient.birthdate=1980"),
    ],
)
def test_what_is_found_is_the_same_however_it_is_planned(
    monkeypatch: pytest.MonkeyPatch, now: datetime, asked: str, is_known: bool
) -> None:
    kind, _, text = asked.partition("?")
    request = parse(kind, text)
    context = SearchContext(active_project()[1], now)
    plain = matching(request, context)
    expected = fetch_all([query.page_statement(request, plain, context)])[0]
    monkeypatch.setattr(service, "is_many", lambda _: is_known)
    found = search(resource_type=kind, query=text, now=now)
    assert [entry.id for entry in found.entries] == [row[2].decode() for row in expected]
