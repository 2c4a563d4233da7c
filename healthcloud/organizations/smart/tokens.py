"""The token endpoint for apps: codes and refresh tokens become access tokens, once each.

https://hl7.org/fhir/smart-app-launch/app-launch.html#obtain-access-token
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote_plus

from django.contrib.sessions.models import Session
from django.db import transaction

from healthcloud.errors import HealthCloudError
from healthcloud.organizations import access, queries
from healthcloud.organizations.authentication import TOKEN_LIFE, issue_token
from healthcloud.organizations.clients import (
    ASSERTION_TYPE,
    TokenRefused,
    check_assertion,
    claimed_client,
)
from healthcloud.organizations.key_sets import KeySource
from healthcloud.organizations.models import RefreshToken, SmartClient, SmartGrant
from healthcloud.organizations.permissions import scopes_of
from healthcloud.organizations.smart import grants, identity
from healthcloud.organizations.smart.clients import digest_of
from healthcloud.organizations.smart.launches import fhir_base
from healthcloud.organizations.smart.scopes import (
    FHIR_USER,
    OFFLINE,
    ONLINE,
    OPENID,
    grantable_scopes,
)

REFRESH_LIFE: Final = {OFFLINE: timedelta(days=90), ONLINE: timedelta(hours=12)}
_VERIFIER: Final = range(43, 129)
_TOLD: Final = ("patient", "encounter", "intent", "need_patient_banner", "fhirContext")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request to the token endpoint: its form, its credential, where and when it came."""

    form: Mapping[str, str]
    authorization: str
    audience: str
    client_ip: str | None
    now: datetime


def authenticate_client(request: TokenRequest) -> SmartClient:
    """Return the app that asks, by what it proves; raise TokenRefused (`invalid_client`)."""
    basic = _basic(request.authorization)
    assertion = request.form.get("client_assertion", "")
    claimed = basic[0] if basic else request.form.get("client_id", "")
    if assertion and request.form.get("client_assertion_type") == ASSERTION_TYPE:
        claimed = claimed_client(assertion)
    client = _find(claimed)
    if client is None:
        raise _invalid_client("This client is unknown, or was ended.")
    if client.kind == SmartClient.Kind.SYMMETRIC:
        _check_secret(client, basic[1] if basic else "")
    elif client.kind == SmartClient.Kind.ASYMMETRIC:
        if not assertion:
            raise _invalid_client("This client signs a `client_assertion`.")
        environment = client.key.environment.kind
        source = KeySource(client.pk, environment, client.jwks, client.jwks_uri)
        check_assertion(assertion, source=source, audience=request.audience, now=request.now)
    elif basic is not None:
        raise _invalid_client("A public client has no secret: send `client_id` in the form.")
    return client


def _find(client_id: str) -> SmartClient | None:
    if "\0" in client_id:
        return None
    rows = SmartClient.objects.select_related("key__environment", "key__organization")
    return rows.filter(pk=client_id, key__revoked_at=None).first()


