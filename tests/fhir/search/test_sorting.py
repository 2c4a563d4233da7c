"""`_sort` by every type of parameter, and pages in both directions. search.html#_sort"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from fhir import store
from fhir.definitions import resource_types, search_parameters
from fhir.search import search
from fhir.search.errors import SearchRefused
from fhir.search.parser import parse
from fhir.search.request import types_touched
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope

Order = Callable[[str, str], list[str]]


def observation(rid: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": rid,
        "status": "final",
        "code": {"coding": [{"system": "http://l", "code": rid}]},
        **more,
    }


def weight(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}


RESOURCES: list[dict[str, Any]] = [
    observation(
        "a",
        code={
            "coding": [{"system": "http://z", "code": "b-1"}, {"system": "http://a", "code": "X"}]
        },
        subject={"reference": "Patient/2"},
        valueQuantity=weight(2, "kg"),
        identifier=[{"system": "urn:s", "value": "007"}, {"value": "900"}],
    ),
    observation(
        "b",
        code={"coding": [{"system": "http://a", "code": "C-1"}]},
        subject={"reference": "Patient/1"},
        valueQuantity=weight(500, "g"),
        identifier=[{"system": "urn:z", "value": "003"}],
    ),
    observation(
        "c",
        code={"text": "Anything"},
        subject={"identifier": {"value": "A9"}},
        identifier=[{"value": "100"}],
    ),
    observation("d", code={"coding": [{"display": "bx"}]}, valueQuantity=weight(1, "kg")),
    {"resourceType": "Patient", "id": "1", "deceasedBoolean": False, "active": True},
    {"resourceType": "Patient", "id": "2", "deceasedDateTime": "2020", "active": False},
    {"resourceType": "Patient", "id": "3"},
    {"resourceType": "ValueSet", "id": "v1", "status": "draft", "url": "http://b/1"},
    {"resourceType": "ValueSet", "id": "v2", "status": "active", "url": "http://a/2"},
    {"resourceType": "ValueSet", "id": "v3", "status": "active"},
]


@pytest.fixture
def order(in_riverside: Scope, alice_actor: Actor, now: datetime) -> Order:
    store.write_many(resources=RESOURCES, actor=alice_actor, now=now)

    def run(kind: str, sort: str) -> list[str]:
        result = search(resource_type=kind, query=f"_sort={sort}", now=now, strict=True)
        return [entry.id for entry in result.entries]

    return run


@pytest.mark.parametrize(
    ("kind", "sort", "ids"),
    [
        ("Observation", "code,_id", ["c", "a", "d", "b"]),
        ("Observation", "-code,_id", ["a", "b", "d", "c"]),
        ("Observation", "combo-code,_id", ["c", "a", "d", "b"]),
        ("Observation", "identifier", ["b", "a", "c", "d"]),
        ("Observation", "-identifier", ["a", "c", "b", "d"]),
        ("Observation", "subject", ["c", "b", "a", "d"]),
        ("Observation", "-subject", ["a", "b", "c", "d"]),
        ("Observation", "patient,_id", ["b", "a", "c", "d"]),
        ("Observation", "value-quantity", ["b", "d", "a", "c"]),
        ("Observation", "-value-quantity", ["a", "d", "b", "c"]),
        ("Observation", "status,-_id", ["d", "c", "b", "a"]),
        ("Patient", "deceased", ["1", "2", "3"]),
        ("Patient", "-deceased", ["2", "1", "3"]),
        ("Patient", "active", ["2", "1", "3"]),
        ("ValueSet", "url", ["v2", "v1", "v3"]),
        ("ValueSet", "-url", ["v1", "v2", "v3"]),
        ("ValueSet", "status&_sort=-_id", ["v3", "v2", "v1"]),
    ],
)
def test_every_type_of_parameter_has_an_order(
    order: Order, kind: str, sort: str, ids: list[str]
) -> None:
    assert order(kind, sort) == ids


def test_each_parameter_of_r4_sorts_or_says_that_it_has_no_order(order: Order) -> None:
    refused = set()
    for kind in resource_types():
        for code, parameter in search_parameters(kind).items():
            if parameter.expression is None:
                continue
            try:
                order(kind, f"-{code},{code}")
            except SearchRefused:
                refused.add(parameter.type)
    assert refused == {"composite", "special"}


@pytest.mark.parametrize(
    "sort", ["", "code", "-identifier", "status,-value-quantity", "-_id", "date,-code"]
)
def test_pages_lead_back_to_where_they_came_from(
    order: Order, alice_actor: Actor, now: datetime, sort: str
) -> None:
    more = [observation(f"x{n:02}", valueQuantity=weight(n % 4, "kg")) for n in range(19)]
    store.write_many(resources=more, actor=alice_actor, now=now + timedelta(seconds=1))
    query: str | None = f"_count=5&_sort={sort}"
    pages: list[list[str]] = []
    back: str | None = None
    while query is not None:
        result = search(resource_type="Observation", query=query, now=now)
        pages.append([entry.id for entry in result.entries])
        assert (result.prev_query is None) == (len(pages) == 1)
        query, back = result.next_query, result.prev_query
    assert [len(page) for page in pages] == [5, 5, 5, 5, 3]
    before = pages[:-1]
    while back is not None:
        result = search(resource_type="Observation", query=back, now=now)
        assert [entry.id for entry in result.entries] == before.pop()
        assert result.next_query is not None
        back = result.prev_query
    assert before == []


@pytest.fixture
def stored(alice_client: APIClient) -> None:
    for resource in RESOURCES:
        address = f"/v1/fhir/{resource['resourceType']}/{resource['id']}"
        assert alice_client.put(address, resource, format="json").status_code == 201


def test_links_lead_through_a_search_that_was_posted(stored: None, alice_client: APIClient) -> None:
    form = "code:missing=false&_sort=-code&_count=2&nonsense=1&name="
    answer = alice_client.post(
        "/v1/fhir/Observation/_search?_format=json",
        form,
        content_type="application/x-www-form-urlencoded",
    )
    bundle = answer.json()
    root = "http://testserver/v1/fhir/Observation?code%3Amissing=false&_sort=-code&_count=2"
    links = {link["relation"]: link["url"] for link in bundle["link"]}
    assert links["self"] == f"{root}&_format=json"
    assert links["first"] == f"{root}&_format=json"
    assert set(links) == {"self", "first", "next"}
    assert [entry["resource"].get("id") for entry in bundle["entry"]] == ["a", "b", None]
    second = alice_client.get(links["next"]).json()
    links = {link["relation"]: link["url"] for link in second["link"]}
    assert [entry["resource"]["id"] for entry in second["entry"]] == ["d", "c"]
    assert set(links) == {"self", "first", "previous", "prev"}
    assert links["previous"] == links["prev"]
    back = alice_client.get(links["previous"]).json()
    assert [entry["resource"]["id"] for entry in back["entry"]] == ["a", "b"]
    assert "next" in {link["relation"] for link in back["link"]}


def test_the_link_self_says_what_was_used(stored: None, alice_client: APIClient) -> None:
    asked = "/v1/fhir/Observation?_count=5000&colour=red&code="
    [link] = alice_client.get(asked).json()["link"]
    assert link["url"] == "http://testserver/v1/fhir/Observation?_count=1000"


def test_a_posted_search_is_a_form(stored: None, alice_client: APIClient) -> None:
    address = "/v1/fhir/Patient/_search"
    refused = alice_client.post(address, {"active": "true"}, format="json")
    assert refused.status_code == 415
    assert "x-www-form-urlencoded" in refused.json()["issue"][0]["diagnostics"]
    form = "active=true&_format=xml"
    answer = alice_client.post(address, form, content_type="application/x-www-form-urlencoded")
    assert answer["Content-Type"].startswith("application/fhir+xml")


PEOPLE: list[dict[str, Any]] = [
    {
        "resourceType": "Patient",
        "id": "p-a",
        "name": [{"family": "Zeta"}, {"family": "Alpha"}],
        "gender": "male",
        "birthDate": "1980-01-01",
        "managingOrganization": {"reference": "Organization/o2"},
        "generalPractitioner": [{"reference": "Practitioner/d2"}, {"reference": "Practitioner/d1"}],
    },
    {
        "resourceType": "Patient",
        "id": "p-b",
        "name": [{"family": "Beta"}],
        "gender": "female",
        "birthDate": "1990-01-01",
        "managingOrganization": {"reference": "Organization/o1"},
        "generalPractitioner": [{"reference": "Organization/o1"}],
    },
    {"resourceType": "Patient", "id": "p-c"},
    {"resourceType": "Organization", "id": "o1", "name": "Mercy"},
    {"resourceType": "Organization", "id": "o2", "name": "Grace"},
    {"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Able"}]},
    {"resourceType": "Practitioner", "id": "d2", "name": [{"family": "Young"}]},
    observation("of-a", subject={"reference": "Patient/p-a"}),
    observation("of-b", subject={"reference": "Patient/p-b"}),
    observation("of-c", subject={"reference": "Patient/p-c"}),
    observation("of-d"),
]


@pytest.mark.parametrize(
    ("kind", "sort", "ids"),
    [
        ("Observation", "patient.family,_id", ["of-a", "of-b", "of-c", "of-d"]),
        ("Observation", "-patient.family,_id", ["of-a", "of-b", "of-c", "of-d"]),
        ("Observation", "subject:Patient.birthdate,_id", ["of-a", "of-b", "of-c", "of-d"]),
        ("Observation", "-subject:Patient.birthdate,_id", ["of-b", "of-a", "of-c", "of-d"]),
        ("Observation", "Patient:subject.gender,_id", ["of-b", "of-a", "of-c", "of-d"]),
        ("Observation", "patient.organization,-_id", ["of-b", "of-a", "of-d", "of-c"]),
        ("Observation", "-patient._id,_id", ["of-c", "of-b", "of-a", "of-d"]),
        ("Patient", "organization.name,_id", ["p-a", "p-b", "p-c"]),
        ("Patient", "-organization.name,_id", ["p-b", "p-a", "p-c"]),
        ("Patient", "Practitioner:general-practitioner.family,_id", ["p-a", "p-b", "p-c"]),
        ("Patient", "general-practitioner:Organization.name,_id", ["p-b", "p-a", "p-c"]),
    ],
)
def test_what_a_reference_leads_to_is_an_order(
    in_riverside: Scope, alice_actor: Actor, now: datetime, kind: str, sort: str, ids: list[str]
) -> None:
    store.write_many(resources=PEOPLE, actor=alice_actor, now=now)
    pages: list[str] = []
    query: str | None = f"_sort={sort}&_count=2"
    while query is not None:
        found = search(resource_type=kind, query=query, now=now, strict=True)
        pages += [entry.id for entry in found.entries]
        query = found.next_query
    assert pages == ids
    back = search(resource_type=kind, query=found.prev_query or "", now=now, strict=True)
    assert [entry.id for entry in back.entries] == ids[:2]


@pytest.mark.parametrize(
    ("sort", "message"),
    [
        ("subject:Patient.organization.name", "follows one reference"),
        ("subject.identifier", "may lead to Device or Group or"),
        ("code.text", "is no reference"),
        ("patient.nothing", "no search parameter `nothing`"),
        ("patient._lastUpdated", "of the resource itself"),
        ("patient._text", "has no order"),
        ("Patient:nothing.name", "no search parameter `nothing`"),
    ],
)
def test_what_is_no_order_behind_a_reference_is_refused(
    in_riverside: Scope, now: datetime, sort: str, message: str
) -> None:
    with pytest.raises(SearchRefused, match=message):
        search(resource_type="Observation", query=f"_sort={sort}", now=now, strict=True)


def test_an_order_behind_a_reference_touches_its_type() -> None:
    request = parse("Observation", "_sort=-patient.family")
    assert types_touched(request) == {"Patient"}
