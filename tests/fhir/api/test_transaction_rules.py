"""The rules of transactions: references, order, conditions, patches and reads among the entries.

https://hl7.org/fhir/R4/http.html#trules
"""

import base64
import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.fhir.api.test_bundles import FHIR, PATIENT, entry, observation, send, total

pytestmark = pytest.mark.django_db
URN = "urn:uuid:22222222-2222-4222-8222-222222222222"
OID = "urn:oid:1.2.3"
OLD = "http://old.example/fhir/Patient/9"


def answers(client: APIClient, kind: str, entries: list[dict[str, object]]) -> list[Any]:
    response = send(client, kind, entries)
    assert response.status_code == 200, response.content
    found: list[Any] = response.json()["entry"]
    return found


def test_links_to_entries_are_replaced_where_the_rules_say(alice_client: APIClient) -> None:
    div = (
        f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{URN}">p</a> {URN}'
        f"<img src='{URN}' alt='x'/></div>"
    )
    communication = {
        "resourceType": "Communication",
        "status": "completed",
        "text": {"status": "generated", "div": div},
        "instantiatesUri": [URN, "urn:other"],
        "instantiatesCanonical": [URN],
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": URN}],
        "extension": [{"url": "urn:a", "valueUri": URN}, {"url": "urn:b", "valueDecimal": 0.5}],
        "payload": [{"contentAttachment": {"contentType": "a/b", "url": URN}}],
        "subject": {"reference": URN},
        "note": [{"text": URN}],
    }
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            entry("POST", "Communication", communication),
            entry("POST", "Patient", PATIENT, full_url=URN),
        ],
    }
    text = json.dumps(bundle).replace('"valueDecimal": 0.5', '"valueDecimal": 0.50')
    response = alice_client.post("/v1/fhir", text, content_type=FHIR)
    assert response.status_code == 200, response.content
    first, second = (e["resource"] for e in response.json()["entry"])
    new = f"Patient/{second['id']}"
    assert first["subject"]["reference"] == new
    assert first["instantiatesUri"] == [new, "urn:other"]
    assert first["instantiatesCanonical"] == [URN]
    assert first["identifier"][0]["value"] == URN
    assert first["extension"][0]["valueUri"] == new
    assert b'"valueDecimal":0.50' in response.content
    assert first["payload"][0]["contentAttachment"]["url"] == new
    assert first["note"][0]["text"] == URN
    assert f"<a href=\"{new}\">p</a> {URN}<img src='{new}'" in first["text"]["div"]


def test_a_uuid_or_oid_that_names_an_entry_stays_what_it_is(alice_client: APIClient) -> None:
    uuid = {"url": "urn:a", "valueUuid": URN}
    oid = {"url": "urn:b", "valueOid": OID}
    named = {**PATIENT, "extension": [uuid, oid], "link": [
        {"other": {"reference": URN}, "type": "seealso"}]}  # fmt: skip
    first, second, _ = answers(
        alice_client,
        "transaction",
        [
            entry("POST", "Patient", named),
            entry("POST", "Patient", PATIENT, full_url=URN),
            entry("POST", "Patient", PATIENT, full_url=OID),
        ],
    )
    assert first["resource"]["extension"] == [uuid, oid]
    other = first["resource"]["link"][0]["other"]["reference"]
    assert other == f"Patient/{second['resource']['id']}"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("http://a.example/fhir/Patient/1", "https://a.example/fhir/Patient/1"),
        (URN, "http://b.example/x"),
        ("http://a.example/fhir/Patient/1", "http://other.example/Patient/2"),
        ("urn:uuid:same-beginning-1", "urn:uuid:same-beginning-12"),
    ],
)
def test_full_urls_that_share_little_are_found_wherever_they_stand(
    alice_client: APIClient, first: str, second: str
) -> None:
    links = [{"url": "urn:a", "valueUri": second}, {"url": "urn:b", "valueUri": f"{second}3"}]
    resource = {**observation(first), "extension": links}
    made = answers(
        alice_client,
        "transaction",
        [
            entry("POST", "Observation", resource),
            entry("POST", "Patient", PATIENT, full_url=first),
            entry("POST", "Patient", PATIENT, full_url=second),
        ],
    )
    found = made[0]["resource"]
    assert found["subject"]["reference"] == f"Patient/{made[1]['resource']['id']}"
    assert found["extension"][0]["valueUri"] == f"Patient/{made[2]['resource']['id']}"
    assert found["extension"][1]["valueUri"] == f"{second}3"


