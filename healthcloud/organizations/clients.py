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

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.module_loading import import_string
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from healthcloud.api.scopes import parse_scope
from healthcloud.errors import HealthCloudError, ValidationFailed
from healthcloud.organizations import access, queries
from healthcloud.organizations.authentication import issue_token
from healthcloud.organizations.key_sets import KeySetUnavailable, KeySource, keys_of
from healthcloud.organizations.models import ApiKey, UsedAssertion
from healthcloud.organizations.queries import KeyRow

ALGORITHMS: Final = ("RS384", "ES384")
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_LIFE: Final = timedelta(minutes=5)
LONGEST_ASSERTION: Final = timedelta(minutes=5)
CLOCK_SKEW: Final = timedelta(seconds=30)
_KEY_TYPES: Final = dict(zip(ALGORITHMS, ("RSA", "EC"), strict=True))


class TokenRefused(Exception):
    """The token request is refused; `code` is one of OAuth 2.0's (RFC 6749, section 5.2)."""

    def __init__(self, code: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.code, self.description, self.status = code, description, status


def exchange_assertion(
    *, assertion: str, scope: str, audience: str, client_ip: str | None, now: datetime
) -> dict[str, object]:
    """Return the answer to a client's token request; raise TokenRefused.

    The assertion is signed by a key of the client's set, names the client as `iss` and `sub` and
    the token's address as `aud`, expires within five minutes, and is good for one use.
    """
    client_id = claimed_client(assertion)
    key = ApiKey.objects.filter(pk=client_id, revoked_at=None).first()
    row = queries.find_key_by_id(client_id) if key and key.is_backend_client else None
    if row is None or key is None:
        raise _invalid_client("This client is unknown or was ended, or has no key set.")
    source = KeySource(client_id, row.environment, key.jwks, key.jwks_uri)
    claims = _verified(assertion, source, now)
    expires_at = _check_claims(claims, client_id, audience, now)
    try:
        principal = access.principal_for_key(row, digest=None, now=now, client_ip=client_ip)
    except HealthCloudError as error:
        raise _invalid_client(error.message) from error
    _use_once(client_id, str(claims["jti"]), expires_at, now)
    access.note_key_use(row, now=now)
    granted = _granted(row, principal.narrowed(frozenset(_known(scope))).scopes, scope)
    token = issue_token(principal, scopes=granted, now=now, expires_at=now + TOKEN_LIFE)
    return {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": int(TOKEN_LIFE.total_seconds()),
        "scope": " ".join(sorted(granted)),
    }


def _known(scope: str) -> list[str]:
    """Return the scopes asked for; refuse one that names what no request can be held to."""
    for text in scope.split():
        clinical = parse_scope(text)
        if clinical is None:
            continue
        try:
            import_string(settings.CLINICAL_SCOPE_CHECK)(clinical)
        except ValidationFailed as error:
            raise TokenRefused("invalid_scope", f"`{text[:200]}`: {error.message}") from error
    return scope.split()


def _granted(row: KeyRow, narrowed: frozenset[str], wanted: str) -> frozenset[str]:
    if not wanted.split():
        raise TokenRefused("invalid_scope", "Name the scopes wanted, as `system/Patient.rs`.")
    if not narrowed:
        held = " ".join(sorted(row.scopes))
        raise TokenRefused("invalid_scope", f"The client holds none of these. It holds: {held}")
    return narrowed


def check_assertion(assertion: str, *, source: KeySource, audience: str, now: datetime) -> None:
    """Let a client in that signed an assertion which was never used before; raise TokenRefused."""
    claims = _verified(assertion, source, now)
    expires_at = _check_claims(claims, source.client_id, audience, now)
    _use_once(source.client_id, str(claims["jti"]), expires_at, now)


def claimed_client(assertion: str) -> str:
    """Return who the assertion says it is from, unverified, to find the key set."""
    client_id = _part(assertion, 1).get("iss")
    if not isinstance(client_id, str) or "\0" in client_id:
        raise _invalid_client("`iss` names no client.")
    return client_id


def _part(assertion: str, index: int) -> dict[str, Any]:
    """Return the header (0) or the claims (1) as they were sent, unverified."""
    try:
        text = assertion.split(".")[index]
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (IndexError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _invalid_client("`client_assertion` is no signed JWT.")
    return found


def _verified(assertion: str, source: KeySource, now: datetime) -> dict[str, Any]:
    header = _part(assertion, 0)
    kid, algorithm = header.get("kid"), header.get("alg")
    if not isinstance(kid, str) or algorithm not in ALGORITHMS:
        raise _invalid_client("The header names the `kid` of a key, and RS384 or ES384 as `alg`.")
    if "jku" in header and header["jku"] != source.jwks_uri:
        raise _invalid_client("`jku` is not the `jwks_uri` that the client registered.")
    try:
        listed = keys_of(source, kid, now=now)["keys"]
        fitting = [key for key in listed if key.get("kty") == _KEY_TYPES[algorithm]]
        key_set = KeySet.import_key_set({"keys": fitting})
        return dict(jwt.decode(assertion, key_set, algorithms=[algorithm]).claims)
    except KeySetUnavailable as error:
        raise _invalid_client(str(error)) from error
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
