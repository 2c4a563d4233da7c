"""read, vread, create, update, patch, delete and history over HTTP."""

import json
from collections.abc import Callable

import pytest
from django.http import HttpResponse
from rest_framework.test import APIClient

ClientFor = Callable[..., APIClient]

pytestmark = pytest.mark.django_db
FHIR = "application/fhir+json"
OBSERVATION = """{"resourceType": "Observation", "status": "final",
 "subject": {"reference": "Patient/pat_123"},
 "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5",
                      "display": "Body temperature"}]},
 "valueQuantity": {"value": 101.20, "unit": "F"}}"""


def post(client: APIClient, kind: str, body: object, **headers: str) -> HttpResponse:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post(f"/v1/fhir/{kind}", text, content_type=FHIR, headers=headers)


def put(client: APIClient, address: str, body: object, **headers: str) -> HttpResponse:
    return client.put(f"/v1/fhir/{address}", json.dumps(body), content_type=FHIR, headers=headers)


def issue(response: HttpResponse) -> dict[str, object]:
    body = json.loads(response.content)
    assert body["resourceType"] == "OperationOutcome"
    assert response["Content-Type"].startswith(FHIR)
    return body["issue"][0]


def test_create_answers_201_with_headers_and_scope(alice_client: APIClient) -> None:
    response = post(alice_client, "Observation", OBSERVATION)
    assert response.status_code == 201
    rid = json.loads(response.content)["id"]
    assert response["Location"] == f"http://testserver/v1/fhir/Observation/{rid}/_history/1"
    assert response["ETag"] == 'W/"1"'
    assert response["Last-Modified"].endswith("GMT")
    assert response["HealthCloud-Organization-Id"] == "org_riverside"
    assert response["HealthCloud-Project-Id"] == "proj_riverside_screening"
    assert response["HealthCloud-Environment"] == "sandbox"
    assert b'"value": 101.20' in response.content
    read = alice_client.get(f"/v1/fhir/Observation/{rid}")
    assert read.content == response.content
    assert read["ETag"] == 'W/"1"'


def test_the_documented_observation_is_found_by_its_code(alice_client: APIClient) -> None:
    rid = json.loads(post(alice_client, "Observation", OBSERVATION).content)["id"]
    found = alice_client.get("/v1/fhir/Observation", {"code": "http://loinc.org|8310-5"}).json()
    assert found["type"] == "searchset"
    assert [entry["resource"]["id"] for entry in found["entry"]] == [rid]
    assert found["entry"][0]["fullUrl"] == f"http://testserver/v1/fhir/Observation/{rid}"


def test_an_observation_without_status_is_422_and_names_it(alice_client: APIClient) -> None:
    fragment = json.loads(OBSERVATION)
    del fragment["status"]
    response = post(alice_client, "Observation", fragment)
    assert response.status_code == 422
    assert issue(response)["expression"] == ["Observation.status"]
    assert alice_client.get("/v1/fhir/Observation?_total=accurate").json()["total"] == 0


@pytest.mark.parametrize(
    ("prefer", "has_body", "kind"),
    [
        ("return=minimal", False, None),
        ("return=representation", True, "Observation"),
        ("return=OperationOutcome", True, "OperationOutcome"),
    ],
)
def test_prefer_return(
    alice_client: APIClient, prefer: str, has_body: bool, kind: str | None
) -> None:
    response = post(alice_client, "Observation", OBSERVATION, Prefer=prefer)
    assert response.status_code == 201
    assert bool(response.content) is has_body
    if kind:
        assert json.loads(response.content)["resourceType"] == kind


def test_update_delete_and_history(alice_client: APIClient) -> None:
    patient = {"resourceType": "Patient", "id": "pat_123", "active": True}
    assert put(alice_client, "Patient/pat_123", patient).status_code == 201
    second = put(
        alice_client, "Patient/pat_123", {**patient, "active": False}, **{"If-Match": 'W/"1"'}
    )
    assert (second.status_code, second["ETag"]) == (200, 'W/"2"')
    stale = put(alice_client, "Patient/pat_123", patient, **{"If-Match": 'W/"1"'})
    assert stale.status_code == 412
    assert issue(stale)["code"] == "conflict"
    gone = alice_client.delete("/v1/fhir/Patient/pat_123")
    assert (gone.status_code, gone["ETag"]) == (204, 'W/"3"')
    read = alice_client.get("/v1/fhir/Patient/pat_123")
    assert read.status_code == 410
    assert issue(read)["code"] == "deleted"
    history = alice_client.get("/v1/fhir/Patient/pat_123/_history").json()
    assert history["total"] == 3
    assert [e["request"]["method"] for e in history["entry"]] == ["DELETE", "PUT", "PUT"]
    assert "resource" not in history["entry"][0]
    first = alice_client.get("/v1/fhir/Patient/pat_123/_history/1")
    assert first.json()["active"] is True
    assert alice_client.get("/v1/fhir/Patient/_history").json()["total"] == 3
    assert alice_client.get("/v1/fhir/_history").json()["total"] == 3