def _basic(header: str) -> tuple[str, str] | None:
    """Return id and secret of HTTP's Basic, both form-encoded as RFC 6749 asks."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except ValueError:
        raise _invalid_client("The Authorization header is no Basic credential.") from None
    client_id, colon, secret = text.partition(":")
    if not colon:
        raise _invalid_client("The Authorization header is no Basic credential.")
    return unquote_plus(client_id), unquote_plus(secret)


def _check_secret(client: SmartClient, secret: str) -> None:
    known = bytes(client.secret_digest or b"")
    if not secret or not hmac.compare_digest(known, digest_of(secret)):
        raise _invalid_client("Send the client's id and secret as HTTP Basic.")


def exchange_code(client: SmartClient, request: TokenRequest) -> dict[str, object]:
    """Return the answer to a code; raise TokenRefused.

    A code that comes again ends the grant, since one of both who sent it stole it.
    """
    form, now = request.form, request.now
    digest = digest_of(form.get("code", ""))
    with transaction.atomic():
        rows = SmartGrant.objects.select_for_update(of=("self",))
        found = rows.filter(code_digest=digest).select_related("key__environment", "user").first()
        if found is None or found.key_id != client.pk:
            raise _invalid_grant("The code is unknown.")
        reused = found.code_used_at is not None
        if not reused:
            _check_code(found, form, now)
            found.code_used_at = now
            found.save(update_fields=["code_used_at"])
            return _answer(found, frozenset(found.scopes), request, with_identity=True)
    grants.revoke_grant(found, reason="its code came twice", now=now)
    raise _invalid_grant("The code was used already; what it gave has been revoked.")


def _check_code(grant: SmartGrant, form: Mapping[str, str], now: datetime) -> None:
    if grant.code_expires_at <= now or grant.revoked_at is not None:
        raise _invalid_grant("The code has expired: codes are good for a minute.")
    if form.get("redirect_uri") != grant.redirect_uri:
        raise _invalid_grant("`redirect_uri` is not that of the authorization request.")
    verifier = form.get("code_verifier", "")
    hashed = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
    if len(verifier) not in _VERIFIER or not hmac.compare_digest(challenge, grant.code_challenge):
        raise _invalid_grant("`code_verifier` does not fit the code_challenge.")


def exchange_refresh(client: SmartClient, request: TokenRequest) -> dict[str, object]:
    """Return the answer to a refresh token, with its successor; raise TokenRefused.

    A refresh token that comes again ends the grant with all that it gave.
    """
    form, now = request.form, request.now
    with transaction.atomic():
        rows = RefreshToken.objects.select_for_update(of=("self", "grant"))
        token = (
            rows.filter(digest=digest_of(form.get("refresh_token", "")))
            .select_related("grant__key__environment", "grant__user")
            .first()
        )
        if token is None or token.grant.key_id != client.pk:
            raise _invalid_grant("The refresh token is unknown.")
        grant = token.grant
        if token.used_at is None:
            _check_refresh(token, now)
            token.used_at = now
            token.save(update_fields=["used_at"])
            return _answer(grant, _wanted(grant, form.get("scope", "")), request)
    grants.revoke_grant(grant, reason="a refresh token came twice", now=now)
    raise _invalid_grant("The refresh token was used already; the grant has been revoked.")


def _check_refresh(token: RefreshToken, now: datetime) -> None:
    grant = token.grant
    if token.expires_at <= now or grant.revoked_at is not None:
        raise _invalid_grant("The refresh token has expired, or its grant was revoked.")
    if OFFLINE not in grant.scopes and not _is_online(grant, now):
        raise _invalid_grant("The person has signed out: `online_access` ends with the session.")


def _is_online(grant: SmartGrant, now: datetime) -> bool:
    session = grants.context_of(grant, grant.key.environment).get("session", "")
    return Session.objects.filter(session_key=session, expire_date__gt=now).exists()


def _wanted(grant: SmartGrant, scope: str) -> frozenset[str]:
    wanted = frozenset(scope.split())
    if not wanted <= set(grant.scopes):
        raise TokenRefused("invalid_scope", "A refresh can't ask for more than was granted.")
    return wanted or frozenset(grant.scopes)


def _answer(
    grant: SmartGrant,
    scopes: frozenset[str],
    request: TokenRequest,
    *,
    with_identity: bool = False,
) -> dict[str, object]:
    """Return what the app is told: the token, its scopes, and the context of the launch."""
    row = queries.find_key_by_id(grant.key_id)
    role = grants.current_role(grant)
    if row is None or role is None:
        raise _invalid_grant("The person who granted this access is no member any more.")
    try:
        principal = access.principal_for_key(
            row, digest=None, now=request.now, client_ip=request.client_ip
        )
    except HealthCloudError as error:
        raise _invalid_grant(error.message) from error
    access.note_key_use(row, now=request.now)
    held = grantable_scopes(scopes, of_client=row.scopes, of_person=scopes_of(role))
    context = grants.context_of(grant, grant.key.environment)
    answer: dict[str, object] = {
        "access_token": issue_token(
            principal, scopes=frozenset(held), now=request.now, grant_id=grant.pk
        ),
        "token_type": "Bearer",
        "expires_in": int(TOKEN_LIFE.total_seconds()),
        "scope": " ".join(held),
        **{name: context[name] for name in _TOLD if name in context},
    }
    if with_identity and OPENID in held:
        answer["id_token"] = _identity(grant, held, context, request.now)
    refresh = _new_refresh(grant, request.now)
    return {**answer, "refresh_token": refresh} if refresh else answer


def _identity(
    grant: SmartGrant, scopes: list[str], context: Mapping[str, Any], now: datetime
) -> str:
    claims: dict[str, Any] = {"sub": grant.user_id, "aud": grant.key_id}
    if set(FHIR_USER) & set(scopes) and context.get("fhir_user"):
        claims["fhirUser"] = f"{fhir_base()}/{context['fhir_user']}"
        claims["profile"] = claims["fhirUser"]
    if context.get("nonce"):
        claims["nonce"] = context["nonce"]
    return identity.id_token(claims, now=now)


def _new_refresh(grant: SmartGrant, now: datetime) -> str:
    kind = next((name for name in (OFFLINE, ONLINE) if name in grant.scopes), None)
    if kind is None:
        return ""
    text = secrets.token_urlsafe(32)
    expires_at = now + REFRESH_LIFE[kind]
    RefreshToken.objects.create(digest=digest_of(text), grant=grant, expires_at=expires_at)
    return text


def _invalid_client(description: str) -> TokenRefused:
    return TokenRefused("invalid_client", description, 401)


def _invalid_grant(description: str) -> TokenRefused:
    return TokenRefused("invalid_grant", description)