@pytest.mark.parametrize(
    ("full_url", "link"),
    [
        (URN, URN),
        (OID, OID),
        (OLD, OLD),
        (OLD, "Patient/9"),
        (OLD, f"{OLD}/_history/2"),
        (OLD, OLD.replace("/", "\\/")),
    ],
)
def test_every_form_of_a_reference_is_resolved(
    alice_client: APIClient, full_url: str, link: str
) -> None:
    bundle = json.dumps(
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                entry("POST", "Observation", observation("LINK")),
                entry("POST", "Patient", PATIENT, full_url=full_url),
            ],
        }
    ).replace("LINK", link)
    found = alice_client.post("/v1/fhir", bundle, content_type=FHIR).json()["entry"]
    assert found[0]["resource"]["subject"]["reference"] == f"Patient/{found[1]['resource']['id']}"


def test_contained_resources_and_containers_refer_too(alice_client: APIClient) -> None:
    holder = {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "contained": [{**observation(URN), "id": "o"}],
        "entry": [{"item": {"reference": "#o"}}, {"item": {"reference": URN}}],
    }
    found = answers(
        alice_client,
        "transaction",
        [entry("POST", "List", holder), entry("POST", "Patient", PATIENT, full_url=URN)],
    )
    new = f"Patient/{found[1]['resource']['id']}"
    assert found[0]["resource"]["contained"][0]["subject"]["reference"] == new
    assert [e["item"]["reference"] for e in found[0]["resource"]["entry"]] == ["#o", new]


def test_a_conditional_reference_finds_what_the_bundle_creates(alice_client: APIClient) -> None:
    found = answers(
        alice_client,
        "transaction",
        [
            entry("POST", "Observation", observation("Patient?family=Abt")),
            entry("POST", "Patient", PATIENT, ifNoneExist="family=Abt"),
        ],
    )
    new = f"Patient/{found[1]['resource']['id']}"
    assert found[0]["resource"]["subject"]["reference"] == new
    send(alice_client, "transaction", [entry("POST", "Patient", PATIENT)])
    probe = entry("POST", "Observation", observation("Patient?family=Abt"))
    refused = send(alice_client, "transaction", [probe])
    assert refused.status_code == 412
    assert "several" in str(refused.json())


def test_entries_are_worked_on_in_the_order_of_the_rules(alice_client: APIClient) -> None:
    send(alice_client, "transaction", [entry("PUT", "Patient/a", {**PATIENT, "id": "a"})])
    found = answers(
        alice_client,
        "transaction",
        [
            entry("GET", "Patient?_sort=_id"),
            entry("PUT", "Patient/b", {**PATIENT, "id": "b"}),
            entry("DELETE", "Patient/a"),
        ],
    )
    inner = [e["resource"]["id"] for e in found[0]["resource"]["entry"]]
    assert inner == ["b"]
    assert found[2]["response"] == {"status": "204 No Content", "etag": 'W/"2"'}
    assert set(found[1]["response"]) == {"status", "location", "etag", "lastModified"}


def merge(change: dict[str, object], kind: str = "application/merge-patch+json") -> object:
    data = base64.b64encode(json.dumps(change).encode()).decode()
    return {"resourceType": "Binary", "contentType": kind, "data": data}


PARAMETERS = {
    "resourceType": "Parameters",
    "parameter": [
        {
            "name": "operation",
            "part": [
                {"name": "type", "valueCode": "add"},
                {"name": "path", "valueString": "Patient"},
                {"name": "name", "valueString": "generalPractitioner"},
                {"name": "value", "valueReference": {"reference": URN}},
            ],
        }
    ],
}


