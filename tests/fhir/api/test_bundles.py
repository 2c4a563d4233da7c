"""batch and transaction over HTTP."""

import json
from collections.abc import Callable

import pytest
from django.http import HttpResponse
from rest_framework.test import APIClient

ClientFor = Callable[..., APIClient]
pytestmark = pytest.mark.django_db
FHIR = "application/fhir+json"
PATIENT_URN = "urn:uuid:11111111-1111-4111-8111-111111111111"
PATIENT = {
    "resourceType": "Patient",
    "identifier": [{"system": "urn:ietf:rfc:3986", "value": PATIENT_URN}],
    "name": [{"family": "Abt"}],
}


def observation(reference: str) -> dict[str, object]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "temperature"},
        "subject": {"reference": reference},
    }


def entry(method: str, url: str, resource: object = None, **more: object) -> dict[str, object]:
    full_url = more.pop("full_url", None)
    result: dict[str, object] = {"request": {"method": method, "url": url, **more}}
    if resource is not None:
        result["resource"] = resource
    if full_url:
        result["fullUrl"] = full_url
    return result


def send(client: APIClient, kind: str, entries: list[dict[str, object]]) -> HttpResponse:
    bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
    return client.post("/v1/fhir", json.dumps(bundle), content_type=FHIR)


def total(client: APIClient) -> int:
    return int(client.get("/v1/fhir/_history").json()["total"])


def test_a_transaction_resolves_references_between_its_entries(alice_client: APIClient) -> None:
    response = send(
        alice_client,
        "transaction",
        [
            entry("POST", "Observation", observation(PATIENT_URN)),
            entry("POST", "Patient", PATIENT, full_url=PATIENT_URN),
            entry("GET", "Patient?family=abt"),
        ],
    )
    assert response.status_code == 200, response.content
    answers = response.json()["entry"]
    assert [a["response"]["status"] for a in answers] == ["201 Created", "201 Created", "200 OK"]
    patient = answers[1]["resource"]
    assert answers[0]["resource"]["subject"]["reference"] == f"Patient/{patient['id']}"
    assert patient["identifier"][0]["value"] == PATIENT_URN
    assert answers[2]["resource"]["entry"][0]["resource"]["id"] == patient["id"]
    assert answers[1]["response"]["location"] == f"Patient/{patient['id']}/_history/1"


def test_a_transaction_is_all_or_nothing(alice_client: APIClient) -> None:
    broken = {"resourceType": "Observation", "code": {"text": "x"}}
    response = send(
        alice_client,
        "transaction",
        [entry("POST", "Patient", PATIENT), entry("POST", "Observation", broken)],
    )
    assert response.status_code == 422
    issue = response.json()["issue"][0]
    assert issue["expression"] == ["Bundle.entry[1].resource.status"]
    assert total(alice_client) == 0


@pytest.mark.parametrize(
    ("entries", "status", "word"),
    [
        ([{"resource": PATIENT}], 400, "Bundle.entry[1]"),
        ([entry("POST", "Patient")], 400, "resource"),
        ([entry("POST", "Nonsense", PATIENT)], 404, "Nonsense"),
        ([entry("POST", "Observation", PATIENT)], 400, "Patient"),
        ([entry("PUT", "Patient/a", {**PATIENT, "id": "b"})], 400, "`a`"),
        ([entry("PUT", "Patient/a", {**PATIENT, "id": "a"})] * 2, 400, "once"),
        ([entry("PUT", "Patient/a", {**PATIENT, "id": "a"}, ifMatch='W/"3"')], 412, "If-Match"),
        ([entry("POST", "Observation", observation("Patient?family=nobody"))], 412, "no resource"),
        ([entry("GET", "Patient/none")], 404, "Patient/none"),
        ([entry("PATCH", "Patient/a", PATIENT)], 400, "Binary"),
    ],
)
def test_a_transaction_that_fails_names_the_entry_and_changes_nothing(
    alice_client: APIClient, entries: list[dict[str, object]], status: int, word: str
) -> None:
    response = send(alice_client, "transaction", [entry("POST", "Patient", PATIENT), *entries])
    assert response.status_code == status, response.content
    assert word in str(response.json()["issue"])
    assert total(alice_client) == 0


def test_conditional_creates_and_references(alice_client: APIClient) -> None:
    once = entry("POST", "Patient", PATIENT, ifNoneExist="family=Abt", full_url=PATIENT_URN)
    first = send(alice_client, "transaction", [once, once]).json()["entry"]
    locations = {answer["response"]["location"] for answer in first}
    assert len(locations) == 1
    again = send(
        alice_client,
        "transaction",
        [once, entry("POST", "Observation", observation("Patient?family=Abt"))],
    ).json()["entry"]
    assert again[0]["response"]["status"] == "200 OK"
    assert {again[0]["response"]["location"]} == locations
    patient = next(iter(locations)).split("/_history")[0]
    assert again[1]["resource"]["subject"]["reference"] == patient


