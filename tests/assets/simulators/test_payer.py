"""The payer simulator keeps the rules of SMART Backend Services and of PAS."""

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
import yaml
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

import assets
from assets.simulators.exchange import Answer, Request
from assets.simulators.payer.clients import ASSERTION_TYPE
from assets.simulators.payer.server import PayerSimulator

CONNECTOR = Path(assets.__file__).parent / "catalog" / "connectors" / "cms_prior_auth"
MANIFEST = yaml.safe_load((CONNECTOR / "asset.yaml").read_text())
KEY = ECKey.import_key(json.loads(MANIFEST["secrets"][0]["sandbox_default"]))
TOKEN_URL = "http://payer.example/payer/oauth2/token"
EXAMPLE = json.loads((CONNECTOR / "examples" / "pas_submit_request.json").read_text())
SCOPE = "system/Claim.cu system/ClaimResponse.rs"


class Client:
    """Calls the simulator without a wire."""

    def __init__(self) -> None:
        self.simulator = PayerSimulator()
        self.headers = {"host": "payer.example", "content-type": "application/fhir+json"}

    def post(self, path: str, body: bytes) -> Answer:
        return self.simulator.answer(Request("POST", path, self.headers, body))

    def token(self, assertion: str, scope: str = SCOPE) -> Answer:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
            "scope": scope,
        }
        return self.post("/oauth2/token", urlencode(form).encode())

    def sign_in(self, scope: str = SCOPE) -> "Client":
        token = json.loads(self.token(assertion(), scope).body)["access_token"]
        self.headers["authorization"] = f"Bearer {token}"
        return self

    def submit(self, bundle: Any, operation: str = "submit") -> tuple[int, dict[str, Any]]:
        answer = self.post(f"/fhir/Claim/${operation}", json.dumps(bundle).encode())
        return answer.status, json.loads(answer.body)


def assertion(
    key: Any = KEY, alg: str = "ES384", kid: str | None = "healthcloud-sandbox-1", **changes: Any
) -> str:
    claims = {
        "iss": "sandbox-a",
        "sub": "sandbox-a",
        "aud": TOKEN_URL,
        "jti": uuid4().hex,
        "exp": int(time.time()) + 240,
        **changes,
    }
    header = {"alg": alg, "typ": "JWT"} | ({"kid": kid} if kid else {})
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(header, kept, key, algorithms=[alg])


def test_a_signed_assertion_gets_a_token_once() -> None:
    client, signed = Client(), assertion()
    first, second = client.token(signed), client.token(signed)
    assert first.status == 200
    assert json.loads(first.body)["expires_in"] == 300
    assert (second.status, json.loads(second.body)["error"]) == (400, "invalid_client")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "http://payer.example/payer/fhir"},
        {"aud": None},
        {"sub": "sandbox-b"},
        {"iss": "someone", "sub": "someone"},
        {"exp": 1},
        {"exp": 9_999_999_999},
        {"exp": None},
        {"jti": None},
        {"kid": None},
        {"kid": "another"},
        {"key": ECKey.generate_key("P-384", {}, private=True)},
        {"key": ECKey.generate_key("P-256", {}, private=True), "alg": "ES256"},
        {"key": OctKey.import_key("a" * 48), "alg": "HS384"},
    ],
)
def test_an_assertion_that_breaks_a_rule_gets_none(changes: dict[str, Any]) -> None:
    answer = Client().token(assertion(**changes))
    assert (answer.status, json.loads(answer.body)["error"]) == (400, "invalid_client")


def test_a_client_may_register_a_key_of_its_own() -> None:
    client = Client()
    key = RSAKey.generate_key(2048, {"kid": "mine"}, private=True)
    body = {"client_id": "sandbox-a", "jwks": {"keys": [key.as_dict(private=False)]}}
    assert client.post("/_sandbox/clients", json.dumps(body).encode()).status == 201
    assert client.token(assertion(key, "RS384", "mine")).status == 200
    assert client.token(assertion()).status == 400


