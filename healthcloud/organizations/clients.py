"""SMART Backend Services: a key that is a public key set, and tokens for signed assertions.

https://hl7.org/fhir/smart-app-launch/backend-services.html
https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import IntegrityError, transaction
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from healthcloud.errors import HealthCloudError, ValidationFailed
from healthcloud.organizations import access, queries
from healthcloud.organizations.authentication import issue_token
from healthcloud.organizations.models import ApiKey, UsedAssertion
from healthcloud.organizations.queries import KeyRow

ALGORITHMS: Final = ("RS384", "ES384")
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_LIFE: Final = timedelta(minutes=5)
LONGEST_ASSERTION: Final = timedelta(minutes=5)
CLOCK_SKEW: Final = timedelta(seconds=30)
MAX_KEYS: Final = 10
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "k", "oth"})


class TokenRefused(Exception):
    """The token request is refused; `code` is one of OAuth 2.0's (RFC 6749, section 5.2)."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code, self.description, self.status = code, description, status


def check_jwks(value: object) -> dict[str, Any]:
    """Return a set of public keys for RS384 or ES384; raise ValidationFailed."""
    found = value.get("keys") if isinstance(value, Mapping) else None
    if not isinstance(found, list) or not 0 < len(found) <= MAX_KEYS:
        raise ValidationFailed(
            f'Send {{"keys": […]}} with 1 to {MAX_KEYS} public keys.', param="jwks"
        )
    kids = [key.get("kid") for key in found if isinstance(key, Mapping)]
    if len(kids) != len(found) or not all(isinstance(kid, str) and kid for kid in kids):
        raise ValidationFailed("Each key is an object with a `kid`.", param="jwks")
    if len(set(kids)) != len(kids):
        raise ValidationFailed("Two keys have the same `kid`.", param="jwks")
    for key in found:
        _check_key(key)
    return {"keys": [dict(key) for key in found]}


def _check_key(key: Mapping[str, Any]) -> None:
    if _PRIVATE & set(key):
        raise ValidationFailed("Send public keys only, never the private part.", param="jwks")
    try:
        loaded = KeySet.import_key_set({"keys": [dict(key)]}).keys[0]
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ValidationFailed("A key of the set can't be read.", param="jwks") from error
    is_rsa = isinstance(loaded, RSAKey) and loaded.raw_value.key_size >= 2048
    is_ec = isinstance(loaded, ECKey) and key.get("crv") == "P-384"
    if not is_rsa and not is_ec:
        raise ValidationFailed(
            "Keys are RSA of at least 2048 bits (RS384) or EC on P-384 (ES384).", param="jwks"
        )


def exchange_assertion(
    *, assertion: str, scope: str, audience: str, client_ip: str | None, now: datetime
) -> dict[str, object]:
    """Return the answer to a client's token request; raise TokenRefused.

    The assertion is signed by a key of the client's set, names the client as `iss` and `sub` and
    the token's address as `aud`, expires within five minutes, and is good for one use.
    """
    client_id = claimed_client(assertion)
    keys = ApiKey.objects.filter(pk=client_id).values_list("jwks", flat=True).first()
    row = queries.find_key_by_id(client_id) if keys else None
    if row is None or keys is None:
        raise _invalid_client("This client is unknown, or has no key set.")
    claims = _verified(assertion, keys)
    expires_at = _check_claims(claims, client_id, audience, now)
    try:
        principal = access.principal_for_key(row, digest=None, now=now, client_ip=client_ip)
    except HealthCloudError as error:
        raise _invalid_client(error.message) from error
    _use_once(client_id, str(claims["jti"]), expires_at, now)
    access.note_key_use(row, now=now)
    granted = _granted(row, principal.narrowed(frozenset(scope.split())).scopes, scope)
    token = issue_token(principal, scopes=granted, now=now, expires_at=now + TOKEN_LIFE)
    return {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": int(TOKEN_LIFE.total_seconds()),
        "scope": " ".join(sorted(granted)),
    }


def _granted(row: KeyRow, narrowed: frozenset[str], wanted: str) -> frozenset[str]:
    if not wanted.split():
        raise TokenRefused("invalid_scope", "Name the scopes wanted, as `system/Patient.rs`.")
    if not narrowed:
        held = " ".join(sorted(row.scopes))
        raise TokenRefused("invalid_scope", f"The client holds none of these. It holds: {held}")
    return narrowed


def check_assertion(
    assertion: str, *, client_id: str, jwks: dict[str, Any], audience: str, now: datetime
) -> None:
    """Let a client in that signed an assertion which was never used before; raise TokenRefused."""
    claims = _verified(assertion, jwks)
    expires_at = _check_claims(claims, client_id, audience, now)
    _use_once(client_id, str(claims["jti"]), expires_at, now)


def claimed_client(assertion: str) -> str:
    """Return who the assertion says it is from, unverified, to find the key set."""
    parts = assertion.split(".")
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
        client_id = claims["iss"]
    except (IndexError, ValueError, KeyError, TypeError):
        raise _invalid_client("`client_assertion` is no signed JWT.") from None
    if not isinstance(client_id, str) or "\0" in client_id:
        raise _invalid_client("`iss` names no client.")
    return client_id


def _verified(assertion: str, keys: dict[str, Any]) -> dict[str, Any]:
    try:
        key_set = KeySet.import_key_set(keys)  # type: ignore[arg-type]  # checked when it was stored
        return dict(jwt.decode(assertion, key_set, algorithms=list(ALGORITHMS)).claims)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise _invalid_client(
            "The signature is not that of a key of this client with the `kid` named (RS384, ES384)."
        ) from error


def _check_claims(
    claims: Mapping[str, Any], client_id: str, audience: str, now: datetime
) -> datetime:
    audiences = claims.get("aud") if isinstance(claims.get("aud"), list) else [claims.get("aud")]
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        raise _invalid_client("`iss` and `sub` are the client's id.")
    if audience not in (audiences or ()):
        raise _invalid_client(f"`aud` must be {audience}.")
    if not isinstance(claims.get("jti"), str) or not 0 < len(claims["jti"]) <= 200:
        raise _invalid_client("`jti` is a text of at most 200 characters, new each time.")
    try:
        expires_at = datetime.fromtimestamp(float(claims["exp"]), tz=UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise _invalid_client("`exp` is the second at which the assertion expires.") from None
    if expires_at <= now - CLOCK_SKEW:
        raise _invalid_client("The assertion has expired.")
    if expires_at > now + LONGEST_ASSERTION + CLOCK_SKEW:
        raise _invalid_client("`exp` must be within five minutes.")
    return expires_at


def _use_once(client_id: str, jti: str, expires_at: datetime, now: datetime) -> None:
    """Remember the assertion until it expires; refuse it the second time."""
    digest = hashlib.sha256(f"{client_id}\0{jti}".encode()).digest()
    UsedAssertion.objects.filter(expires_at__lt=now - CLOCK_SKEW).delete()
    try:
        with transaction.atomic():
            UsedAssertion.objects.create(digest=digest, expires_at=expires_at)
    except IntegrityError:
        raise _invalid_client("This assertion was used already: `jti` is new each time.") from None


def _invalid_client(description: str) -> TokenRefused:
    return TokenRefused("invalid_client", description, 401)
