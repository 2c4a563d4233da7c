"""SMART App Launch from end to end: an app asks, a person decides, tokens are told once."""

import base64
import hashlib
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from rest_framework.test import APIClient

from healthcloud.actors import Actor
from healthcloud.organizations.models import (
    Environment,
    Membership,
    RefreshToken,
    SmartClient,
    SmartGrant,
)
from healthcloud.organizations.smart import clients, launches
from tests.studio.conftest import PLACE

pytestmark = pytest.mark.django_db
REDIRECT = "https://app.example/cb"
VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")
AUD = "http://127.0.0.1:8000/v1/fhir"
SCOPES = (
    *("launch", "launch/patient", "openid", "fhirUser", "offline_access", "online_access"),
    *("patient/*.rs", "user/Practitioner.rs"),
)
Register = Callable[..., clients.IssuedClient]


@pytest.fixture
def register(db: None) -> Register:
    def make(kind: str = "public", **more: Any) -> clients.IssuedClient:
        given: dict[str, Any] = {"redirect_uris": [REDIRECT], "scopes": SCOPES, **more}
        return clients.register_client(
            environment=Environment.objects.get(id="env_riverside_sandbox"),
            project_id="proj_riverside_screening",
            name="Growth chart",
            kind=kind,
            launch_uri="https://app.example/launch",
            actor=Actor(kind="user", id="usr_alice", label="Alice"),
            now=timezone.now(),
            **given,
        )

    return make


@pytest.fixture
def app(register: Register) -> SmartClient:
    return register().client


def query(app: SmartClient, **changes: str | None) -> str:
    given = {
        "response_type": "code",
        "client_id": app.pk,
        "redirect_uri": REDIRECT,
        "scope": "launch/patient openid fhirUser patient/*.rs",
        "state": "st&te",
        "aud": AUD,
        "code_challenge": CHALLENGE.decode(),
        "code_challenge_method": "S256",
        "nonce": "n1",
        **changes,
    }
    return urlencode({name: value for name, value in given.items() if value is not None})


def told(answer: Any) -> dict[str, str]:
    """Return what a redirect tells the app."""
    assert answer.status_code == 302, answer.content
    assert answer["Location"].startswith(REDIRECT + "?"), answer["Location"]
    return {
        name: values[0] for name, values in parse_qs(urlsplit(answer["Location"]).query).items()
    }


def allow(browser: Client, asked: str, *scopes: str, patient: str = "") -> dict[str, str]:
    chosen = list(scopes) or parse_qs(asked)["scope"][0].split()
    fields = {"decision": "allow", "scopes": chosen, "patient": patient}
    return told(browser.post(f"/oauth/authorize/decide?{asked}", fields))


def exchange(app: SmartClient, code: str, **more: Any) -> tuple[int, dict[str, Any]]:
    headers = more.pop("headers", {})
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
        "client_id": app.pk,
        **more,
    }
    answer = Client().post("/oauth/token", form, headers=headers)
    assert answer["Cache-Control"] == "no-store"
    return answer.status_code, answer.json()


def refresh(app: SmartClient, token: str, **more: str) -> tuple[int, dict[str, Any]]:
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": app.pk, **more}
    answer = Client().post("/oauth/token", form)
    return answer.status_code, answer.json()


def fhir(token: str) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def launched(browser: Client, app: SmartClient, scope: str, patient: str = "pat_maya") -> Any:
    asked = query(app, scope=scope)
    return exchange(app, allow(browser, asked, patient=patient)["code"])[1]


