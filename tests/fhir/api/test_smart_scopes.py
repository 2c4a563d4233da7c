"""Keys with SMART's scopes: each interaction needs its own verb, on its own type."""

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

OBSERVATION = {
    "resourceType": "Observation",
    "id": "obs_1",
    "status": "final",
    "code": {"text": "x"},
    "subject": {"reference": "Patient/pat_1"},
}
ROUTES = {
    "c": ("post", "/v1/fhir/Observation"),
    "r": ("get", "/v1/fhir/Observation/obs_1"),
    "u": ("put", "/v1/fhir/Observation/obs_1"),
    "d": ("delete", "/v1/fhir/Observation/obs_1"),
    "s": ("get", "/v1/fhir/Observation"),
}


def call(client: APIClient, verb: str) -> int:
    method, path = ROUTES[verb]
    body = OBSERVATION if verb in "cu" else None
    return getattr(client, method)(path, body, format="json").status_code


@pytest.fixture
def stored(alice_client: APIClient) -> None:
    for resource in (OBSERVATION, {"resourceType": "Patient", "id": "pat_1"}):
        path = f"/v1/fhir/{resource['resourceType']}/{resource['id']}"
        assert alice_client.put(path, resource, format="json").status_code == 201


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("system/Observation.rs", "rs"),
        ("system/Observation.r", "r"),
        ("system/Observation.s", "s"),
        ("system/Observation.c", "c"),
        ("user/Observation.ud", "ud"),
        ("system/*.cruds", "cruds"),
        ("system/Observation.read", "rs"),
        ("system/Observation.write", "cud"),
        ("system/Observation.*", "cruds"),
        ("system/Patient.cruds", ""),
        ("Observation:read", "rs"),
        ("Observation:write", "cud"),
    ],
)
def test_each_verb_is_granted_on_its_own(
    client_for: Callable[..., APIClient], stored: None, scope: str, granted: str
) -> None:
    client = client_for(scopes=(scope,))
    for verb in "rsucd":
        status = call(client, verb)
        assert (status != 403) is (verb in granted), (verb, status)


def test_denied_writes_change_nothing(
    client_for: Callable[..., APIClient], stored: None, alice_client: APIClient
) -> None:
    client = client_for(scopes=("system/Observation.rs",))
    assert [call(client, verb) for verb in "cud"] == [403, 403, 403]
    answer = alice_client.get("/v1/fhir/Observation/obs_1")
    assert (answer.json()["meta"]["versionId"], answer.status_code) == ("1", 200)
    assert len(alice_client.get("/v1/fhir/Observation").json()["entry"]) == 1


@pytest.mark.parametrize(
    "query",
    ["Observation?patient.name=x", "Observation?_has:Provenance:target:agent=Patient/pat_1"],
)
def test_chains_read_what_they_test(
    client_for: Callable[..., APIClient], stored: None, query: str
) -> None:
    narrow = client_for(scopes=("system/Observation.rs",))
    assert narrow.get(f"/v1/fhir/{query}").status_code == 403
    wide = client_for(scopes=("system/*.rs",))
    assert wide.get(f"/v1/fhir/{query}").status_code == 200


def test_includes_leave_out_what_may_not_be_read(
    client_for: Callable[..., APIClient], stored: None
) -> None:
    query = "/v1/fhir/Observation?_include=Observation:subject"
    narrow = client_for(scopes=("system/Observation.rs",)).get(query).json()
    assert [e["resource"]["resourceType"] for e in narrow["entry"]] == ["Observation"]
    wide = client_for(scopes=("system/Observation.rs", "system/Patient.r")).get(query).json()
    assert [e["resource"]["resourceType"] for e in wide["entry"]] == ["Observation", "Patient"]


def test_entries_of_bundles_are_held_to_the_verbs(
    client_for: Callable[..., APIClient], stored: None, alice_client: APIClient
) -> None:
    client = client_for(scopes=("system/*.c", "system/Observation.r"))
    entries = [
        {"request": {"method": "DELETE", "url": "Observation/obs_1"}},
        {
            "resource": OBSERVATION,
            "request": {"method": "PUT", "url": "Observation/obs_1"},
        },
    ]
    for entry in entries:
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        assert client.post("/v1/fhir", bundle, format="json").status_code == 403
    assert alice_client.get("/v1/fhir/Observation/obs_1").json()["meta"]["versionId"] == "1"


def test_a_key_is_given_only_scopes_that_exist_and_that_its_maker_holds(
    client_for: Callable[..., APIClient],
) -> None:
    maker = client_for(scopes=("keys:write", "fhir:read"), project=None)

    def make(scope: str) -> int:
        body = {"name": "smart", "scopes": [scope]}
        return maker.post("/v1/api-keys", body, format="json").status_code

    assert make("system/Observation.rs") == 201
    assert make("system/Observation.cruds") == 403
    assert make("system/Observation.sr") == 422
    assert make("system/Observation.") == 422
    assert make("patient/Observation.rs") == 422
