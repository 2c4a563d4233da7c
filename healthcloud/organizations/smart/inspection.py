"""Introspection and revocation of tokens. RFC 7662, RFC 7009."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.conf import settings

from healthcloud.api.principal import Principal
from healthcloud.errors import HealthCloudError
from healthcloud.organizations.authentication import authenticate_bearer, claims_of
from healthcloud.organizations.models import RefreshToken
from healthcloud.organizations.smart import grants
from healthcloud.organizations.smart.clients import digest_of
from healthcloud.organizations.smart.launches import fhir_base

INACTIVE: Final[dict[str, object]] = {"active": False}


def introspect(token: str, *, environment_id: str, now: datetime) -> dict[str, object]:
    """Return what a token stands for, to a caller of the same environment; else it is inactive."""
    refresh = _refresh(token)
    if refresh is not None:
        return _of_refresh(refresh, environment_id, now)
    claims = claims_of(token)
    if claims is None:
        return INACTIVE
    try:
        principal = authenticate_bearer(token, now=now, client_ip=None, from_anywhere=True)
    except HealthCloudError:
        return INACTIVE
    if principal.environment_id != environment_id:
        return INACTIVE
    found: dict[str, object] = {
        "active": True,
        "scope": " ".join(sorted(str(claims["scope"]).split())),
        "client_id": principal.key_id,
        "sub": principal.user_id or principal.key_id,
        "token_type": "Bearer",
        "iss": settings.BASE_URL,
        "aud": fhir_base(),
        "iat": claims.get("iat"),
        "exp": claims.get("exp"),
    }
    return {**found, **_launched(principal, claims)}


def _launched(principal: Principal, claims: Mapping[str, Any]) -> dict[str, object]:
    """Return the context of the launch and whose token it is, as the app was told them."""
    grant = grants.find_grant(str(claims["grant"])) if "grant" in claims else None
    if grant is None:
        return {}
    context = grants.context_of(grant, grant.key.environment)
    found = {name: context[name] for name in ("patient", "encounter") if context.get(name)}
    if principal.fhir_user:
        found["fhirUser"] = f"{fhir_base()}/{principal.fhir_user}"
    return found


def _of_refresh(token: RefreshToken, environment_id: str, now: datetime) -> dict[str, object]:
    grant = token.grant
    is_over = token.used_at is not None or token.expires_at <= now
    if is_over or grant.revoked_at or grant.key.revoked_at:
        return INACTIVE
    if grant.key.environment_id != environment_id:
        return INACTIVE
    return {
        "active": True,
        "scope": " ".join(grant.scopes),
        "client_id": grant.key_id,
        "sub": grant.user_id,
        "iss": settings.BASE_URL,
        "exp": int(token.expires_at.timestamp()),
    }


def revoke(token: str, client_id: str, *, now: datetime) -> None:
    """End a token of a client: an access token by itself, a refresh token with its grant.

    What is no token of this client is left alone, and nobody is told.
    """
    refresh = _refresh(token)
    if refresh is not None and refresh.grant.key_id == client_id:
        grants.revoke_grant(refresh.grant, reason="the app gave it back", now=now)
        return
    claims = claims_of(token)
    if claims is not None and claims.get("sub") == client_id:
        grants.revoke_token(token, claims, now=now)


def _refresh(token: str) -> RefreshToken | None:
    rows = RefreshToken.objects.select_related("grant__key__environment")
    return rows.filter(digest=digest_of(token)).first()