def test_a_person_picks_the_patient_whom_the_app_may_see(
    alice_browser: Client, app: SmartClient, maya: str
) -> None:
    asked = query(app)
    page = alice_browser.get(f"/oauth/authorize?{asked}")
    text = page.content.decode()
    assert page.status_code == 200
    assert "Growth chart asks for access" in text
    assert "Read and search all records of this patient" in text
    assert "Okafor" in text
    assert "form-action 'self' https://app.example" in page["Content-Security-Policy"]
    answer = allow(alice_browser, asked, patient=maya)
    assert answer["state"] == "st&te"
    status, body = exchange(app, answer["code"])
    assert status == 200, body
    assert (body["token_type"], body["expires_in"], body["patient"]) == ("Bearer", 3600, maya)
    assert body["scope"] == "fhirUser launch/patient openid patient/*.rs"
    assert body["need_patient_banner"] is True
    assert "refresh_token" not in body
    client = fhir(body["access_token"])
    assert client.get(f"/v1/fhir/Patient/{maya}").status_code == 200
    assert len(client.get("/v1/fhir/Observation").json()["entry"]) == 3
    assert client.get("/v1/fhir/Practitioner/usr_alice").status_code == 200


def test_the_id_token_says_who_signed_in(
    alice_browser: Client, app: SmartClient, maya: str
) -> None:
    body = launched(alice_browser, app, "launch/patient openid fhirUser patient/*.rs")
    known = KeySet.import_key_set(Client().get("/oauth/jwks").json())
    token = jwt.decode(body["id_token"], known, algorithms=["RS256"])
    assert token.header["alg"] == "RS256"
    claims = token.claims
    assert claims["iss"] == "http://127.0.0.1:8000"
    assert (claims["aud"], claims["sub"], claims["nonce"]) == (app.pk, "usr_alice", "n1")
    assert claims["fhirUser"] == f"{AUD}/Practitioner/usr_alice"
    assert claims["exp"] > time.time()
    assert not any("d" in key for key in Client().get("/oauth/jwks").json()["keys"])


def test_a_launch_from_the_record_brings_its_patient(
    alice_browser: Client, bob_browser: Client, app: SmartClient, maya: str
) -> None:
    answer = alice_browser.post(f"{PLACE}/settings/apps/{app.pk}/launch", {"patient": maya})
    given = parse_qs(urlsplit(answer["Location"]).query)
    assert answer["Location"].startswith("https://app.example/launch?")
    assert given["iss"] == [AUD]
    asked = query(app, scope="launch openid fhirUser patient/*.rs", launch=given["launch"][0])
    page = alice_browser.get(f"/oauth/authorize?{asked}").content.decode()
    assert "Which patient?" not in page
    assert "Okafor" in page
    stolen = told(bob_browser.get(f"/oauth/authorize?{asked}"))
    assert stolen["error"] == "invalid_request"
    body = exchange(app, allow(alice_browser, asked)["code"])[1]
    assert (body["patient"], body["need_patient_banner"]) == (maya, True)
    again = told(alice_browser.get(f"/oauth/authorize?{asked}"))
    assert again["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"state": None}, "invalid_request"),
        ({"aud": "https://evil.example/fhir"}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"scope": "nonsense"}, "invalid_scope"),
        ({"scope": "user/Observation.cud"}, "invalid_scope"),
        ({"launch": "guessed", "scope": "launch patient/*.rs"}, "invalid_request"),
        ({"prompt": "none"}, "interaction_required"),
    ],
)
def test_a_wrong_request_is_refused_to_the_app(
    alice_browser: Client, app: SmartClient, changes: dict[str, str | None], error: str
) -> None:
    answer = told(alice_browser.get(f"/oauth/authorize?{query(app, **changes)}"))
    assert answer["error"] == error
    assert answer["error_description"]
    assert "code" not in answer
    assert not SmartGrant.objects.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "key_unknown"},
        {"client_id": None},
        {"redirect_uri": "https://app.example/cb/"},
        {"redirect_uri": "https://app.example/cb?x=1"},
        {"redirect_uri": "https://evil.example/cb"},
        {"redirect_uri": None},
    ],
)
def test_nobody_is_sent_to_an_address_that_is_not_registered(
    alice_browser: Client, app: SmartClient, changes: dict[str, str | None]
) -> None:
    asked = query(app, **changes)
    assert alice_browser.get(f"/oauth/authorize?{asked}").status_code == 400
    posted = alice_browser.post(f"/oauth/authorize/decide?{asked}", {"decision": "allow"})
    assert posted.status_code == 400
    assert not SmartGrant.objects.exists()


