"""SMART Backend Services: a client registers keys and exchanges signed assertions for tokens."""

import time
from collections.abc import Callable

import pytest
from django.test import Client
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from rest_framework.test import APIClient

from fhir.validation import validate
from healthcloud.organizations.models import UsedAssertion

AUDIENCE = "http://127.0.0.1:8000/oauth/token"
Register = Callable[..., str]


@pytest.fixture(scope="module")
def rsa() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "rsa"}, private=True)


@pytest.fixture(scope="module")
def ec() -> ECKey:
    return ECKey.generate_key("P-384", {"kid": "ec"}, private=True)


@pytest.fixture
def admin(client_for: Callable[..., APIClient]) -> APIClient:
    return client_for(scopes=("keys:write", "fhir:read", "fhir:write"))


@pytest.fixture
def client_id(admin: APIClient, rsa: RSAKey, ec: ECKey) -> str:
    jwks = {"keys": [rsa.as_dict(private=False), ec.as_dict(private=False)]}
    body = {"name": "export job", "scopes": ["system/Patient.rs"], "jwks": jwks}
    answer = admin.post("/v1/api-keys", body, format="json")
    assert answer.status_code == 201, answer.json()
    assert answer.json()["secret"] is None
    return answer.json()["id"]


def assertion(client_id: str, key: object, alg: str = "RS384", **claims: object) -> str:
    given = {
        "iss": client_id,
        "sub": client_id,
        "aud": AUDIENCE,
        "jti": f"{time.time_ns()}",
        "exp": int(time.time()) + 240,
        **claims,
    }
    header = {"alg": alg, "kid": getattr(key, "kid", "rsa")}
    return jwt.encode(header, given, key, algorithms=[alg])


def exchange(signed: str, scope: str = "system/Patient.rs", **form: str) -> tuple[int, dict]:
    data = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": signed,
        "scope": scope,
        **form,
    }
    answer = Client().post("/oauth/token", data)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("name", ["rsa", "ec"])
def test_a_signed_assertion_gives_a_token_of_five_minutes_that_reads_what_it_says(
    client_id: str, name: str, request: pytest.FixtureRequest, alice_client: APIClient
) -> None:
    key, alg = request.getfixturevalue(name), {"rsa": "RS384", "ec": "ES384"}[name]
    alice_client.put("/v1/fhir/Patient/p1", {"resourceType": "Patient", "id": "p1"}, format="json")
    status, body = exchange(assertion(client_id, key, alg))
    assert status == 200, body
    assert (body["token_type"], body["expires_in"], body["scope"]) == (
        "bearer",
        300,
        "system/Patient.rs",
    )
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {body['access_token']}")
    assert client.get("/v1/fhir/Patient/p1").status_code == 200
    assert client.get("/v1/fhir/Observation").status_code == 403
    assert client.delete("/v1/fhir/Patient/p1").status_code == 403
    assert alice_client.get("/v1/fhir/Patient/p1").status_code == 200


def test_an_assertion_is_good_once(client_id: str, rsa: RSAKey) -> None:
    signed = assertion(client_id, rsa)
    assert exchange(signed)[0] == 200
    status, body = exchange(signed)
    assert (status, body["error"]) == (401, "invalid_client")
    assert UsedAssertion.objects.count() == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://elsewhere.example/token"},
        {"sub": "key_other"},
        {"iss": "key_other", "sub": "key_other"},
        {"exp": int(time.time()) - 600},
        {"exp": int(time.time()) + 3600},
        {"exp": "soon"},
        {"jti": ""},
        {"jti": None},
        {"iss": "\0"},
        {"iss": 7},
    ],
)
def test_wrong_claims_are_refused(client_id: str, rsa: RSAKey, claims: dict) -> None:
    status, body = exchange(assertion(client_id, rsa, **claims))
    assert (status, body["error"]) == (401, "invalid_client")
    assert body["error_description"]
    assert UsedAssertion.objects.count() == 0


def test_other_keys_and_algorithms_are_refused(client_id: str, rsa: RSAKey) -> None:
    stranger = RSAKey.generate_key(2048, {"kid": "rsa"}, private=True)
    symmetric = OctKey.import_key("0" * 32, {"kid": "rsa"})
    signed = [
        assertion(client_id, stranger),
        assertion(client_id, rsa, "RS256"),
        assertion(client_id, symmetric, "HS256"),
        assertion(client_id, rsa)[:-8] + "AAAAAAAA",
        "no.jwt.atall",
        "nothing",
    ]
    for text in signed:
        status, body = exchange(text)
        assert (status, body["error"]) == (401, "invalid_client"), text


