"""Key sets that clients publish: fetched, kept as long as their server says, asked for again."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from rest_framework.test import APIClient

from healthcloud.organizations import key_sets
from healthcloud.organizations.models import FetchedKeySet, UsedAssertion
from tests.healthcloud.receiver import Receiver, running_receiver

AUDIENCE = "http://127.0.0.1:8000/oauth/token"
ClientOf = Callable[..., APIClient]


@pytest.fixture(scope="module")
def old() -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": "old"}, private=True)


@pytest.fixture(scope="module")
def new() -> ECKey:
    return ECKey.generate_key("P-384", {"kid": "new"}, private=True)


@pytest.fixture
def server() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture
def admin(client_for: ClientOf) -> APIClient:
    return client_for(scopes=("keys:write", "fhir:read", "fhir:write"))


def published(*keys: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    body = {"keys": [key.as_dict(private=False) for key in keys]}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return 200, {"Content-Type": "application/json", **named}, json.dumps(body).encode()


@pytest.fixture
def client_id(admin: APIClient, server: Receiver) -> str:
    body = {
        "name": "export job",
        "scopes": ["system/Patient.rs"],
        "jwks_uri": f"{server.url}/keys.json",
    }
    answer = admin.post("/v1/api-keys", body, format="json")
    assert answer.status_code == 201, answer.json()
    assert (answer.json()["secret"], answer.json()["jwks"]) == (None, None)
    assert answer.json()["jwks_uri"] == f"{server.url}/keys.json"
    return answer.json()["id"]


def sign(client_id: str, key: Any, **header: str) -> str:
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": AUDIENCE,
        "jti": f"{time.time_ns()}",
        "exp": int(time.time()) + 240,
    }
    alg = "RS384" if isinstance(key, RSAKey) else "ES384"
    return jwt.encode({"alg": alg, "kid": key.kid, **header}, claims, key, algorithms=[alg])


def exchange(client_id: str, key: Any, **header: str) -> tuple[int, dict[str, Any]]:
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": sign(client_id, key, **header),
        "scope": "system/Patient.rs",
    }
    answer = Client().post("/oauth/token", form)
    return answer.status_code, answer.json()


def pass_time(**by: float) -> None:
    row = FetchedKeySet.objects.get()
    row.asked_at -= timedelta(**by)
    row.expires_at -= timedelta(**by)
    row.save()


def test_a_published_set_is_fetched_once_and_kept_as_long_as_its_server_says(
    client_id: str, server: Receiver, old: RSAKey
) -> None:
    server.answers = [published(old, Cache_Control="public, max-age=600")]
    status, body = exchange(client_id, old, jku=f"{server.url}/keys.json")
    assert status == 200, body
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {body['access_token']}")
    assert client.get("/v1/fhir/Patient").status_code == 200
    assert exchange(client_id, old)[0] == 200
    assert [got.path for got in server.received] == ["/keys.json"]
    row = FetchedKeySet.objects.get()
    assert row.expires_at - row.asked_at == timedelta(seconds=600)
    pass_time(seconds=601)
    assert exchange(client_id, old)[0] == 200
    assert len(server.received) == 2


def test_a_client_rotates_its_key_without_telling_anybody(
    client_id: str, server: Receiver, old: RSAKey, new: ECKey
) -> None:
    server.answers = [published(old, Cache_Control="max-age=3600")]
    assert exchange(client_id, old)[0] == 200
    server.answers = [published(new, Cache_Control="max-age=3600")]
    status, body = exchange(client_id, new)  # just asked: not again for each that names a key
    assert (status, body["error"]) == (401, "invalid_client")
    assert len(server.received) == 1
    pass_time(seconds=11)
    assert exchange(client_id, new)[0] == 200
    assert len(server.received) == 2
    status, body = exchange(client_id, old)
    assert (status, body["error"]) == (401, "invalid_client")
    assert UsedAssertion.objects.count() == 2


def test_what_did_not_change_is_asked_for_by_its_tag(
    client_id: str, server: Receiver, old: RSAKey
) -> None:
    server.answers = [
        published(old, ETag='"one"', Cache_Control="no-cache"),
        (304, {"Cache-Control": "max-age=60"}, b""),
    ]
    assert exchange(client_id, old)[0] == 200
    assert exchange(client_id, old)[0] == 200
    assert exchange(client_id, old)[0] == 200
    assert [got.headers.get("if-none-match") for got in server.received] == [None, '"one"']


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, {}, b""), "127.0.0.1 answered 500."),
        ((304, {}, b""), "127.0.0.1 answered 304."),
        ((302, {"Location": "http://127.0.0.1/"}, b""), "127.0.0.1 answered 302."),
        ((200, {}, b"<html>"), "127.0.0.1 answered with something that is not JSON."),
        ((200, {}, b"[" * 100_000), "127.0.0.1 answered with something that is not JSON."),
        ((200, {}, b"[]"), 'The answer is no {"keys": […]}.'),
        ((200, {}, b'{"keys": [7, {"kid": "a\\u0000"}]}'), "It has no RSA (2048 bits)"),
        ((200, {}, b'{"keys": [{"kid": "old", "kty": "oct", "k": "AA"}]}'), "It has no RSA"),
        ((200, {}, b" " * 300_000), "127.0.0.1 answered with more than 262144 bytes."),
    ],
)
def test_what_gives_no_keys_is_told_and_not_asked_again_at_once(
    client_id: str,
    server: Receiver,
    old: RSAKey,
    answer: tuple[int, dict[str, str], bytes],
    said: str,
) -> None:
    server.answers = [answer]
    for _ in range(2):
        status, body = exchange(client_id, old)
        assert (status, body["error"]) == (401, "invalid_client")
        assert said in body["error_description"]
    assert len(server.received) == 1
    assert UsedAssertion.objects.count() == 0
    server.answers = [published(old)]
    pass_time(seconds=11)
    assert exchange(client_id, old)[0] == 200


def test_a_private_key_that_was_published_is_not_trusted(
    client_id: str, server: Receiver, old: RSAKey, new: ECKey
) -> None:
    body = {"keys": [old.as_dict(private=True), new.as_dict(private=False)]}
    server.answers = [(200, {}, json.dumps(body).encode())]
    assert exchange(client_id, old)[0] == 401
    assert exchange(client_id, new)[0] == 200
    assert [key["kid"] for key in FetchedKeySet.objects.get().keys["keys"]] == ["new"]


def test_keys_named_elsewhere_are_not_fetched(
    client_id: str, server: Receiver, old: RSAKey
) -> None:
    server.answers = [published(old)]
    status, body = exchange(client_id, old, jku=f"{server.url}/others.json")
    assert (status, body["error"]) == (401, "invalid_client")
    assert server.received == []


def test_an_ended_client_makes_nobody_ask(
    client_id: str, server: Receiver, old: RSAKey, admin: APIClient
) -> None:
    assert admin.post(f"/v1/api-keys/{client_id}/rotate").status_code == 409
    assert admin.delete(f"/v1/api-keys/{client_id}").status_code == 204
    assert exchange(client_id, old)[0] == 401
    assert server.received == []


@pytest.mark.parametrize(
    "given",
    [
        {"jwks_uri": "https://10.0.0.1/keys"},
        {"jwks_uri": "https://169.254.169.254/latest/meta-data"},
        {"jwks_uri": "https://[fe80::1]/keys"},
        {"jwks_uri": "http://example.org/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "keys"},
        {"jwks_uri": "https://user:secret@example.org/keys"},
        {"jwks_uri": "https://example.org/keys", "jwks": {"keys": []}},
    ],
)
@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/api-keys", {"scopes": ["system/Patient.rs"]}),
        (
            "/v1/smart/clients",
            {
                "scopes": ["patient/*.rs"],
                "client_type": "confidential-asymmetric",
                "redirect_uris": ["https://app.example/cb"],
            },
        ),
    ],
)
def test_an_address_inside_of_a_network_is_not_registered(
    admin: APIClient, path: str, more: dict[str, Any], given: dict[str, Any]
) -> None:
    before = admin.get(path).json()["meta"]["total"]
    answer = admin.post(path, {"name": "client", **more, **given}, format="json")
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "jwks_uri")
    assert admin.get(path).json()["meta"]["total"] == before


def test_the_life_of_an_answer_is_that_of_http() -> None:
    day = timedelta(hours=24)
    wed = "Wed, 25 Nov 2026 10:00:00 GMT"
    for headers, life in (
        ({}, timedelta(minutes=5)),
        ({"cache-control": "max-age=90"}, timedelta(seconds=90)),
        ({"cache-control": "MAX-AGE=90", "age": "30"}, timedelta(seconds=60)),
        ({"cache-control": "max-age=90", "age": "100"}, timedelta(0)),
        ({"cache-control": "max-age=99999999999999999999"}, day),
        ({"cache-control": "no-store, max-age=90"}, timedelta(0)),
        ({"cache-control": 'private="x", no-cache'}, timedelta(0)),
        ({"cache-control": "max-age=soon"}, timedelta(minutes=5)),
        ({"expires": "Wed, 25 Nov 2026 10:01:00 GMT", "date": wed}, timedelta(minutes=1)),
        ({"expires": "0", "date": wed}, timedelta(0)),
        ({"expires": "Wed, 25 Nov 2020 10:01:00 GMT", "date": wed}, timedelta(0)),
    ):
        assert key_sets._life(headers) == life, headers


def test_an_app_with_an_address_of_keys_refreshes_and_changes_it(
    admin: APIClient, server: Receiver, old: RSAKey, new: ECKey
) -> None:
    body = {
        "name": "chart",
        "scopes": ["patient/*.rs"],
        "client_type": "confidential-asymmetric",
        "redirect_uris": ["https://app.example/cb"],
        "jwks_uri": f"{server.url}/app.json",
    }
    made = admin.post("/v1/smart/clients", body, format="json")
    assert made.status_code == 201, made.json()
    assert (made.json()["jwks"], made.json()["jwks_uri"]) == (None, f"{server.url}/app.json")
    app = made.json()["id"]

    def ask(key: Any) -> tuple[int, str]:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": "none",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": sign(app, key),
        }
        answer = Client().post("/oauth/token", form)
        return answer.status_code, answer.json()["error"]

    server.answers = [published(old)]
    assert ask(old) == (400, "invalid_grant")  # it is who it says; the token is nobody's
    assert ask(new) == (401, "invalid_client")
    path = f"/v1/smart/clients/{app}"
    changed = admin.patch(path, {"jwks_uri": f"{server.url}/moved.json"}, format="json")
    assert changed.json()["jwks_uri"] == f"{server.url}/moved.json"
    server.answers = [published(new)]
    assert ask(new) == (400, "invalid_grant")
    assert ask(old) == (401, "invalid_client")
    assert [got.path for got in server.received] == ["/app.json", "/moved.json"]
    jwks = {"keys": [old.as_dict(private=False)]}
    assert admin.patch(path, {"jwks": jwks}, format="json").json()["jwks_uri"] is None
    assert ask(old) == (400, "invalid_grant")
    gone = admin.patch(path, {"jwks_uri": None}, format="json")
    assert (gone.status_code, gone.json()["error"]["param"]) == (422, "jwks")
    assert ask(old) == (400, "invalid_grant")
    assert len(server.received) == 2


def test_two_who_ask_for_a_set_at_once_keep_one_row(
    client_id: str, server: Receiver, old: RSAKey
) -> None:
    server.answers = [published(old, Cache_Control="no-store")]
    source = key_sets.KeySource(client_id, "sandbox", None, f"{server.url}/keys.json")
    now = timezone.now()
    first = key_sets._fetch(source, None, now)
    assert key_sets._fetch(source, None, now) == first
    assert FetchedKeySet.objects.count() == 1