def test_strangers_and_the_unsigned_grant_nothing(
    charlie_browser: Client, app: SmartClient, maya: str
) -> None:
    asked = query(app)
    assert told(charlie_browser.get(f"/oauth/authorize?{asked}"))["error"] == "access_denied"
    fields = {"decision": "allow", "scopes": ["patient/*.rs"], "patient": maya}
    answer = told(charlie_browser.post(f"/oauth/authorize/decide?{asked}", fields))
    assert answer["error"] == "access_denied"
    login = Client().get(f"/oauth/authorize?{asked}")
    assert login["Location"].startswith("/accounts/login/?next=")
    assert not SmartGrant.objects.exists()


def test_a_refusal_is_told(alice_browser: Client, app: SmartClient) -> None:
    answer = told(alice_browser.post(f"/oauth/authorize/decide?{query(app)}", {"decision": "deny"}))
    assert answer == {
        "error": "access_denied",
        "error_description": "the person said no",
        "state": "st&te",
    }


def test_no_decision_without_the_forms_token(app: SmartClient, alice: Any, maya: str) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    fields = {"decision": "allow", "scopes": ["patient/*.rs"], "patient": maya}
    answer = browser.post(f"/oauth/authorize/decide?{query(app)}", fields)
    assert answer.status_code == 403
    assert not SmartGrant.objects.exists()


def test_a_request_by_post_is_shown(alice_browser: Client, app: SmartClient) -> None:
    fields = {name: values[0] for name, values in parse_qs(query(app)).items()}
    answer = alice_browser.post("/oauth/authorize", fields)
    assert answer.status_code == 303
    assert alice_browser.get(answer["Location"]).status_code == 200


def test_a_patient_must_be_chosen_who_is_there(
    alice_browser: Client, app: SmartClient, maya: str
) -> None:
    for patient in ("", "nobody", "../Observation/x"):
        fields = {"decision": "allow", "scopes": ["patient/*.rs"], "patient": patient}
        answer = alice_browser.post(f"/oauth/authorize/decide?{query(app)}", fields)
        assert answer.status_code == 422
    assert not SmartGrant.objects.exists()


def test_fewer_scopes_can_be_granted_never_more(
    alice_browser: Client, app: SmartClient, maya: str
) -> None:
    asked = query(app, scope="launch/patient patient/Observation.rs")
    chosen = ("patient/Observation.rs", "patient/*.rs", "offline_access")
    body = exchange(app, allow(alice_browser, asked, *chosen, patient=maya)["code"])[1]
    assert body["scope"] == "patient/Observation.rs"
    client = fhir(body["access_token"])
    assert client.get("/v1/fhir/Condition").status_code == 403


def test_a_code_is_good_once_and_its_reuse_ends_the_grant(
    alice_browser: Client, app: SmartClient, maya: str
) -> None:
    code = allow(alice_browser, query(app), patient=maya)["code"]
    status, body = exchange(app, code)
    assert status == 200
    client = fhir(body["access_token"])
    assert client.get("/v1/fhir/Patient").status_code == 200
    status, again = exchange(app, code)
    assert (status, again["error"]) == (400, "invalid_grant")
    assert client.get("/v1/fhir/Patient").status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "w" * 50},
        {"code_verifier": ""},
        {"redirect_uri": "https://app.example/other"},
        {"code": "guessed"},
    ],
)
def test_a_code_needs_its_verifier_and_address(
    alice_browser: Client, app: SmartClient, maya: str, changes: dict[str, str]
) -> None:
    code = allow(alice_browser, query(app), patient=maya)["code"]
    status, body = exchange(app, **{"code": code, **changes})
    assert (status, body["error"]) == (400, "invalid_grant")
    assert exchange(app, code)[0] == 200


def test_a_code_is_good_for_a_minute_and_for_its_own_app(
    alice_browser: Client, app: SmartClient, register: Register, maya: str
) -> None:
    code = allow(alice_browser, query(app), patient=maya)["code"]
    other = register().client
    assert exchange(other, code)[1]["error"] == "invalid_grant"
    SmartGrant.objects.update(code_expires_at=timezone.now() - timedelta(seconds=1))
    assert exchange(app, code)[1]["error"] == "invalid_grant"


