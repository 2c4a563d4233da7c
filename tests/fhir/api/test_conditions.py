"""Conditional interactions and the headers of versions. https://hl7.org/fhir/R4/http.html#concurrency"""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.http import HttpResponse
from django.test import override_settings
from django.utils.http import http_date
from rest_framework.test import APIClient

from tests.fhir.api.test_bundles import ClientFor, entry, send

pytestmark = pytest.mark.django_db
FHIR = "application/fhir+json"
PATIENT = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "7"}]}
PATH = "/v1/fhir/Patient/pat_123"


def put(client: APIClient, path: str = PATH, body: object = None, **headers: str) -> HttpResponse:
    text = json.dumps(body or {**PATIENT, "id": "pat_123"})
    return client.put(path, text, content_type=FHIR, headers=headers)


def post(client: APIClient, body: object = None, **headers: str) -> HttpResponse:
    text = json.dumps(body or PATIENT)
    return client.post("/v1/fhir/Patient", text, content_type=FHIR, headers=headers)


def total(client: APIClient) -> int:
    return int(client.get("/v1/fhir/_history").json()["total"])


@pytest.mark.parametrize(
    ("tag", "status"),
    [
        ('W/"1"', 200),
        ('"1"', 200),
        ("1", 200),
        ("*", 200),
        ('W/"3", W/"1"', 200),
        ('W/"2"', 412),
        ('W/"a"', 412),
        ("W/1", 400),
        ("W/", 400),
        ('W/""', 400),
        ("", 400),
        ("one two", 400),
        ('W/"1" W/"2"', 400),
    ],
)
def test_if_match_is_an_entity_tag(alice_client: APIClient, tag: str, status: int) -> None:
    put(alice_client)
    assert put(alice_client, **{"If-Match": tag}).status_code == status
    assert total(alice_client) == (2 if status == 200 else 1)


def test_if_match_needs_something_to_match(alice_client: APIClient) -> None:
    for tag in ("*", 'W/"1"'):
        assert put(alice_client, **{"If-Match": tag}).status_code == 412
    absent = "/v1/fhir/Patient?identifier=urn:mrn|9"
    assert put(alice_client, absent, PATIENT, **{"If-Match": 'W/"1"'}).status_code == 412
    assert alice_client.delete(PATH, headers={"If-Match": 'W/"1"'}).status_code == 412
    assert alice_client.delete(absent, headers={"If-Match": 'W/"1"'}).status_code == 412
    assert total(alice_client) == 0


def test_if_none_match_on_update_creates_only(alice_client: APIClient) -> None:
    assert put(alice_client, **{"If-None-Match": "*"}).status_code == 201
    refused = put(alice_client, **{"If-None-Match": "*"})
    assert refused.status_code == 412
    assert put(alice_client, **{"If-None-Match": 'W/"1"'}).status_code == 412
    assert put(alice_client, **{"If-None-Match": 'W/"7"'}).status_code == 200
    alice_client.delete(PATH)
    assert put(alice_client, **{"If-None-Match": "*"}).status_code == 201
    assert alice_client.get(PATH)["ETag"] == 'W/"4"'