@pytest.mark.parametrize("by", ["id", "condition"])
def test_a_condition_does_not_match_what_the_transaction_deletes(
    alice_client: APIClient, by: str
) -> None:
    person = {**PATIENT, "identifier": [{"system": "urn:o", "value": by}]}
    condition = f"identifier=urn:o|{by}"
    old = alice_client.post("/v1/fhir/Patient", person, format="json").json()["id"]
    create = entry("POST", "Patient", person, ifNoneExist=condition)
    referring = observation(f"Patient?{condition}")
    gone = old if by == "id" else None
    delete = entry("DELETE", f"Patient/{gone}" if gone else f"Patient?{condition}")
    found = answers(
        alice_client, "transaction", [create, entry("POST", "Observation", referring), delete]
    )
    assert [e["response"]["status"] for e in found] == [
        "201 Created",
        "201 Created",
        "204 No Content",
    ]
    new = found[0]["resource"]["id"]
    assert new != old
    assert found[1]["resource"]["subject"]["reference"] == f"Patient/{new}"
    assert alice_client.get(f"/v1/fhir/Patient/{old}").status_code == 410
    assert alice_client.get(f"/v1/fhir/Patient/{new}").status_code == 200


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_patches_are_entries_too(alice_client: APIClient, kind: str) -> None:
    send(alice_client, "transaction", [
        entry("PUT", f"Patient/{name}", {**PATIENT, "id": name, "gender": gender})
        for name, gender in (("a", "male"), ("b", "female"), ("c", "other"))
    ])  # fmt: skip
    entries = [
        entry("PATCH", "Patient/a", merge({"active": True}), ifMatch='W/"1"'),
        entry("PATCH", "Patient?gender=female", merge(
            [{"op": "add", "path": "/active", "value": False}], "application/json-patch+json")),
    ]  # fmt: skip
    if kind == "transaction":
        practitioner = {"resourceType": "Practitioner"}
        entries.append(entry("PATCH", "Patient/c", PARAMETERS))
        entries.append(entry("POST", "Practitioner", practitioner, full_url=URN))
    found = answers(alice_client, kind, entries)
    assert [e["response"]["status"][:3] for e in found] == ["200", "200", "200", "201"][
        : len(found)
    ]
    assert (found[0]["resource"]["active"], found[1]["resource"]["active"]) == (True, False)
    if kind == "transaction":
        [link] = found[2]["resource"]["generalPractitioner"]
        assert link["reference"] == f"Practitioner/{found[3]['resource']['id']}"


