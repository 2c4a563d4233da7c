"""Who may call the payer: registered keys, signed assertions that are good once, tokens.

https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html
"""

import base64
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

ALGORITHMS = ["RS384", "ES384"]
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
PREFIX = "sandbox-"
TOKEN_SECONDS = 300
LONGEST_ASSERTION = 300
SKEW = 30
SCOPES = frozenset({"system/Claim.cu", "system/ClaimResponse.rs"})
SANDBOX_KEYS: dict[str, Any] = {
    "keys": [
        {
            "kty": "EC",
            "crv": "P-384",
            "kid": "healthcloud-sandbox-1",
            "x": "eGHKUkZlpa6KtCVQ_nzWXZ7ra3xQF5A36XISoZ3Hv3y3_JtyLBa5tgU6GS6IWbWT",
            "y": "XeIyhR4hhtZgcag83_plJDHZnq6UjIROqT9ULAiJRcvwWaVEYB4_owiOmW8nGG4r",
        }
    ]
}
"""The public half of the key that the connector's manifest brings for the sandbox."""


class Refused(Exception):
    """A token request is refused; `code` is one of RFC 6749, section 5.2."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code, self.description, self.status = code, description, status


@dataclass(frozen=True, slots=True)
class Token:
    """An access token."""

    client_id: str
    scopes: frozenset[str]
    until: float


class Clients:
    """All clients; every method is safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, Token] = {}
        self._used: dict[tuple[str, str], float] = {}
        self._issued: dict[str, int] = {}

    def register(self, client_id: str, jwks: dict[str, Any]) -> None:
        """Let a client sign with these keys instead of the sandbox's own."""
        KeySet.import_key_set(jwks)  # type: ignore[arg-type]  # refuses what is no key set
        with self._lock:
            self._keys[client_id] = jwks

    def reset(self, client_id: str) -> None:
        """Forget a client's keys and tokens."""
        with self._lock:
            self._keys.pop(client_id, None)
            self._issued.pop(client_id, None)
            self._tokens = {k: v for k, v in self._tokens.items() if v.client_id != client_id}

    def issued(self, client_id: str) -> int:
        """Return how many tokens a client was given."""
        with self._lock:
            return self._issued.get(client_id, 0)

    def exchange(self, form: Mapping[str, str], audience: str) -> tuple[str, frozenset[str]]:
        """Return a token and its scopes for a signed assertion; raise Refused."""
        if form.get("grant_type") != "client_credentials":
            raise Refused("unsupported_grant_type", "grant_type must be client_credentials.")
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise Refused("invalid_request", f"client_assertion_type must be {ASSERTION_TYPE}.")
        assertion = form.get("client_assertion", "")
        client_id = _claimed(assertion)
        claims = self._verified(client_id, assertion)
        _check(claims, client_id, audience)
        scopes = frozenset(form.get("scope", "").split())
        if not scopes or not scopes <= SCOPES:
            raise Refused("invalid_scope", f"Ask for {' '.join(sorted(SCOPES))}.")
        self._use_once(client_id, str(claims["jti"]), float(claims["exp"]))
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._tokens[token] = Token(client_id, scopes, time.monotonic() + TOKEN_SECONDS)
            self._issued[client_id] = self._issued.get(client_id, 0) + 1
        return token, scopes

    def token(self, value: str) -> Token | None:
        """Return what is known of a token, None when it is unknown or expired."""
        with self._lock:
            found = self._tokens.get(value)
        return found if found is not None and found.until > time.monotonic() else None

    def expire_tokens(self, client_id: str) -> None:
        """Make all tokens of a client invalid."""
        with self._lock:
            self._tokens = {k: v for k, v in self._tokens.items() if v.client_id != client_id}

    def _verified(self, client_id: str, assertion: str) -> dict[str, Any]:
        with self._lock:
            keys = self._keys.get(client_id, SANDBOX_KEYS)
        if not isinstance(_part(assertion, 0).get("kid"), str):
            raise Refused("invalid_client", "The assertion's header has no `kid`.")
        try:
            key_set = KeySet.import_key_set(keys)  # type: ignore[arg-type]  # checked on entry
            return dict(jwt.decode(assertion, key_set, algorithms=ALGORITHMS).claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise Refused(
                "invalid_client", "No key of this client has the `kid`, or the signature is wrong."
            ) from error

    def _use_once(self, client_id: str, jti: str, until: float) -> None:
        now = time.time()
        with self._lock:
            self._used = {key: end for key, end in self._used.items() if end > now - SKEW}
            if (client_id, jti) in self._used:
                raise Refused("invalid_client", "This assertion was used before: `jti`.")
            self._used[client_id, jti] = until


def _part(assertion: str, position: int) -> dict[str, Any]:
    """Return the header (0) or the claims (1) of a JWT, unverified."""
    try:
        part = assertion.split(".")[position]
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise Refused("invalid_client", "client_assertion is no signed JWT.")
    return found


def _claimed(assertion: str) -> str:
    client_id = _part(assertion, 1).get("iss")
    if not isinstance(client_id, str) or not client_id.startswith(PREFIX) or len(client_id) > 120:
        raise Refused("invalid_client", "`iss` names no client of this payer.")
    return client_id


def _check(claims: Mapping[str, Any], client_id: str, audience: str) -> None:
    if claims.get("sub") != client_id:
        raise Refused("invalid_client", "`iss` and `sub` must be the client id.")
    if claims.get("aud") not in (audience, [audience]):
        raise Refused("invalid_client", f"`aud` must be {audience}.")
    if not isinstance(claims.get("jti"), str) or not 0 < len(claims["jti"]) <= 200:
        raise Refused("invalid_client", "`jti` is missing.")
    expires = claims.get("exp")
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        raise Refused("invalid_client", "`exp` is missing.")
    left = expires - time.time()
    if left <= -SKEW:
        raise Refused("invalid_client", "The assertion has expired.")
    if left > LONGEST_ASSERTION + SKEW:
        raise Refused("invalid_client", "`exp` must be within five minutes.")