def test_scopes_are_granted_and_kept() -> None:
    assert json.loads(Client().token(assertion(), "system/*.*").body)["error"] == "invalid_scope"
    client = Client().sign_in("system/ClaimResponse.rs")
    assert client.submit(EXAMPLE)[0] == 403


def test_without_a_token_nothing_is_taken() -> None:
    status, body = Client().submit(EXAMPLE)
    assert (status, body["issue"][0]["code"]) == (401, "login")


def test_the_published_example_is_certified_and_known_again() -> None:
    client = Client().sign_in()
    status, body = client.submit(EXAMPLE)
    assert status == 200
    assert body["type"] == "collection"
    answer = body["entry"][0]["resource"]
    assert (answer["resourceType"], answer["outcome"]) == ("ClaimResponse", "complete")
    assert answer["preAuthRef"] == "AUTH000001"
    assert client.submit(EXAMPLE)[1]["entry"][0]["resource"]["preAuthRef"] == "AUTH000001"
    asked = client.submit(EXAMPLE, "inquire")[1]
    assert asked["parameter"][0]["resource"]["entry"][0]["resource"]["outcome"] == "complete"


def drop_claim(bundle: Any) -> None:
    bundle["entry"].append(bundle["entry"].pop(0))


def drop_coverage(bundle: Any) -> None:
    bundle["entry"] = [e for e in bundle["entry"] if e["resource"]["resourceType"] != "Coverage"]


FAULTS: list[tuple[Callable[[Any], object], str]] = [
    (drop_claim, "First entry must be a Claim"),
    (drop_coverage, "which is not in the bundle"),
    (lambda b: b.update(type="batch"), "Bundle.type must be collection"),
    (lambda b: b.pop("identifier"), "Bundle.identifier is required"),
    (lambda b: b.update(entry=[]), "Each entry has fullUrl and resource"),
    (lambda b: b["entry"][1].update(b["entry"][2]), "Two entries have the same fullUrl"),
    (lambda b: b["entry"][0]["resource"].update(use="claim"), "Claim.use must be preauthorization"),
    (lambda b: b["entry"][0]["resource"].pop("item"), "Claim.item is required"),
    (lambda b: b["entry"][0]["resource"].pop("identifier"), "Claim.identifier is required"),
    (lambda b: b["entry"][0]["resource"].pop("insurance"), "Claim.insurance is required"),
    (lambda b: b["entry"][1]["resource"].pop("identifier"), "The provider has no valid NPI"),
    (lambda b: b["entry"][4]["resource"].update(status="cancelled"), "The coverage is not active"),
]


@pytest.mark.parametrize(("change", "text"), FAULTS)
def test_a_bundle_that_breaks_a_rule_is_refused(change: Callable[[Any], object], text: str) -> None:
    bundle = copy.deepcopy(EXAMPLE)
    change(bundle)
    status, body = Client().sign_in().submit(bundle)
    assert status == 400
    assert any(text in issue["details"]["text"] for issue in body["issue"]), body


def test_what_is_not_json_is_refused() -> None:
    assert Client().sign_in().post("/fhir/Claim/$submit", b"{").status == 400


def test_a_pended_request_can_be_decided_by_hand() -> None:
    client, bundle = Client().sign_in(), copy.deepcopy(EXAMPLE)
    bundle["entry"][4]["resource"]["identifier"][0]["value"] = "W1-A4"
    client.submit(bundle)
    body = {"client_id": "sandbox-a", "identifier": "HC-PA-0001", "code": "A2"}
    assert client.post("/_sandbox/decide", json.dumps(body).encode()).status == 200
    answer = client.submit(bundle, "inquire")[1]["parameter"][0]["resource"]["entry"][0]
    action = answer["resource"]["item"][0]["adjudication"][0]["extension"][0]["extension"][0]
    assert action["valueCodeableConcept"]["coding"][0]["code"] == "A2"


def test_an_unknown_request_has_no_answer() -> None:
    status, body = Client().sign_in().submit(EXAMPLE, "inquire")
    assert (status, body) == (200, {"resourceType": "Parameters"})
