"""Searches over several types, and in compartments. https://hl7.org/fhir/R4/http.html#search"""

from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.fhir.conftest import ClientFor

FORM = "application/x-www-form-urlencoded"
TAG = [{"system": "urn:t", "code": "x"}]
RESOURCES: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p1", "meta": {"tag": TAG}, "name": [{"family": "Ada"}]},
    {
        "resourceType": "Patient",
        "id": "p2",
        "link": [{"other": {"reference": "Patient/p1"}, "type": "seealso"}],
    },
    {"resourceType": "Patient", "id": "p3"},
    {
        "resourceType": "Observation",
        "id": "o1",
        "meta": {"tag": TAG},
        "status": "final",
        "code": {"coding": [{"system": "urn:c", "code": "b"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-01-02",
    },
    {
        "resourceType": "Observation",
        "id": "o2",
        "status": "final",
        "code": {"coding": [{"system": "urn:c", "code": "d"}]},
        "subject": {"reference": "Patient/p3"},
        "effectiveDateTime": "2026-01-04",
    },
    {
        "resourceType": "Condition",
        "id": "c1",
        "subject": {"reference": "Patient/p1"},
        "code": {"coding": [{"system": "urn:c", "code": "a"}]},
    },
    {
        "resourceType": "Condition",
        "id": "c2",
        "subject": {"reference": "Patient/p3"},
        "code": {"coding": [{"system": "urn:c", "code": "c"}]},
    },
    {"resourceType": "Binary", "id": "b1", "contentType": "text/plain"},
    {"resourceType": "Location", "id": "l1", "name": "Ada"},
]


@pytest.fixture
def alice(alice_client: APIClient) -> APIClient:
    """Alice, with the resources above stored one after the other."""
    for resource in RESOURCES:
        address = f"/v1/fhir/{resource['resourceType']}/{resource['id']}"
        assert alice_client.put(address, resource, format="json").status_code == 201
    return alice_client


def found(bundle: dict[str, Any]) -> list[str]:
    return [
        entry["resource"]["id"]
        for entry in bundle.get("entry", ())
        if entry["search"]["mode"] == "match"
    ]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("_type=Patient,Observation&_sort=_id", ["o1", "o2", "p1", "p2", "p3"]),
        ("_type=Patient&_type=Condition&_sort=-_id", ["p3", "p2", "p1", "c2", "c1"]),
        ("_type=Observation,Condition&_sort=code", ["c1", "o1", "c2", "o2"]),
        ("_type=Observation,Condition&code=urn:c|b,c&_sort=code", ["o1", "c2"]),
        ("_type=Observation,Condition&patient=p1&_sort=_id", ["c1", "o1"]),
        ("_type=Observation,Condition&subject:Patient.family=ada&_sort=_id", ["c1", "o1"]),
        ("_tag=urn:t|x&_sort=_id", ["o1", "p1"]),
        ("_id=p1,o2,l1&_sort=_id", ["l1", "o2", "p1"]),
        ("_sort=_id", ["b1", "c1", "c2", "l1", "o1", "o2", "p1", "p2", "p3"]),
        ("_has:Observation:subject:code=b", ["p1"]),
        ("_content=ada&_sort=_id", ["l1", "p1"]),
        ("_filter=_id eq p1 or _id eq b1&_sort=_id", ["b1", "p1"]),
        ("_type=Medication", []),
    ],
)
def test_a_search_over_types_finds(alice: APIClient, query: str, ids: list[str]) -> None:
    answer = alice.get(f"/v1/fhir?{query}", HTTP_PREFER="handling=strict")
    assert answer.status_code == 200, answer.content
    assert found(answer.json()) == ids
    posted = alice.post("/v1/fhir/_search", query, content_type=FORM)
    assert found(posted.json()) == ids


@pytest.mark.parametrize("sort", ["_id", "-_id", "-_lastUpdated", "code,-_id"])
def test_pages_over_types_hold_each_match_once(alice: APIClient, sort: str) -> None:
    kinds = "" if "code" not in sort else "_type=Observation,Condition&"
    whole = found(alice.get(f"/v1/fhir?{kinds}_sort={sort}&_total=accurate").json())
    query = f"/v1/fhir?{kinds}_sort={sort}&_count=2&_total=accurate"
    seen: list[str] = []
    while query:
        page = alice.get(query).json()
        assert page["total"] == len(whole)
        seen += found(page)
        query = {link["relation"]: link["url"] for link in page["link"]}.get("next", "")
    assert seen == whole