def test_refresh_tokens_rotate_and_a_replay_ends_all(
    alice_browser: Client, app: SmartClient, maya: str
) -> None:
    body = launched(alice_browser, app, "launch/patient offline_access patient/*.rs")
    status, second = refresh(app, body["refresh_token"])
    assert (status, second["patient"]) == (200, maya)
    assert second["refresh_token"] != body["refresh_token"]
    narrow = refresh(app, second["refresh_token"], scope="patient/*.rs")[1]
    assert narrow["scope"] == "patient/*.rs"
    wider = refresh(app, narrow["refresh_token"], scope="user/*.cruds")
    assert (wider[0], wider[1]["error"]) == (400, "invalid_scope")
    client = fhir(second["access_token"])
    assert client.get("/v1/fhir/Patient").status_code == 200
    replay = refresh(app, body["refresh_token"])
    assert (replay[0], replay[1]["error"]) == (400, "invalid_grant")
    assert refresh(app, narrow["refresh_token"])[1]["error"] == "invalid_grant"
    assert client.get("/v1/fhir/Patient").status_code == 401


def test_online_access_ends_with_the_session(
    alice_browser: Client, app: SmartClient, maya: str
) -> None:
    body = launched(alice_browser, app, "launch/patient online_access patient/*.rs")
    status, second = refresh(app, body["refresh_token"])
    assert status == 200
    Session.objects.all().delete()
    assert refresh(app, second["refresh_token"])[1]["error"] == "invalid_grant"


def test_an_expired_refresh_token_is_refused(
    alice_browser: Client, app: SmartClient, maya: str
) -> None:
    body = launched(alice_browser, app, "launch/patient offline_access patient/*.rs")
    RefreshToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert refresh(app, body["refresh_token"])[1]["error"] == "invalid_grant"


def test_secrets_are_kept_as_digests_and_sealed(
    alice_browser: Client, app: SmartClient, maya: str
) -> None:
    body = launched(alice_browser, app, "launch/patient offline_access patient/*.rs")
    grant = SmartGrant.objects.get()
    assert maya.encode() not in bytes(grant.context)
    digest = hashlib.sha256(body["refresh_token"].encode()).digest()
    assert bytes(RefreshToken.objects.get().digest) == digest
    assert maya not in body["access_token"]


def basic(client_id: str, secret: str) -> dict[str, str]:
    text = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


def test_a_confidential_app_proves_itself_with_its_secret(
    alice_browser: Client, register: Register, maya: str
) -> None:
    issued = register("confidential-symmetric")
    app = issued.client
    code = allow(alice_browser, query(app), patient=maya)["code"]
    for headers in ({}, basic(app.pk, "wrong"), basic(app.pk, "")):
        status, body = exchange(app, code, headers=headers)
        assert (status, body["error"]) == (401, "invalid_client")
    assert exchange(app, code, headers=basic(app.pk, issued.secret))[0] == 200
    assert issued.secret.encode() not in bytes(app.secret_digest)


def test_a_confidential_app_proves_itself_with_its_keys(
    alice_browser: Client, register: Register, maya: str
) -> None:
    key = RSAKey.generate_key(2048, {"kid": "k"}, private=True)
    jwks = {"keys": [key.as_dict(private=False)]}
    app = register("confidential-asymmetric", jwks=jwks).client
    code = allow(alice_browser, query(app), patient=maya)["code"]
    assert exchange(app, code)[1]["error"] == "invalid_client"
    claims = {
        "iss": app.pk,
        "sub": app.pk,
        "aud": "http://127.0.0.1:8000/oauth/token",
        "jti": "1",
        "exp": int(time.time()) + 60,
    }
    proof = {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode({"alg": "RS384", "kid": "k"}, claims, key,
                                       algorithms=["RS384"]),
    }  # fmt: skip
    assert exchange(app, code, **proof)[0] == 200
    form = {"grant_type": "client_credentials", "scope": "user/*.rs", **proof}
    assert Client().post("/oauth/token", form).json()["error"] == "invalid_client"


