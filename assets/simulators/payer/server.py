"""The payer's server: SMART configuration, tokens, metadata, `Claim/$submit`, `Claim/$inquire`.

Client ids begin with `sandbox-`; each has its own requests and keys. Member ids that end in
`-400 -422 -429 -500 -503 -SLOW -LOST` meet that fault when a request is submitted (LOST: the
request is taken in, and the answer lost); the other endings are those of `decisions`.
`/_sandbox/…` is ours.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from assets.simulators.exchange import Answer, Request
from assets.simulators.payer.clients import ASSERTION_TYPE, SCOPES, TOKEN_SECONDS, Clients, Refused
from assets.simulators.payer.decisions import LABELS, Case, Json, new_case, response
from assets.simulators.payer.outcomes import FHIR_JSON, Issue, fhir, outcome
from assets.simulators.payer.requests import AuthorizationRequest, parse

HANG_SECONDS = 45.0
_FAULT = re.compile(r"-(400|422|429|500|503|SLOW|LOST)$", re.IGNORECASE)
Key = tuple[str, tuple[str, str]]


class PayerSimulator:
    """Answers below `/payer`."""

    def __init__(self) -> None:
        self.clients = Clients()
        self._lock = threading.Lock()
        self._cases: dict[Key, Case] = {}
        self._submissions: dict[str, int] = {}
        self._routes: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "/fhir/.well-known/smart-configuration"): _smart_configuration,
            ("GET", "/fhir/metadata"): _metadata,
            ("POST", "/oauth2/token"): self._token,
            ("POST", "/fhir/Claim/$submit"): self._submit,
            ("POST", "/fhir/Claim/$inquire"): self._inquire,
            ("POST", "/_sandbox/decide"): self._decide,
            ("POST", "/_sandbox/clients"): self._register,
            ("POST", "/_sandbox/expire"): self._expire,
            ("POST", "/_sandbox/state"): self._state,
            ("POST", "/_sandbox/reset"): self._reset,
        }

    def answer(self, request: Request) -> Answer:
        """Answer a request."""
        handler = self._routes.get((request.method, request.path))
        if handler is not None:
            return handler(request)
        if any(path == request.path for _, path in self._routes):
            return outcome(405, [Issue("not-supported", f"{request.method} is not allowed here")])
        return outcome(404, [Issue("not-found", f"Nothing is served at {request.path}")])

    # --- tokens

    def _token(self, request: Request) -> Answer:
        try:
            token, scopes = self.clients.exchange(request.form(), _token_url(request))
        except Refused as error:
            body = {"error": error.code, "error_description": error.description}
            return Answer.json(body, status=error.status)
        answer = {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": " ".join(sorted(scopes)),
        }
        return Answer.json(answer, headers={"Cache-Control": "no-store"})

    def _client(self, request: Request, scope: str) -> str | Answer:
        """Return who calls, or the answer for who may not."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        token = self.clients.token(value) if scheme.lower() == "bearer" else None
        if token is None:
            return outcome(401, [Issue("login", "The access token is missing, unknown or expired")])
        if scope not in token.scopes:
            return outcome(403, [Issue("forbidden", f"The token has no scope {scope}")])
        if not request.headers.get("content-type", "").startswith(FHIR_JSON):
            return outcome(415, [Issue("not-supported", f"Content-Type must be {FHIR_JSON}")])
        return token.client_id

    # --- requests

    def _asked(
        self, request: Request, scope: str, *, inquiry: bool
    ) -> tuple[str, AuthorizationRequest] | Answer:
        """Return who asks for what, or the answer for a request that can't be used."""
        client_id = self._client(request, scope)
        if isinstance(client_id, Answer):
            return client_id
        parsed = parse(request.body, inquiry=inquiry)
        return outcome(400, parsed) if isinstance(parsed, list) else (client_id, parsed)

    def _submit(self, request: Request) -> Answer:
        asked = self._asked(request, "system/Claim.cu", inquiry=False)
        if isinstance(asked, Answer):
            return asked
        client_id, parsed = asked
        fault = _FAULT.search(parsed.member)
        word = fault[1].upper() if fault else ""
        if word and word != "LOST":
            return _failing(word)
        case = self._take(client_id, parsed)
        if word and case.inquiries == 0:
            return _failing("500")
        return fhir(response(case, datetime.now(UTC)))

    def _take(self, client_id: str, parsed: AuthorizationRequest) -> Case:
        """Return the case of a request; one that was received before is not taken in again."""
        key = (client_id, parsed.key)
        with self._lock:
            self._submissions[client_id] = self._submissions.get(client_id, 0) + 1
            case = self._cases.get(key)
            if case is None or (case.asks_more and parsed.claim.get("supportingInfo")):
                case = new_case(parsed, len(self._cases) + 1, datetime.now(UTC))
                self._cases[key] = case
            return case

    def _inquire(self, request: Request) -> Answer:
        asked = self._asked(request, "system/ClaimResponse.rs", inquiry=True)
        if isinstance(asked, Answer):
            return asked
        client_id, parsed = asked
        with self._lock:
            case = self._cases.get((client_id, parsed.key))
            if case is not None and case.request.member == parsed.member:
                case.inquired()
                found = [response(case, datetime.now(UTC))]
            else:
                found = []
        parameters = [{"name": "return", "resource": bundle} for bundle in found]
        body: Json = {"resourceType": "Parameters"}
        return fhir(body | ({"parameter": parameters} if parameters else {}))

    # --- ours

    def _decide(self, request: Request) -> Answer:
        body = _body(request)
        code, value = str(body.get("code")), str(body.get("identifier"))
        if code not in LABELS:
            return Answer.json({"error": f"code is one of {', '.join(LABELS)}"}, status=400)
        with self._lock:
            for (client_id, (_, identifier)), case in self._cases.items():
                if (client_id, identifier) == (body.get("client_id"), value):
                    case.decide(code)
                    return Answer.json({"identifier": value, "code": code})
        return Answer.json({"error": f"no request {value}"}, status=404)

    def _register(self, request: Request) -> Answer:
        body = _body(request)
        client_id, jwks = str(body.get("client_id", "")), body.get("jwks")
        try:
            if not isinstance(jwks, dict):
                raise ValueError("jwks is a key set")
            self.clients.register(client_id, jwks)
        except (ValueError, TypeError, KeyError) as error:
            return Answer.json({"error": str(error)}, status=400)
        return Answer.json({"registered": client_id}, status=201)

    def _expire(self, request: Request) -> Answer:
        client_id = str(_body(request).get("client_id", ""))
        self.clients.expire_tokens(client_id)
        return Answer.json({"expired": client_id})

    def _state(self, request: Request) -> Answer:
        client_id = str(_body(request).get("client_id", ""))
        with self._lock:
            cases = [case for (owner, _), case in self._cases.items() if owner == client_id]
            submissions = self._submissions.get(client_id, 0)
        return Answer.json(
            {
                "requests": [case.request.bundle for case in cases],
                "codes": {case.request.key[1]: case.code for case in cases},
                "submissions": submissions,
                "tokens_issued": self.clients.issued(client_id),
            }
        )

    def _reset(self, request: Request) -> Answer:
        client_id = str(_body(request).get("client_id", ""))
        self.clients.reset(client_id)
        with self._lock:
            self._cases = {k: v for k, v in self._cases.items() if k[0] != client_id}
            self._submissions.pop(client_id, None)
        return Answer.json({"reset": client_id})


