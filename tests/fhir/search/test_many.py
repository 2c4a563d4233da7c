"""Pages of searches that match few and many are the same, whichever way they are read."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from fhir import store
from fhir.search import fixed_pages, many, query, search, service
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope

IDS = [f"p{number}" for number in range(7)]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    many._many.clear()
    fixed_pages._text.cache_clear()
    yield
    many._many.clear()
    fixed_pages._text.cache_clear()


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
    real = service._fetch_counted
    monkeypatch.setattr(
        service,
        "_fetch_counted",
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