def test_ended_apps_and_former_members_get_nothing(
    alice_browser: Client, bob_browser: Client, app: SmartClient, maya: str
) -> None:
    by_bob = launched(bob_browser, app, "launch/patient offline_access patient/*.rs")
    client = fhir(by_bob["access_token"])
    assert client.get("/v1/fhir/Patient").status_code == 200
    Membership.objects.filter(user_id="usr_bob").delete()
    assert client.get("/v1/fhir/Patient").status_code == 401
    assert refresh(app, by_bob["refresh_token"])[1]["error"] == "invalid_grant"
    by_alice = launched(alice_browser, app, "launch/patient patient/*.rs")
    alice_browser.post(f"{PLACE}/settings/apps/{app.pk}/revoke")
    assert fhir(by_alice["access_token"]).get("/v1/fhir/Patient").status_code == 401
    assert alice_browser.get(f"/oauth/authorize?{query(app)}").status_code == 400


def test_a_person_ends_what_they_granted(
    alice_browser: Client, bob_browser: Client, app: SmartClient, maya: str
) -> None:
    body = launched(alice_browser, app, "launch/patient patient/*.rs")
    grant = SmartGrant.objects.get()
    bob_browser.post("/oauth/grants", {"grant": grant.id})
    assert fhir(body["access_token"]).get("/v1/fhir/Patient").status_code == 200
    assert b"Growth chart" in alice_browser.get("/oauth/grants").content
    alice_browser.post("/oauth/grants", {"grant": grant.id})
    assert fhir(body["access_token"]).get("/v1/fhir/Patient").status_code == 401


def test_a_role_that_shrinks_shrinks_what_was_granted(
    bob_browser: Client, register: Register, maya: str
) -> None:
    app = register(scopes=("launch/patient", "user/Observation.cruds")).client
    body = launched(bob_browser, app, "user/Observation.cruds")
    Membership.objects.filter(user_id="usr_bob").update(role="viewer")
    client = fhir(body["access_token"])
    assert client.get("/v1/fhir/Observation").status_code == 200
    assert client.delete("/v1/fhir/Observation/obs_k1").status_code == 403