def _body(request: Request) -> Mapping[str, object]:
    found = request.json()
    return found if isinstance(found, dict) else {}


def _base(request: Request) -> str:
    return f"http://{request.headers.get('host', '127.0.0.1')}/payer"


def _token_url(request: Request) -> str:
    return f"{_base(request)}/oauth2/token"


def _smart_configuration(request: Request) -> Answer:
    return Answer.json(
        {
            "token_endpoint": _token_url(request),
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
            "client_assertion_types_supported": [ASSERTION_TYPE],
            "scopes_supported": sorted(SCOPES),
            "capabilities": ["client-confidential-asymmetric"],
        }
    )


def _metadata(request: Request) -> Answer:
    definition = "http://hl7.org/fhir/us/davinci-pas/OperationDefinition"
    operations = [
        {"name": name, "definition": f"{definition}/{target}"}
        for name, target in (("submit", "Claim-submit"), ("inquire", "Claim-inquiry"))
    ]
    return fhir(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": "2026-11-01",
            "kind": "instance",
            "software": {"name": "HealthCloud payer simulator"},
            "implementation": {
                "description": "Prior authorization",
                "url": f"{_base(request)}/fhir",
            },
            "fhirVersion": "4.0.1",
            "format": ["json"],
            "implementationGuide": [
                "http://hl7.org/fhir/us/davinci-pas/ImplementationGuide/hl7.fhir.us.davinci-pas|2.2.1"
            ],
            "rest": [{"mode": "server", "resource": [{"type": "Claim", "operation": operations}]}],
        }
    )


def _failing(word: str) -> Answer:
    """Return the answer of a fault."""
    match word:
        case "400":
            return outcome(400, [Issue("invalid", "The request can't be processed", "Bundle")])
        case "422":
            text = "The diagnosis does not support the service"
            return outcome(422, [Issue("business-rule", text, "Claim.diagnosis[0]")])
        case "429":
            limited = outcome(429, [Issue("throttled", "Too many requests")])
            return Answer(429, limited.body, FHIR_JSON, {"Retry-After": "1"})
        case "SLOW":
            time.sleep(HANG_SECONDS)
            return Answer(504, b"<html>Gateway timeout</html>", "text/html")
        case _:
            return Answer(int(word), b"<html>Internal error</html>", "text/html")