def test_updates_and_deletes_in_a_transaction(alice_client: APIClient) -> None:
    def put(rid: str) -> dict[str, object]:
        return entry("PUT", f"Patient/{rid}", {**PATIENT, "id": rid})

    send(alice_client, "transaction", [put("a"), put("b")])
    response = send(
        alice_client,
        "transaction",
        [put("a"), entry("DELETE", "Patient/b"), entry("DELETE", "Patient/none"), put("c")],
    )
    statuses = [answer["response"]["status"] for answer in response.json()["entry"]]
    assert statuses == ["200 OK", "204 No Content", "204 No Content", "201 Created"]
    assert alice_client.get("/v1/fhir/Patient/b").status_code == 410
    assert alice_client.get("/v1/fhir/Patient/a")["ETag"] == 'W/"2"'


def test_references_to_old_server_ids_follow_the_new_ones(alice_client: APIClient) -> None:
    response = send(
        alice_client,
        "transaction",
        [
            entry("POST", "Patient", PATIENT, full_url="http://old.example/fhir/Patient/9"),
            entry("POST", "Observation", observation("Patient/9")),
            entry("POST", "Observation", observation("http://old.example/fhir/Patient/9")),
            entry("POST", "Observation", observation("Patient/8")),
        ],
    )
    answers = [answer["resource"] for answer in response.json()["entry"]]
    new = f"Patient/{answers[0]['id']}"
    assert [a["subject"]["reference"] for a in answers[1:]] == [new, new, "Patient/8"]


def test_a_batch_does_what_it_can(alice_client: APIClient) -> None:
    response = send(
        alice_client,
        "batch",
        [
            entry("POST", "Patient", PATIENT),
            entry("POST", "Patient", {"resourceType": "Patient", "gender": "nonsense"}),
            entry("GET", "Patient/none"),
            entry("PUT", "Patient/x", {**PATIENT, "id": "x"}),
            entry("DELETE", "Patient/x"),
        ],
    )
    assert response.status_code == 200
    answers = [answer["response"] for answer in response.json()["entry"]]
    assert [a["status"][:3] for a in answers] == ["201", "422", "404", "201", "204"]
    assert answers[1]["outcome"]["issue"][0]["expression"] == ["Patient.gender"]
    assert total(alice_client) == 3


def test_charlies_transaction_does_not_reach_alices_patient(
    alice_client: APIClient, charlie_client: APIClient
) -> None:
    send(alice_client, "transaction", [entry("PUT", "Patient/a", {**PATIENT, "id": "a"})])
    refused = send(charlie_client, "transaction", [entry("GET", "Patient/a")])
    assert refused.status_code == 404
    send(charlie_client, "transaction", [entry("DELETE", "Patient/a")])
    conditional = entry("POST", "Patient", PATIENT, ifNoneExist="family=Abt")
    created = send(charlie_client, "transaction", [conditional]).json()["entry"][0]
    assert created["response"]["status"] == "201 Created"
    assert alice_client.get("/v1/fhir/Patient/a")["ETag"] == 'W/"1"'


def test_a_narrowed_key_sends_what_each_entry_may_be(
    alice_client: APIClient, client_for: ClientFor
) -> None:
    writer, reader = client_for(scopes=("Patient:write",)), client_for(scopes=("fhir:read",))
    made = entry("PUT", "Patient/a", {**PATIENT, "id": "a"})
    for kind in ("batch", "transaction"):
        assert send(writer, kind, [made]).status_code == 200
    both = [made, entry("POST", "Observation", observation("Patient/a"))]
    assert send(writer, "transaction", both).status_code == 403
    found = send(reader, "batch", [entry("GET", "Patient/a"), made]).json()["entry"]
    assert [e["response"]["status"] for e in found] == ["200 OK", "403 Forbidden"]
    assert send(reader, "transaction", [entry("GET", "Patient/a"), made]).status_code == 403
    assert send(reader, "transaction", [entry("GET", "Patient/a")]).status_code == 200
    assert total(alice_client) == 2


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(
    "probe",
    [
        entry("GET", "Patient/a"),
        entry("GET", "Patient%2Fa"),
        entry("GET", "Patient/a/_history/1"),
        entry("GET", "Patient?family=Abt"),
        entry("POST", "Patient", PATIENT, ifNoneExist="family=Abt"),
        entry("PUT", "Patient?family=Abt", PATIENT),
        entry("DELETE", "Patient?family=Abt"),
        entry(
            "POST",
            "Observation",
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"text": "x"},
                "subject": {"reference": "Patient?family=Abt"},
            },
        ),
    ],
)
def test_a_key_that_only_writes_reads_nothing_through_a_bundle(
    alice_client: APIClient, client_for: ClientFor, kind: str, probe: dict
) -> None:
    send(alice_client, "transaction", [entry("PUT", "Patient/a", {**PATIENT, "id": "a"})])
    answer = send(client_for(scopes=("fhir:write",)), kind, [probe])
    assert "Abt" not in answer.content.decode().replace("family=Abt", "")
    status = answer.json()["entry"][0]["response"]["status"] if kind == "batch" else "403"
    assert (status[:3], answer.status_code) == ("403", 200 if kind == "batch" else 403)
    assert alice_client.get("/v1/fhir/Patient/a")["ETag"] == 'W/"1"'