@pytest.mark.parametrize(
    ("probe", "status", "word"),
    [
        (entry("PATCH", "Patient/a", merge({"active": True}), ifMatch='W/"7"'), 412, "If-Match"),
        (entry("PATCH", "Patient/none", merge({"active": True})), 404, "none"),
        (entry("PATCH", "Patient?gender=male", merge({"active": True})), 404, "matches"),
        (entry("PATCH", "Patient/a", merge({"gender": "x"})), 422, "gender"),
        (entry("PATCH", "Patient/a", merge({"active": True}, "text/plain")), 415, "text/plain"),
        (entry("PATCH", "Patient/a", {"resourceType": "Binary", "contentType": "x", "data": "@"}),
         400, "base64"),
        (entry("PATCH", "Patient/a"), 400, "resource"),
        (entry("PUT", "Patient/a", {**PATIENT, "id": "a"}, ifNoneMatch="*"), 412, "If-None-Match"),
        (entry("PUT", "Patient?gender=male", {**PATIENT, "id": "a"}), 409, "another resource"),
        (entry("DELETE", "Patient/a", ifMatch='W/"7"'), 412, "If-Match"),
        (entry("DELETE", "Patient/a", ifMatch="x y"), 400, "entity tag"),
        (entry("POST", "Patient", PATIENT, ifNoneExist="favourite=x"), 400, "favourite"),
        (entry("POST", "Patient/a", PATIENT), 400, "Patient/a"),
        (entry("PUT", "Patient/a/b", PATIENT), 400, "Patient/a/b"),
        (entry("GET", "http://other.example/fhir/Patient/a"), 400, "other.example"),
        (entry("GET", "Patient/a/b/c/d/e"), 404, "b/c"),
        (entry("GET", "?_type=Nothing"), 400, "Nothing"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_an_entry_that_is_refused_says_why(
    alice_client: APIClient, kind: str, probe: dict[str, object], status: int, word: str
) -> None:
    send(alice_client, "transaction", [entry("PUT", "Patient/a", {**PATIENT, "id": "a"})])
    response = send(alice_client, kind, [probe, entry("POST", "Patient", PATIENT)])
    if kind == "transaction":
        assert response.status_code == status, response.content
        assert word in str(response.json())
        assert "Bundle.entry[0]" in str(response.json())
        assert total(alice_client) == 1
    else:
        first, second = (e["response"] for e in response.json()["entry"])
        assert first["status"].split()[0] == str(status)
        assert word in str(first["outcome"])
        assert second["status"] == "201 Created"
    assert alice_client.get("/v1/fhir/Patient/a")["ETag"] == 'W/"1"'


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_reads_of_all_kinds_are_entries(alice_client: APIClient, kind: str) -> None:
    send(alice_client, "transaction", [entry("PUT", "Patient/a", {**PATIENT, "id": "a"})])
    send(alice_client, "transaction", [entry("POST", "Observation", observation("Patient/a"))])
    found = answers(
        alice_client,
        kind,
        [
            entry("GET", "Patient/a"),
            entry("GET", "Patient/a/_history/1"),
            entry("GET", "Patient/a", ifNoneMatch='W/"1"'),
            entry("GET", "Patient/a", ifModifiedSince="2100-01-01T00:00:00Z"),
            entry("GET", "Patient/a?_elements=name"),
            entry("GET", "Patient/a/_history"),
            entry("GET", "Patient/_history?_count=1"),
            entry("GET", "_history"),
            entry("GET", "Patient/a/Observation?status=final"),
            entry("GET", "Patient/_search?family=abt"),
            entry("HEAD", "Patient/a"),
        ],
    )
    statuses = [e["response"]["status"][:3] for e in found]
    assert statuses == ["200", "200", "304", "304", *["200"] * 7]
    assert found[0]["response"]["etag"] == 'W/"1"'
    assert "resource" not in found[2]
    assert set(found[4]["resource"]) == {"resourceType", "id", "meta", "name"}
    assert [e["resource"].get("type") for e in found[5:8]] == ["history"] * 3
    assert found[7]["resource"]["total"] == 2
    assert len(found[8]["resource"]["entry"]) == len(found[9]["resource"]["entry"]) == 1
    assert "resource" not in found[10]


def test_outcomes_instead_of_resources(alice_client: APIClient) -> None:
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [
        entry("POST", "Patient", PATIENT), entry("GET", "Patient?family=abt")]}  # fmt: skip
    response = alice_client.post(
        "/v1/fhir", json.dumps(bundle), content_type=FHIR,
        headers={"Prefer": "return=OperationOutcome"},
    )  # fmt: skip
    first, second = response.json()["entry"]
    assert first["response"]["outcome"]["issue"][0]["severity"] == "information"
    assert "resource" not in first
    assert second["resource"]["type"] == "searchset"


def test_a_bundle_of_thousands_of_conditions(alice_client: APIClient) -> None:
    entries = [
        entry(
            "POST",
            "Patient",
            {"resourceType": "Patient", "identifier": [{"system": "urn:n", "value": str(n)}]},
            ifNoneExist=f"identifier=urn:n|{n}",
        )
        for n in range(1500)
    ]
    for kind, status in (("transaction", "201"), ("transaction", "200")):
        bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
        response = alice_client.post(
            "/v1/fhir", json.dumps(bundle), content_type=FHIR, headers={"Prefer": "return=minimal"}
        )
        assert response.status_code == 200, response.content[:500]
        assert {e["response"]["status"][:3] for e in response.json()["entry"]} == {status}
    assert total(alice_client) == 1500


def test_a_bundle_of_eleven_megabytes_and_one_of_too_many_entries(alice_client: APIClient) -> None:
    note = "x" * 11_500
    entries = [
        entry("POST", "Patient", {**PATIENT, "text": {
            "status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{note}</div>'}})
        for _ in range(1_000)
    ]  # fmt: skip
    bundle = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert len(bundle) > 11 * 1024 * 1024
    headers = {"Prefer": "return=minimal"}
    response = alice_client.post("/v1/fhir", bundle, content_type=FHIR, headers=headers)
    assert response.status_code == 200, response.content[:500]
    assert {e["response"]["status"] for e in response.json()["entry"]} == {"201 Created"}
    assert total(alice_client) == 1_000
    many = [entry("GET", "Patient/a")] * 20_001
    response = send(alice_client, "batch", many)
    assert response.status_code == 413
    issue = response.json()["issue"][0]
    assert (issue["code"], "20000" in issue["diagnostics"]) == ("too-costly", True)


def test_two_entries_never_make_the_same_resource(alice_client: APIClient) -> None:
    update = entry("PUT", "Patient?identifier=urn:n|1&active=true", PATIENT)
    create = entry("POST", "Patient", PATIENT, ifNoneExist="active=true&identifier=urn:n|1")
    for entries in ([update, update], [create, update]):
        response = send(alice_client, "transaction", entries)
        assert response.status_code == 400
        assert "write a resource once" in str(response.json())
    named = entry("POST", "Patient", PATIENT, full_url=URN)
    response = send(alice_client, "transaction", [named, named])
    assert response.status_code == 400
    assert URN in str(response.json())
    assert total(alice_client) == 0
    found = answers(alice_client, "transaction", [create, create])
    assert [e["response"]["status"] for e in found] == ["201 Created", "200 OK"]
    assert found[0]["response"]["location"] == found[1]["response"]["location"]


def test_conditional_references_of_a_batch_are_resolved(alice_client: APIClient) -> None:
    send(alice_client, "transaction", [entry("PUT", "Patient/a", {**PATIENT, "id": "a"})])
    found = answers(
        alice_client,
        "batch",
        [
            entry("POST", "Observation", observation("Patient?family=Abt")),
            entry("POST", "Observation", observation("Patient?family=Nobody")),
        ],
    )
    assert found[0]["resource"]["subject"]["reference"] == "Patient/a"
    assert found[1]["response"]["status"] == "412 Precondition Failed"
    assert total(alice_client) == 2