def introspected(token: str, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = Client().post("/oauth/introspect", {"token": token}, headers=headers)
    return answer.status_code, answer.json()


def test_introspection_tells_a_client_of_the_same_environment(
    alice_browser: Client, register: Register, maya: str
) -> None:
    asking = register("confidential-symmetric")
    app = register().client
    body = launched(
        alice_browser, app, "launch/patient openid fhirUser offline_access patient/*.rs"
    )
    headers = basic(asking.client.pk, asking.secret)
    status, found = introspected(body["access_token"], **headers)
    assert status == 200
    assert found["active"] is True
    assert (found["client_id"], found["sub"], found["patient"]) == (app.pk, "usr_alice", maya)
    assert found["scope"] == body["scope"]
    assert found["fhirUser"] == f"{AUD}/Practitioner/usr_alice"
    assert introspected(body["refresh_token"], **headers)[1]["active"] is True
    assert introspected("nonsense", **headers)[1] == {"active": False}
    assert introspected(body["access_token"])[0] == 401
    form = {"token": body["access_token"], "client_id": app.pk}
    assert Client().post("/oauth/introspect", form).status_code == 401
    own = {"Authorization": f"Bearer {body['access_token']}"}
    assert introspected(body["access_token"], **own)[0] == 401


def test_introspection_names_the_encounter_of_the_launch(
    alice_browser: Client, register: Register, maya: str
) -> None:
    asking = register("confidential-symmetric")
    app = register(scopes=(*SCOPES, "launch/encounter")).client
    launch = launches.create_launch(
        client=app,
        context={"patient": maya, "encounter": "enc_1", "need_patient_banner": False},
        actor=Actor(kind="user", id="usr_alice", label="Alice"),
        now=timezone.now(),
    )
    asked = query(app, scope="launch launch/encounter patient/*.rs", launch=launch.launch)
    _, body = exchange(app, allow(alice_browser, asked)["code"])
    assert (body["patient"], body["encounter"]) == (maya, "enc_1")
    headers = basic(asking.client.pk, asking.secret)
    _, found = introspected(body["access_token"], **headers)
    assert (found["patient"], found["encounter"]) == (maya, "enc_1")
    assert "fhirUser" not in found


def test_scopes_that_nothing_can_be_held_to_are_not_offered(
    alice_browser: Client, app: SmartClient, maya: str
) -> None:
    unknown = "patient/Nothing.rs patient/Observation.rs?date=gt2020"
    asked = query(app, scope=f"launch/patient patient/Observation.rs {unknown}")
    body = exchange(app, allow(alice_browser, asked, patient=maya)["code"])[1]
    assert body["scope"] == "launch/patient patient/Observation.rs"
    answer = told(alice_browser.get(f"/oauth/authorize?{query(app, scope=unknown)}"))
    assert answer["error"] == "invalid_scope"


def test_revocation_ends_tokens_of_the_client_that_asks(
    alice_browser: Client, app: SmartClient, register: Register, maya: str
) -> None:
    body = launched(alice_browser, app, "launch/patient offline_access patient/*.rs")
    client = fhir(body["access_token"])
    stranger = register().client

    def revoke(token: str, client_id: str) -> int:
        form = {"token": token, "client_id": client_id}
        return Client().post("/oauth/revoke", form).status_code

    assert revoke(body["refresh_token"], stranger.pk) == 200
    assert revoke(body["access_token"], stranger.pk) == 200
    assert client.get("/v1/fhir/Patient").status_code == 200
    assert revoke(body["access_token"], app.pk) == 200
    assert client.get("/v1/fhir/Patient").status_code == 401
    status, second = refresh(app, body["refresh_token"])
    assert status == 200
    assert revoke(second["refresh_token"], app.pk) == 200
    assert fhir(second["access_token"]).get("/v1/fhir/Patient").status_code == 401
    assert revoke("nonsense", app.pk) == 200
    assert revoke("nonsense", "key_unknown") == 401


def test_browsers_of_other_origins_may_ask(alice_browser: Client, app: SmartClient) -> None:
    origin = {"Origin": "https://app.example"}
    for path in ("/v1/fhir/Patient", "/oauth/token", "/v1/fhir/.well-known/smart-configuration"):
        preflight = Client().options(
            path, headers={**origin, "Access-Control-Request-Method": "POST"}
        )
        assert preflight.status_code == 204
        assert preflight["Access-Control-Allow-Origin"] == "*"
        assert "Authorization" in preflight["Access-Control-Allow-Headers"]
    answer = Client().get("/v1/fhir/metadata", headers=origin)
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer
    for path in ("/v1/projects", "/studio/", "/oauth/authorize"):
        assert "Access-Control-Allow-Origin" not in Client().get(path, headers=origin)


def test_discovery_names_what_is_there(db: None) -> None:
    body = Client().get("/v1/fhir/.well-known/smart-configuration").json()
    assert body["authorization_endpoint"] == "http://127.0.0.1:8000/oauth/authorize"
    assert body["code_challenge_methods_supported"] == ["S256"]
    for name in ("launch-ehr", "launch-standalone", "client-public", "sso-openid-connect"):
        assert name in body["capabilities"]
    openid = Client().get("/.well-known/openid-configuration").json()
    assert openid["jwks_uri"] == body["jwks_uri"] == "http://127.0.0.1:8000/oauth/jwks"
    statement = Client().get("/v1/fhir/metadata").json()["rest"][0]["security"]
    uris = {part["url"]: part["valueUri"] for part in statement["extension"][0]["extension"]}
    assert uris["authorize"] == body["authorization_endpoint"]
    assert uris["token"] == body["token_endpoint"]
    assert uris["introspect"] == body["introspection_endpoint"]
    assert uris["revoke"] == body["revocation_endpoint"]
    assert uris["manage"] == body["management_endpoint"]