def test_a_search_in_a_bundle_includes_and_tests_only_what_the_key_may_read(
    alice_client: APIClient, client_for: ClientFor
) -> None:
    send(alice_client, "transaction", [entry("PUT", "Patient/a", {**PATIENT, "id": "a"})])
    key = client_for(scopes=("fhir:write", "Observation:read"))
    for query in ("_include=Observation:subject", "subject:Patient.family=Abt"):
        answer = send(key, "batch", [entry("GET", f"Observation?{query}")]).json()
        assert answer["entry"][0]["response"]["status"] == "403 Forbidden"
    answer = send(key, "batch", [entry("GET", "Observation?status=final")]).json()
    assert answer["entry"][0]["response"]["status"] == "200 OK"


def test_a_key_that_only_writes_reads_nothing_through_conditions_and_patches(
    alice_client: APIClient, client_for: ClientFor
) -> None:
    send(alice_client, "transaction", [entry("PUT", "Patient/a", {**PATIENT, "id": "a"})])
    key, body = client_for(scopes=("Patient:write",)), json.dumps(PATIENT)
    patch = '[{"op": "test", "path": "/name/0/family", "value": "Abt"}]'
    answers = [
        key.post("/v1/fhir/Patient", body, content_type=FHIR, HTTP_IF_NONE_EXIST="family=Abt"),
        key.put("/v1/fhir/Patient?family=Abt", body, content_type=FHIR),
        key.delete("/v1/fhir/Patient?family=Abt"),
        key.patch("/v1/fhir/Patient/a", patch, content_type="application/json-patch+json"),
    ]
    assert [answer.status_code for answer in answers] == [403] * 4
    both = client_for(scopes=("Patient:write", "Patient:read"))
    query = "_has:Observation:patient:code=1"
    assert both.delete(f"/v1/fhir/Patient?{query}").status_code == 403
    assert alice_client.get("/v1/fhir/Patient/a")["ETag"] == 'W/"1"'


def test_answers_can_be_minimal(alice_client: APIClient) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry("POST", "Patient", PATIENT)],
    }
    response = alice_client.post(
        "/v1/fhir",
        json.dumps(bundle),
        content_type=FHIR,
        headers={"Prefer": "return=minimal"},
    )
    assert "resource" not in response.json()["entry"][0]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(
    "entries",
    [
        None,
        "text",
        1.5,
        [None],
        [[]],
        [{"request": []}],
        [{"request": {"method": {}, "url": "Patient"}}],
        [{"request": {"method": "GET", "url": 7}}],
        [{"request": {"method": "GET", "url": "Patient/%00"}}],
        [{"request": {"method": "POST", "url": "Patient"}, "resource": []}],
        [{"request": {"method": "POST", "url": "http://[", "ifNoneExist": 1}}],
    ],
)
def test_a_malformed_bundle_is_400(alice_client: APIClient, kind: str, entries: object) -> None:
    bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
    response = alice_client.post("/v1/fhir", json.dumps(bundle), content_type=FHIR)
    assert response.status_code == 400
    assert response.json()["resourceType"] == "OperationOutcome"
    assert total(alice_client) == 0


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "copy", "from": "/name", "path": f"/name/0/x{i}"} for i in range(40)],
        [{"op": "copy", "from": "", "path": f"/a{i}"} for i in range(40)],
        [{"op": "add", "path": "/a" * depth, "value": {}} for depth in range(1, 1000)],
    ],
    ids=["doubling", "doubling the whole", "nesting"],
)
def test_a_patch_that_grows_without_end_is_refused(
    alice_client: APIClient, operations: list[dict[str, object]]
) -> None:
    send(alice_client, "transaction", [entry("PUT", "Patient/a", {**PATIENT, "id": "a"})])
    answer = alice_client.patch(
        "/v1/fhir/Patient/a", json.dumps(operations), content_type="application/json-patch+json"
    )
    assert answer.status_code in {400, 422}
    assert alice_client.get("/v1/fhir/Patient/a")["ETag"] == 'W/"1"'