def test_conditional_reads(alice_client: APIClient) -> None:
    put(alice_client)
    past, future = (
        http_date((datetime.now(UTC) + timedelta(hours=hours)).timestamp()) for hours in (-1, 1)
    )
    for headers, status in (
        ({"If-None-Match": 'W/"1"'}, 304),
        ({"If-None-Match": '"1"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": 'W/"2", W/"1"'}, 304),
        ({"If-None-Match": 'W/"2"'}, 200),
        ({"If-None-Match": "W/2"}, 400),
        ({"If-Modified-Since": future}, 304),
        ({"If-Modified-Since": past}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Modified-Since": future, "If-None-Match": 'W/"2"'}, 200),
    ):
        answer = alice_client.get(PATH, headers=headers)
        assert answer.status_code == status, headers
        assert bool(answer.content) is (status != 304)
    known = alice_client.get(PATH, headers={"If-None-Match": 'W/"1"'})
    assert known["ETag"] == 'W/"1"'
    assert known["Last-Modified"].endswith("GMT")


def test_head_answers_the_headers_alone(alice_client: APIClient) -> None:
    put(alice_client)
    answer = alice_client.head(PATH)
    assert (answer.status_code, answer.content, answer["ETag"]) == (200, b"", 'W/"1"')
    assert alice_client.head("/v1/fhir/Patient/none").status_code == 404
    assert alice_client.head("/v1/fhir/Patient").status_code == 200
    assert alice_client.head(f"{PATH}/_history/1")["ETag"] == 'W/"1"'


def test_a_conditional_create_finds_what_is_there(alice_client: APIClient) -> None:
    condition = {"If-None-Exist": "identifier=urn:mrn|7"}
    first = post(alice_client, **condition)
    second = post(alice_client, **{"If-None-Exist": "Patient?identifier=urn:mrn|7"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert second["Location"] == first["Location"]
    assert second["ETag"] == 'W/"1"'
    post(alice_client)
    several = post(alice_client, **condition)
    assert several.status_code == 412
    assert several.json()["issue"][0]["code"] == "multiple-matches"
    for condition_of_nothing in ("", "_count=1", "favourite=blue", "identifier="):
        refused = post(alice_client, **{"If-None-Exist": condition_of_nothing})
        assert refused.status_code == (201 if not condition_of_nothing else 400)
    assert total(alice_client) == 3


def test_conditional_updates(alice_client: APIClient) -> None:
    where = "/v1/fhir/Patient?identifier=urn:mrn|7"
    created = put(alice_client, where, PATIENT)
    assert created.status_code == 201
    rid = created.json()["id"]
    assert put(alice_client, where, PATIENT).json()["id"] == rid
    assert put(alice_client, where, {**PATIENT, "id": rid})["ETag"] == 'W/"3"'
    assert put(alice_client, where, {**PATIENT, "id": "other"}).status_code == 400
    absent = "/v1/fhir/Patient?identifier=urn:mrn|8"
    named = put(alice_client, absent, {**PATIENT, "id": "mine"})
    assert (named.status_code, named.json()["id"]) == (201, "mine")
    taken = put(alice_client, absent, {**PATIENT, "id": rid})
    assert taken.status_code == 409
    assert put(alice_client, where, PATIENT).status_code == 412
    assert put(alice_client, "/v1/fhir/Patient", PATIENT).status_code == 400
    assert alice_client.get(f"/v1/fhir/Patient/{rid}")["ETag"] == 'W/"3"'


def test_conditional_deletes(alice_client: APIClient) -> None:
    where = "/v1/fhir/Patient?identifier=urn:mrn|7"
    nothing = alice_client.delete(where)
    assert nothing.status_code == 200
    assert nothing.json()["issue"][0]["severity"] == "information"
    post(alice_client)
    post(alice_client)
    assert alice_client.delete(where).status_code == 412
    assert alice_client.get(f"{where}&_total=accurate").json()["total"] == 2
    put(alice_client, body={**PATIENT, "id": "pat_123", "gender": "female"})
    precise = f"{where}&gender=female"
    assert alice_client.delete(precise, headers={"If-Match": 'W/"9"'}).status_code == 412
    assert alice_client.delete(precise, headers={"If-Match": 'W/"1"'}).status_code == 204
    assert alice_client.get(PATH).status_code == 410


def test_versions_count_on_through_deletions(alice_client: APIClient) -> None:
    put(alice_client)
    assert alice_client.delete(PATH)["ETag"] == 'W/"2"'
    assert alice_client.delete(PATH)["ETag"] == 'W/"2"'
    assert alice_client.delete("/v1/fhir/Patient/none").status_code == 204
    gone = alice_client.get(PATH)
    assert (gone.status_code, gone["ETag"]) == (410, 'W/"2"')
    assert alice_client.get(f"{PATH}/_history/2").status_code == 410
    assert alice_client.get(f"{PATH}/_history/3").status_code == 404
    again = put(alice_client)
    assert (again.status_code, again["ETag"]) == (201, 'W/"3"')
    assert alice_client.get(f"{PATH}/_history/1").status_code == 200
    entries = alice_client.get(f"{PATH}/_history").json()["entry"]
    assert [e["response"]["etag"] for e in entries] == ['W/"3"', 'W/"2"', 'W/"1"']
    assert [e["request"]["method"] for e in entries] == ["PUT", "DELETE", "PUT"]
    assert [e["response"]["status"] for e in entries] == ["201", "204", "201"]


def test_a_history_is_paged_and_sorted(alice_client: APIClient) -> None:
    for _ in range(5):
        put(alice_client)
    for query, expected in (
        ("_count=2", [5, 4, 3, 2, 1]),
        ("_count=2&_sort=_lastUpdated", [1, 2, 3, 4, 5]),
    ):
        seen, address = [], f"{PATH}/_history?{query}"
        while address:
            page = alice_client.get(address).json()
            assert page["total"] == 5
            seen += [int(e["resource"]["meta"]["versionId"]) for e in page["entry"]]
            links = {link["relation"]: link["url"] for link in page["link"]}
            assert links["first"].endswith(query)
            address = links.get("next", "").removeprefix("http://testserver")
        assert seen == expected
    for query in ("_count=0", "_summary=count"):
        counted = alice_client.get(f"{PATH}/_history?{query}").json()
        assert (counted["total"], counted.get("entry")) == (5, None)
    assert alice_client.get(f"{PATH}/_history?_sort=name").status_code == 400


def test_a_history_since_and_at(alice_client: APIClient) -> None:
    put(alice_client)
    put(alice_client)
    year = datetime.now(UTC).year
    for query, versions in (
        (f"_since={year - 1}", ["2", "1"]),
        (f"_since={year + 1}-01-01T00:00:00Z", []),
        ("_at=2100-01-01", ["2"]),
        ("_at=1999", []),
        (f"_at={datetime.now(UTC):%Y}", ["2", "1"]),
    ):
        for path in (PATH, "/v1/fhir/Patient", "/v1/fhir"):
            found = alice_client.get(f"{path}/_history?{query}").json()
            entries = found.get("entry", [])
            assert [e["resource"]["meta"]["versionId"] for e in entries] == versions
    for query in ("_since=x", "_at=x", "_count=x", "_after=x", "_count=-1"):
        assert alice_client.get(f"{PATH}/_history?{query}").status_code == 400


def test_a_history_of_what_a_list_names(alice_client: APIClient, client_for: ClientFor) -> None:
    for rid in ("a", "b", "c"):
        for _ in range(2):
            put(alice_client, f"/v1/fhir/Patient/{rid}", {**PATIENT, "id": rid})
    items = ("Patient/a", "Patient/b/_history/1", "urn:other", "Group/g")
    body = {
        "resourceType": "List",
        "id": "l",
        "status": "current",
        "mode": "working",
        "entry": [{"item": {"reference": item}} for item in items],
    }
    put(alice_client, "/v1/fhir/List/l", body)
    for path in ("Patient", ""):
        found = alice_client.get(f"/v1/fhir/{path}/_history?_list=l".replace("//", "/")).json()
        named = [(e["resource"]["id"], e["resource"]["meta"]["versionId"]) for e in found["entry"]]
        assert (named, found["total"]) == ([("b", "1"), ("a", "2"), ("a", "1")], 3)
    assert alice_client.get("/v1/fhir/Patient/c/_history?_list=l").json()["total"] == 0
    assert alice_client.get("/v1/fhir/_history?_list=none").status_code == 404
    reader = client_for(scopes=("Patient:read",))
    assert reader.get("/v1/fhir/Patient/_history?_list=l").status_code == 403


@pytest.mark.parametrize("rid", ["pat_123", "x" * 64, "A-b.c_9", "_"])
def test_update_as_create_takes_the_ids_of_this_platform(alice_client: APIClient, rid: str) -> None:
    path = f"/v1/fhir/Patient/{rid}"
    answer = put(alice_client, path, {**PATIENT, "id": rid})
    assert answer.status_code == 201
    assert answer["Location"] == f"http://testserver{path}/_history/1"
    assert alice_client.get(path).json()["id"] == rid


@pytest.mark.parametrize("rid", ["x" * 65, "a b", "ä", "a%2Fb", "a:b", "'"])
def test_other_ids_are_refused(alice_client: APIClient, rid: str) -> None:
    answer = put(alice_client, f"/v1/fhir/Patient/{rid}", {**PATIENT, "id": rid})
    assert answer.status_code in {400, 404, 405}
    assert total(alice_client) == 0


def test_numbers_text_and_order_are_kept(alice_client: APIClient) -> None:
    body = (
        '{"resourceType":"Observation","status":"final","code":{"text":"\\u00e4\\n\\u4e16"},'
        '"valueQuantity":{"value":1.00E+2,"unit":"x"},'
        '"component":[{"code":{"text":"a"},"valueQuantity":{"value":0.40}},'
        '{"code":{"text":"b"},"valueQuantity":{"value":123456789012345678901234567890.10}},'
        '{"code":{"text":"c"},"valueQuantity":{"value":-0.0}}]}'
    )
    created = alice_client.post("/v1/fhir/Observation", body, content_type=FHIR)
    assert created.status_code == 201, created.content
    path = created["Location"].removeprefix("http://testserver")
    for address in (path, path.partition("/_history")[0]):
        found = alice_client.get(address).content.decode()
        assert found.endswith(body.partition('"status"')[2])


@pytest.mark.parametrize("kind", ["direct", "batch", "transaction"])
def test_a_server_set_so_deletes_all_that_match(alice_client: APIClient, kind: str) -> None:
    for number in range(3):
        body = {**PATIENT, "id": f"p{number}", "active": True}
        alice_client.put(f"/v1/fhir/Patient/p{number}", json.dumps(body), content_type=FHIR)
    where = "Patient?identifier=urn:mrn|7&active=true"

    def delete() -> str:
        if kind == "direct":
            answer = alice_client.delete(f"/v1/fhir/{where}")
            return f"{answer.status_code} {answer.content.decode()}"
        answer = send(alice_client, kind, [entry("DELETE", where)])
        if answer.status_code != 200:
            return str(answer.status_code)
        return str(answer.json()["entry"][0]["response"]["status"])

    assert delete()[:3] == "412"
    assert alice_client.get("/v1/fhir/Patient?_summary=count").json()["total"] == 3
    with override_settings(FHIR_CONDITIONAL_DELETE="multiple"):
        done = delete()
        assert done[:3] == ("200" if kind == "direct" else "204")
        assert alice_client.get("/v1/fhir/Patient?_summary=count").json()["total"] == 0
        assert alice_client.get("/v1/fhir/Patient/p1/_history/2").status_code == 410
        assert delete()[:3] == ("200" if kind == "direct" else "204")