def test_a_request_that_is_none_is_refused_in_oauths_words(client_id: str, rsa: RSAKey) -> None:
    signed = assertion(client_id, rsa)
    assert exchange(signed, grant_type="password")[1]["error"] == "unsupported_grant_type"
    assert exchange(signed, client_assertion_type="x")[1]["error"] == "invalid_request"
    assert exchange("")[1]["error"] == "invalid_request"
    assert exchange(signed, scope="system/Observation.rs")[1]["error"] == "invalid_scope"
    assert Client().get("/oauth/token").status_code == 405


@pytest.mark.parametrize(
    "scope", ["system/Nothing.rs", "system/Observation.rs?date=gt2020", "system/Patient.rs?x=1"]
)
def test_a_scope_that_nothing_can_be_held_to_is_refused(
    admin: APIClient, rsa: RSAKey, scope: str
) -> None:
    jwks = {"keys": [rsa.as_dict(private=False)]}
    body = {"name": "export job", "scopes": ["system/*.rs"], "jwks": jwks}
    client = admin.post("/v1/api-keys", body, format="json").json()["id"]
    status, answer = exchange(assertion(client, rsa), scope=f"system/Patient.rs {scope}")
    assert (status, answer["error"]) == (400, "invalid_scope")
    assert scope in answer["error_description"]
    refused = admin.post("/v1/api-keys", {**body, "scopes": [scope]}, format="json")
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "scopes")


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("address", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("&".join(f"a{number}=1" for number in range(20_000)), FORM),
        ("--x", "multipart/form-data"),
        ("--x", "multipart/form-data; boundary=" + "x" * 300),
        ("token=a&token=b", FORM),
        ("token=%00", FORM),
        ("token=" + "x" * 20_000, FORM),
    ],
)
def test_a_form_that_can_not_be_read_is_refused_in_oauths_words(
    client_id: str, address: str, body: str, kind: str
) -> None:
    answer = Client(raise_request_exception=False).post(address, body, content_type=kind)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("address", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_other_methods_are_refused_in_oauths_words(address: str, method: str, db: None) -> None:
    answer = getattr(Client(), method)(address)
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert answer.json()["error"] == "invalid_request"


def test_a_revoked_client_gets_no_token_and_its_tokens_end(
    client_id: str, rsa: RSAKey, admin: APIClient
) -> None:
    _, body = exchange(assertion(client_id, rsa))
    assert admin.post(f"/v1/api-keys/{client_id}/rotate").status_code == 409
    assert admin.post(f"/v1/api-keys/{client_id}/revoke").status_code == 200
    assert exchange(assertion(client_id, rsa))[0] == 401
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {body['access_token']}")
    assert client.get("/v1/fhir/Patient").status_code == 401


def test_private_weak_and_nameless_keys_are_not_registered(
    admin: APIClient, rsa: RSAKey, ec: ECKey
) -> None:
    public = rsa.as_dict(private=False)
    nameless = {name: value for name, value in public.items() if name != "kid"}
    other_curve = ECKey.generate_key("P-256", {"kid": "x"}, private=True).as_dict(private=False)
    refused = [
        {},
        {"keys": []},
        {"keys": ["text"]},
        {"keys": [rsa.as_dict(private=True)]},
        {"keys": [nameless]},
        {"keys": [public, public]},
        {"keys": [other_curve]},
        {"keys": [{"kty": "oct", "kid": "x", "k": "c2VjcmV0"}]},
        {"keys": [{"kty": "RSA", "kid": "x"}]},
    ]
    for jwks in refused:
        body = {"name": "client", "scopes": ["system/Patient.rs"], "jwks": jwks}
        answer = admin.post("/v1/api-keys", body, format="json")
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, "jwks"), jwks


def test_the_server_says_where_and_how(alice_client: APIClient) -> None:
    configuration = Client().get("/v1/fhir/.well-known/smart-configuration").json()
    assert configuration["token_endpoint"] == AUDIENCE
    assert configuration["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    statement = alice_client.get("/v1/fhir/metadata").json()
    assert validate(statement) == []
    [extension] = statement["rest"][0]["security"]["extension"]
    assert {"url": "token", "valueUri": AUDIENCE} in extension["extension"]
    assert statement["instantiates"] == [
        "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"
    ]