def test_update_wants_the_id_of_the_address(alice_client: APIClient) -> None:
    for body in ({"resourceType": "Patient"}, {"resourceType": "Patient", "id": "other"}):
        response = put(alice_client, "Patient/pat_123", body)
        assert response.status_code == 400
        assert "pat_123" in str(issue(response)["diagnostics"])
    assert alice_client.get("/v1/fhir/_history").json()["total"] == 0


def test_conditional_read_answers_304(alice_client: APIClient) -> None:
    address = post(alice_client, "Observation", OBSERVATION)["Location"]
    path = address.removeprefix("http://testserver").partition("/_history")[0]
    known = alice_client.get(path, headers={"If-None-Match": 'W/"1"'})
    assert (known.status_code, known.content, known["ETag"]) == (304, b"", 'W/"1"')
    other = alice_client.get(path, headers={"If-None-Match": 'W/"2"'})
    assert other.status_code == 200


def test_json_patch(alice_client: APIClient) -> None:
    rid = json.loads(post(alice_client, "Observation", OBSERVATION).content)["id"]
    patch = '[{"op": "replace", "path": "/status", "value": "amended"}]'
    response = alice_client.patch(
        f"/v1/fhir/Observation/{rid}", patch, content_type="application/json-patch+json"
    )
    assert response.status_code == 200
    assert json.loads(response.content)["status"] == "amended"
    assert b"101.20" in response.content
    bad = '[{"op": "remove", "path": "/status"}]'
    response = alice_client.patch(
        f"/v1/fhir/Observation/{rid}", bad, content_type="application/json-patch+json"
    )
    assert response.status_code == 422
    assert alice_client.get(f"/v1/fhir/Observation/{rid}")["ETag"] == 'W/"2"'


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "status", "code"),
    [
        ("get", "Observation/none", "", FHIR, 404, "not-found"),
        ("get", "Nonsense/1", "", FHIR, 404, "not-supported"),
        ("get", "Nonsense", "", FHIR, 404, "not-supported"),
        ("post", "Observation", "{", FHIR, 400, "structure"),
        ("post", "Observation", "", FHIR, 400, "invalid"),
        ("post", "Observation", "[]", FHIR, 400, "structure"),
        ("post", "Observation", "<Observation/>", "application/fhir+xml", 400, "structure"),
        ("post", "Observation", "{}", "text/turtle", 415, "not-supported"),
        ("post", "Observation", '{"resourceType": "Patient"}', FHIR, 400, "invalid"),
        ("post", "Observation", "{}", FHIR, 400, "invalid"),
        ("put", "Patient/a%20b", '{"resourceType":"Patient","id":"a b"}', FHIR, 400, "value"),
        ("get", "Patient/1/$nothing", "", FHIR, 404, "not-found"),
        ("get", "Patient?_count=x", "", FHIR, 400, "invalid"),
        ("get", "Patient?birthdate=yesterday", "", FHIR, 400, "invalid"),
        ("get", "Patient?_cursor=rubbish", "", FHIR, 400, "invalid"),
        ("get", "Patient?_filter=x", "", FHIR, 400, "invalid"),
        ("get", "Patient?_query=x", "", FHIR, 400, "not-supported"),
        ("post", "", '{"resourceType": "Patient"}', FHIR, 400, "invalid"),
        ("get", "?_type=Nothing", "", FHIR, 400, "invalid"),
        ("delete", "Observation", "", FHIR, 400, "invalid"),
        ("put", "_history", "{}", FHIR, 405, "not-supported"),
        ("get", "Patient/%00", "", FHIR, 400, "invalid"),
        ("get", "Patient/a%20b", "", FHIR, 404, "not-found"),
        ("get", "Patient?family=%00", "", FHIR, 400, "invalid"),
        ("get", "Provenance?target.name=x", "", FHIR, 400, "invalid"),
    ],
)
def test_every_error_is_an_operation_outcome(
    alice_client: APIClient,
    method: str,
    path: str,
    body: str,
    content_type: str,
    status: int,
    code: str,
) -> None:
    call = getattr(alice_client, method)
    args = {} if method == "get" else {"data": body, "content_type": content_type}
    response = call(f"/v1/fhir/{path}", **args)
    assert response.status_code == status, response.content
    assert issue(response)["code"] == code
    assert response["HealthCloud-Organization-Id"] == "org_riverside"