def test_what_not_all_types_have_is_ignored_or_refused(alice: APIClient) -> None:
    for query, name in (
        ("_type=Patient,Observation&family=ada&_id=p1", "family"),
        ("name=ada&_id=p1", "name"),
        ("_sort=birthdate&_id=p1", "_sort"),
        ("_type=Patient,Observation&_sort=code&_id=p1", "_sort"),
    ):
        strict = alice.get(f"/v1/fhir?{query}", HTTP_PREFER="handling=strict")
        assert strict.status_code == 400, query
        lenient = alice.get(f"/v1/fhir?{query}").json()
        assert found(lenient) == ["p1"]
        [outcome] = [e["resource"] for e in lenient["entry"] if e["search"]["mode"] == "outcome"]
        assert f"`{name}` was ignored" in outcome["issue"][0]["diagnostics"]
        [link] = lenient["link"]
        assert name not in link["url"].replace("_type", "")
    assert alice.get("/v1/fhir?_type=Patients").status_code == 400
    clash = alice.get("/v1/fhir?_type=Observation,RiskAssessment&_sort=date,encounter")
    assert clash.status_code == 200


def test_a_search_over_types_includes_and_counts(alice: APIClient) -> None:
    bundle = alice.get("/v1/fhir?_type=Observation&_id=o1&_include=Observation:subject").json()
    assert [entry["search"]["mode"] for entry in bundle["entry"]] == ["match", "include"]
    counted = alice.get("/v1/fhir?_type=Observation,Patient&_summary=count").json()
    assert counted["total"] == 5
    assert "entry" not in counted
    assert counted["link"][0]["url"].endswith("/v1/fhir?_type=Observation%2CPatient&_summary=count")


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("Patient/p1/*?_sort=_id", ["c1", "o1", "p1", "p2"]),
        ("Patient/p1/*?_type=Observation,Condition&_sort=_id", ["c1", "o1"]),
        ("Patient/p1/Observation", ["o1"]),
        ("Patient/p1/Observation?code=d", []),
        ("Patient/p1/Patient?_sort=_id", ["p1", "p2"]),
        ("Patient/p3/*?_sort=_id", ["c2", "o2", "p3"]),
        ("Patient/nobody/*", []),
    ],
)
def test_a_compartment_holds_its_members(alice: APIClient, path: str, ids: list[str]) -> None:
    assert found(alice.get(f"/v1/fhir/{path}").json()) == ids
    address, _, form = path.partition("?")
    for posted in {address, address.removesuffix("/*")}:
        answer = alice.post(f"/v1/fhir/{posted}/_search", form, content_type=FORM)
        if posted.count("/") == 1 or posted == address:
            assert found(answer.json()) == ids


def test_what_is_no_compartment_is_refused(alice: APIClient) -> None:
    for path in ("Observation/o1/*", "Patient/p1/*?_type=Location", "Patient/p1/Location"):
        assert alice.get(f"/v1/fhir/{path}").status_code == 400, path


def test_a_batch_searches_over_types(alice: APIClient) -> None:
    urls = ("?_type=Patient,Observation&_id=p1,o1&_sort=_id", "Patient/p1/*?_sort=_id")
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": url}} for url in urls],
    }
    answered = alice.post("/v1/fhir", bundle, format="json").json()["entry"]
    assert [found(entry["resource"]) for entry in answered] == [
        ["o1", "p1"],
        ["c1", "o1", "p1", "p2"],
    ]


def test_a_search_shows_only_types_that_the_key_reads(
    alice: APIClient, client_for: ClientFor, charlie_client: APIClient
) -> None:
    reader = client_for(scopes=("Patient:read",))
    assert found(reader.get("/v1/fhir?_type=Patient&_sort=_id").json()) == ["p1", "p2", "p3"]
    assert reader.get("/v1/fhir?_type=Patient,Observation").status_code == 403
    assert reader.get("/v1/fhir?_type=Observation").status_code == 403
    assert reader.get("/v1/fhir").status_code == 403
    assert reader.post("/v1/fhir/_search", "_type=Patient", content_type=FORM).status_code == 403
    assert reader.get("/v1/fhir/Patient/p1/*").status_code == 403
    looker = client_for(scopes=("system/Patient.r",))
    assert looker.get("/v1/fhir?_type=Patient").status_code == 403
    assert found(charlie_client.get("/v1/fhir").json()) == []
    assert found(charlie_client.get("/v1/fhir/Patient/p1/*").json()) == []


def test_the_capability_statement_names_the_search(alice: APIClient) -> None:
    [rest] = alice.get("/v1/fhir/metadata").json()["rest"]
    assert {"code": "search-system"} in rest["interaction"]
    names = {parameter["name"] for parameter in rest["searchParam"]}
    assert {"_type", "_id", "_lastUpdated", "_tag", "_text", "_content"} <= names
