"""`_contained` and `_containedType`. https://hl7.org/fhir/R4/search.html#contained"""

from datetime import datetime
from typing import Any

import orjson
import pytest
from rest_framework.test import APIClient

from fhir import store
from fhir.bundles import searchset
from fhir.search import contained, search
from fhir.search.errors import SearchRefused
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope
from tests.fhir.conftest import ClientFor


def medication(code: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Medication",
        "code": {"coding": [{"system": "urn:rx", "code": code}]},
        **more,
    }


def request(rid: str, *inner: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": rid,
        "status": "active",
        "intent": "order",
        "medicationReference": {"reference": "#m0"},
        "subject": {"reference": "Patient/p1"},
        "supportingInformation": [{"reference": f"#m{n}"} for n in range(len(inner))],
        "contained": [{**resource, "id": f"m{n}"} for n, resource in enumerate(inner)],
    }


RESOURCES = [
    medication("a", id="own", status="active"),
    request("r1", medication("a", status="active"), medication("b", status="inactive")),
    request("r2", medication("b", status="active")),
    request("r3", medication("a", status="inactive"), medication("a", status="active")),
    {
        "resourceType": "Patient",
        "id": "p1",
        "contained": [{"resourceType": "Organization", "id": "o", "name": "House"}],
        "managingOrganization": {"reference": "#o"},
    },
]


@pytest.fixture
def stored(in_riverside: Scope, alice_actor: Actor, now: datetime) -> None:
    store.write_many(resources=RESOURCES, actor=alice_actor, now=now)


def found(query: str, now: datetime, kind: str = "Medication") -> list[str]:
    result = search(resource_type=kind, query=query, now=now, strict=True)
    bundle = orjson.loads(searchset(result, now=now))
    return [
        entry["fullUrl"].partition("/fhir/")[2]
        for entry in bundle.get("entry", ())
        if entry["search"]["mode"] == "match"
    ]


INNER = "_contained=true&_containedType=contained"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("code=a", ["Medication/own"]),
        ("code=a&_contained=false", ["Medication/own"]),
        ("code=a&_contained=true", ["MedicationRequest/r1", "MedicationRequest/r3"]),
        (f"code=a&{INNER}", [f"MedicationRequest/{n}" for n in ("r1#m0", "r3#m0", "r3#m1")]),
        # both of the same contained resource
        (f"code=b&status=active&{INNER}", ["MedicationRequest/r2#m0"]),
        (f"code=a&status=inactive&{INNER}", ["MedicationRequest/r3#m0"]),
        (
            "code=a&_contained=both",
            ["Medication/own", "MedicationRequest/r1", "MedicationRequest/r3"],
        ),
        (
            "code:not=a&_contained=both&_containedType=contained",
            ["MedicationRequest/r1#m1", "MedicationRequest/r2#m0"],
        ),
        ("code=z&_contained=both", []),
    ],
)
def test_what_is_contained_is_found(
    stored: None, now: datetime, query: str, names: list[str]
) -> None:
    assert sorted(found(query, now)) == names
    counted = search(resource_type="Medication", query=f"{query}&_total=accurate", now=now)
    assert counted.total == len(names)
    counted = search(resource_type="Medication", query=f"{query}&_summary=count", now=now)
    assert (counted.total, counted.entries) == (len(names), [])


def test_other_types_are_containers_too(stored: None, now: datetime) -> None:
    assert found("name=hou&_contained=true", now, "Organization") == ["Patient/p1"]
    include = "_contained=true&_include=MedicationRequest:subject&code=b"
    result = search(resource_type="Medication", query=include, now=now)
    assert [entry.id for entry in result.included] == ["p1"]


@pytest.mark.parametrize("kind", ["container", "contained"])
@pytest.mark.parametrize("portion", [1, 2, 250])
def test_pages_of_contained_resources_hold_each_once(
    stored: None, now: datetime, monkeypatch: pytest.MonkeyPatch, kind: str, portion: int
) -> None:
    monkeypatch.setattr(contained, "PORTION", portion)
    monkeypatch.setattr(contained, "MAX_PORTIONS", 2)
    query: str | None = f"_contained=both&_containedType={kind}&_count=2"
    seen: list[str] = []
    while query is not None:
        result = search(resource_type="Medication", query=query, now=now)
        assert len(result.entries) <= 2
        seen += [entry.reference for entry in result.entries]
        query = result.next_query
    inner = [f"MedicationRequest/{n}" for n in ("r1#m0", "r1#m1", "r2#m0", "r3#m0", "r3#m1")]
    outer = [f"MedicationRequest/{n}" for n in ("r1", "r2", "r3")]
    assert seen[0] == "Medication/own"
    assert sorted(seen) == ["Medication/own", *(inner if kind == "contained" else outer)]


def test_too_many_containers_are_not_counted(
    stored: None, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contained, "PORTION", 1)
    monkeypatch.setattr(contained, "MAX_PORTIONS", 2)
    with pytest.raises(SearchRefused, match="not counted"):
        search(resource_type="Medication", query="_contained=true&_total=accurate", now=now)


def test_a_container_is_shown_to_those_who_may_read_it(
    alice_client: APIClient, client_for: ClientFor
) -> None:
    for resource in RESOURCES:
        address = f"/v1/fhir/{resource['resourceType']}/{resource['id']}"
        assert alice_client.put(address, resource, format="json").status_code == 201
    query = f"/v1/fhir/Medication?{INNER}&code=a"
    assert len(alice_client.get(query).json()["entry"]) == 3
    reader = client_for(scopes=("Medication:read",))
    assert "entry" not in reader.get(query).json()
    across = alice_client.get("/v1/fhir?_type=Medication&_contained=true")
    assert across.status_code == 400