def test_no_key_is_401_with_an_outcome() -> None:
    response = APIClient().get("/v1/fhir/Patient/1")
    assert response.status_code == 401
    assert issue(response)["code"] == "login"
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_scopes_are_per_type_and_verb(client_for: ClientFor) -> None:
    reader = client_for(scopes=("Observation:read",))
    assert reader.get("/v1/fhir/Observation").status_code == 200
    assert reader.get("/v1/fhir/Patient").status_code == 403
    assert reader.get("/v1/observations").status_code == 200
    assert reader.get("/v1/patients").status_code == 403
    refused = post(reader, "Observation", OBSERVATION)
    assert refused.status_code == 403
    assert issue(refused)["code"] == "forbidden"
    assert reader.get("/v1/fhir/Observation?subject:Patient.name=x").status_code == 403
    assert reader.get("/v1/fhir/Observation?_total=accurate").json()["total"] == 0


def test_includes_hold_nothing_the_key_may_not_read(client_for: ClientFor) -> None:
    writer = client_for()
    put(writer, "Patient/pat_123", {"resourceType": "Patient", "id": "pat_123"})
    post(writer, "Observation", OBSERVATION)
    address = "/v1/fhir/Observation?_include=Observation:subject"
    assert len(writer.get(address).json()["entry"]) == 2
    assert len(client_for(scopes=("Observation:read",)).get(address).json()["entry"]) == 1


def test_an_organization_wide_key_must_name_the_project(client_for: ClientFor) -> None:
    wide = client_for(project=None)
    refused = wide.get("/v1/fhir/Patient")
    assert refused.status_code == 400
    assert "HealthCloud-Project" in str(issue(refused)["diagnostics"])
    named = wide.get("/v1/fhir/Patient?project_id=proj_riverside_screening")
    assert named.status_code == 200
    assert named["HealthCloud-Project-Id"] == "proj_riverside_screening"
    by_header = wide.get(
        "/v1/fhir/Patient", headers={"HealthCloud-Project": "proj_riverside_referrals"}
    )
    assert by_header["HealthCloud-Project-Id"] == "proj_riverside_referrals"
    foreign = wide.get("/v1/fhir/Patient?project_id=proj_lakeside_screening")
    assert foreign.status_code == 404
    assert issue(foreign)["code"] == "not-found"


def test_charlie_gets_404_and_nothing_moves(
    alice_client: APIClient, charlie_client: APIClient, client_for: ClientFor
) -> None:
    patient = {"resourceType": "Patient", "id": "pat_123", "active": True}
    put(alice_client, "Patient/pat_123", patient)
    strangers = [
        charlie_client,
        client_for(environment="production"),
        client_for(project="referrals"),
    ]
    for stranger in strangers:
        assert stranger.get("/v1/fhir/Patient/pat_123").status_code == 404
        assert stranger.get("/v1/fhir/Patient/pat_123/_history").status_code == 404
        assert stranger.get("/v1/fhir/Patient/pat_123/_history/1").status_code == 404
        assert stranger.get("/v1/patients/pat_123").status_code == 404
        assert "entry" not in stranger.get("/v1/fhir/Patient").json()
        assert "entry" not in stranger.get("/v1/fhir/Patient?_id=pat_123").json()
        stranger.delete("/v1/fhir/Patient/pat_123")
        patched = stranger.patch(
            "/v1/fhir/Patient/pat_123",
            '[{"op":"replace","path":"/active","value":false}]',
            content_type="application/json-patch+json",
        )
        assert patched.status_code == 404
    assert alice_client.get("/v1/fhir/Patient/pat_123")["ETag"] == 'W/"1"'
    # The same id in another tenant is another resource.
    put(charlie_client, "Patient/pat_123", {**patient, "active": False})
    assert alice_client.get("/v1/fhir/Patient/pat_123").json()["active"] is True


def test_aliases_answer_the_fhir_search(alice_client: APIClient) -> None:
    put(alice_client, "Patient/pat_123", {"resourceType": "Patient", "id": "pat_123"})
    found = alice_client.get("/v1/patients?_id=pat_123").json()
    assert found["entry"][0]["resource"]["id"] == "pat_123"
    assert alice_client.get("/v1/patients/pat_123").json()["id"] == "pat_123"
    for name in ("observations", "conditions", "encounters", "diagnostic-reports"):
        assert alice_client.get(f"/v1/{name}").json()["type"] == "searchset"


def test_metadata_is_open_and_generated() -> None:
    response = APIClient().get("/v1/fhir/metadata")
    assert response.status_code == 200
    statement = response.json()
    assert statement["fhirVersion"] == "4.0.1"
    kinds = {entry["type"]: entry for entry in statement["rest"][0]["resource"]}
    assert len(kinds) == 146
    codes = {parameter["name"] for parameter in kinds["Observation"]["searchParam"]}
    assert {"code", "date", "patient", "_id", "_lastUpdated"} <= codes


def test_validate_stores_nothing(alice_client: APIClient) -> None:
    response = alice_client.post(
        "/v1/fhir/Observation/$validate", '{"resourceType":"Observation"}', content_type=FHIR
    )
    assert response.status_code == 200
    found = {tuple(issue.get("expression", ())) for issue in response.json()["issue"]}
    assert ("Observation.status",) in found
    assert alice_client.get("/v1/fhir/_history").json()["total"] == 0


def test_search_by_post(alice_client: APIClient) -> None:
    post(alice_client, "Observation", OBSERVATION)
    response = alice_client.post(
        "/v1/fhir/Observation/_search",
        "code=8310-5&_total=accurate",
        content_type="application/x-www-form-urlencoded",
    )
    assert response.status_code == 200
    assert response.json()["total"] == 1


def test_unknown_parameters_are_named_or_refused(alice_client: APIClient) -> None:
    lenient = alice_client.get("/v1/fhir/Patient?favourite=blue").json()
    assert [entry["search"]["mode"] for entry in lenient["entry"]] == ["outcome"]
    assert "favourite" in lenient["entry"][0]["resource"]["issue"][0]["diagnostics"]
    strict = alice_client.get(
        "/v1/fhir/Patient?favourite=blue", headers={"Prefer": "handling=strict"}
    )
    assert strict.status_code == 400


def test_a_compartment_holds_what_belongs_to_the_patient(
    alice_client: APIClient, client_for: ClientFor
) -> None:
    rid = json.loads(post(alice_client, "Observation", OBSERVATION).content)["id"]
    found = alice_client.get("/v1/fhir/Patient/pat_123/Observation?code=8310-5").json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == [rid]
    assert found["link"][0]["url"].startswith(
        "http://testserver/v1/fhir/Patient/pat_123/Observation?"
    )
    assert "entry" not in alice_client.get("/v1/fhir/Patient/other/Observation").json()
    assert alice_client.get("/v1/fhir/Patient/pat_123/Organization").status_code == 400
    assert alice_client.get("/v1/fhir/Organization/1/Observation").status_code == 400
    narrow = client_for(scopes=("Patient:read",))
    assert narrow.get("/v1/fhir/Patient/pat_123/Observation").status_code == 403


@pytest.mark.parametrize("path", ["$validate", "Patient/$validate"])
def test_validate_without_a_resource_is_refused(alice_client: APIClient, path: str) -> None:
    response = alice_client.get(f"/v1/fhir/{path}")
    assert response.status_code == 400
    assert "Send the resource" in issue(response)["diagnostics"]


def test_a_page_links_to_the_next(alice_client: APIClient) -> None:
    for _ in range(3):
        post(alice_client, "Observation", OBSERVATION)
    seen, address = [], "/v1/fhir/Observation?_count=2&project_id=proj_riverside_screening"
    while address:
        page = alice_client.get(address).json()
        seen += [entry["resource"]["id"] for entry in page["entry"]]
        links = {link["relation"]: link["url"] for link in page["link"]}
        address = links.get("next", "").removeprefix("http://testserver")
    assert len(seen) == len(set(seen)) == 3


def test_parts_of_resources(alice_client: APIClient) -> None:
    rid = json.loads(post(alice_client, "Observation", OBSERVATION).content)["id"]
    part = alice_client.get(f"/v1/fhir/Observation/{rid}?_elements=status").json()
    assert set(part) == {"resourceType", "id", "meta", "status", "code"}
    assert part["meta"]["tag"][-1]["code"] == "SUBSETTED"
    found = alice_client.get("/v1/fhir/Observation?_summary=true").json()["entry"][0]["resource"]
    assert "valueQuantity" in found
    assert found["meta"]["tag"][-1]["code"] == "SUBSETTED"


def test_idempotency_keys_hold_for_creates(alice_client: APIClient) -> None:
    first, second = (
        post(alice_client, "Observation", OBSERVATION, **{"Idempotency-Key": "one"})
        for _ in range(2)
    )
    assert first.content == second.content
    assert second["Idempotent-Replayed"] == "true"
    assert alice_client.get("/v1/fhir/_history").json()["total"] == 1


@pytest.mark.parametrize("rid", ["_1", "_searching", "a.b-c_D", "x" * 64])
def test_ids_of_this_platform(alice_client: APIClient, rid: str) -> None:
    assert (
        put(alice_client, f"Patient/{rid}", {"resourceType": "Patient", "id": rid}).status_code
        == 201
    )
    assert alice_client.get(f"/v1/fhir/Patient/{rid}").json()["id"] == rid
