"""Three ways in: an API key, a one-hour token made from one, and Studio's session with CSRF."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from healthcloud.api.principal import Principal
from healthcloud.errors import BadRequest, Forbidden, HealthCloudError, NotFound, Unauthorized
from healthcloud.organizations import access, keys, queries
from healthcloud.organizations.models import User

TOKEN_LIFE: Final = timedelta(hours=1)
_REMEMBERED_KEYS: Final = 10_000
_remembered: dict[tuple[bytes, str | None], queries.KeyRow] = {}
_ALGORITHM: Final = "HS256"
_ISSUER: Final = "healthcloud"


class InvalidCredential(Unauthorized):
    """The Authorization header holds no credential that we gave out."""


class MalformedAuthorization(Unauthorized):
    """The Authorization header is not `Bearer …`."""


def authenticate_bearer(
    token: str,
    *,
    now: datetime,
    client_ip: str | None,
    named: str | None = None,
    from_anywhere: bool = False,
) -> Principal:
    """Return the caller whose key or token this is; `named` is the project the request names.

    `from_anywhere` leaves the key's list of addresses aside, for who asks about another's token.

    The key is looked up on each call, by one indexed query, so that revoking it holds for the
    next request on every process. Raises Unauthorized with what to do.
    """
    if token.count(".") == 2:
        return _authenticate_token(
            token, now=now, client_ip=client_ip, named=named, from_anywhere=from_anywhere
        )
    parsed = keys.parse(token)
    if parsed is None:
        raise InvalidCredential(
            "This is not an API key: keys are `hc_test_sk_…` or `hc_live_sk_…` and 38 characters."
            " Copy it again, or create one in Studio under Settings."
        )
    _, digest = parsed
    key = queries.find_key_by_digest(digest, named=named)
    if key is None:
        _remembered.pop((digest, named), None)
        raise InvalidCredential("This API key is unknown. Create one in Studio under Settings.")
    _remember(digest, named, key)
    principal = access.principal_for_key(key, digest=digest, now=now, client_ip=client_ip)
    access.note_key_use(key, now=now)
    return principal


def recall_bearer(
    token: str, *, now: datetime, client_ip: str | None, named: str | None = None
) -> Principal | None:
    """Return the caller of a key that this process has seen, without asking the database.

    The caller has a guard, which must be asked in the transaction in which the caller acts; what
    was remembered is never the reason for a refusal. None for any other credential.
    """
    parsed = keys.parse(token)
    key = None if parsed is None else _remembered.get((parsed[1], named))
    if parsed is None or key is None or access.is_use_unnoted(key, now=now):
        return None
    try:
        return access.principal_for_key(
            key, digest=parsed[1], now=now, client_ip=client_ip, remembered=True
        )
    except HealthCloudError:
        return None


def recall_steadily(
    token: str, *, now: datetime, named: str | None = None
) -> tuple[Principal, datetime] | None:
    """Return what `recall_bearer` does, and until when it would, whatever the address.

    None for a key that is bound to addresses.
    """
    parsed = keys.parse(token)
    key = None if parsed is None else _remembered.get((parsed[1], named))
    if key is None or key.allowed_addresses:
        return None
    principal = recall_bearer(token, now=now, client_ip=None, named=named)
    return None if principal is None else (principal, access.steady_until(key))


def _remember(digest: bytes, named: str | None, key: queries.KeyRow) -> None:
    if len(_remembered) >= _REMEMBERED_KEYS:
        _remembered.clear()
    _remembered[digest, named] = key


def issue_token(
    principal: Principal,
    *,
    scopes: frozenset[str],
    now: datetime,
    expires_at: datetime | None = None,
    grant_id: str | None = None,
) -> str:
    """Return a signed token for the caller's key with these scopes, for an hour unless told.

    With a grant it is the token of an app, and good as long as a person's grant to it.
    """
    claims = {
        **({"grant": grant_id} if grant_id else {}),
        "jti": secrets.token_urlsafe(9),
        "iss": _ISSUER,
        "sub": principal.key_id,
        "scope": " ".join(sorted(scopes)),
        "iat": int(now.timestamp()),
        "exp": int((expires_at or now + TOKEN_LIFE).timestamp()),
    }
    return jwt.encode({"alg": _ALGORITHM}, claims, _signing_key())


def _signing_key() -> OctKey:
    return OctKey.import_key(settings.ACCESS_TOKEN_KEY)


def token_expiry(request: HttpRequest) -> datetime | None:
    """Return when the token behind an authenticated request expires, None for a key or session.

    What a token obtains must not outlive it: it may have been lent for its hour only.
    """
    _, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if token.count(".") != 2:
        return None
    claims = jwt.decode(token.strip(), _signing_key(), algorithms=[_ALGORITHM]).claims
    return datetime.fromtimestamp(float(claims["exp"]), tz=UTC)


def claims_of(token: str) -> dict[str, Any] | None:
    """Return the claims of an access token that we signed, expired or not; None for others."""
    try:
        claims = dict(jwt.decode(token, _signing_key(), algorithms=[_ALGORITHM]).claims)
        float(claims["exp"])
        str(claims["scope"]).split()
    except (JoseError, ValueError, KeyError, TypeError):
        return None
    return claims if claims.get("iss") == _ISSUER and claims.get("sub") else None


def _authenticate_token(
    token: str,
    *,
    now: datetime,
    client_ip: str | None,
    named: str | None,
    from_anywhere: bool,
) -> Principal:
    from healthcloud.organizations.smart import grants  # which needs what tokens are made of

    claims = claims_of(token)
    if claims is None:
        raise InvalidCredential("This token is not one of ours. Get one from POST /v1/auth/token.")
    scopes = frozenset(str(claims["scope"]).split())
    if float(claims["exp"]) <= now.timestamp() or grants.is_revoked(token):
        raise InvalidCredential(
            "This token has expired or was revoked. Get a new one where it came from."
        )
    key = queries.find_key_by_id(str(claims["sub"]), named=named)
    if key is None:
        raise InvalidCredential("The API key behind this token is gone.")
    if from_anywhere:
        key = key._replace(allowed_addresses=[])
    principal = access.principal_for_key(key, digest=None, now=now, client_ip=client_ip)
    if "grant" in claims:
        return grants.principal_for_grant(principal, str(claims["grant"]), scopes)
    return principal.narrowed(scopes)


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key or token>`."""

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        """Return the caller, None without the header; raise Unauthorized for a bad one."""
        header = request.META.get("HTTP_AUTHORIZATION")
        if header is None:
            return None
        scheme, _, token = str(header).partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise MalformedAuthorization(
                "The header must be `Authorization: Bearer hc_test_sk_…` (or `hc_live_sk_…`)."
            )
        query = request._request.GET
        principal = authenticate_bearer(
            token.strip(),
            now=timezone.now(),
            client_ip=access.client_address(request._request),
            named=request.META.get("HTTP_HEALTHCLOUD_PROJECT") or query.get("project_id"),
        )
        return principal, principal

    def authenticate_header(self, request: Request) -> str:
        """Return what WWW-Authenticate says."""
        return 'Bearer realm="healthcloud"'


class StudioSessionAuthentication(SessionAuthentication):
    """A person's session, for calls from the same origin; writes need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[User, Principal | None] | None:
        """Return the person, and the caller they are in the organization that they name."""
        user = getattr(request._request, "user", None)
        if not isinstance(user, User) or not user.is_active:
            return None
        self.enforce_csrf(request)
        return user, session_principal(request._request, user)

    def enforce_csrf(self, request: Request) -> None:
        """Refuse a write without the session's CSRF token."""
        try:
            super().enforce_csrf(request)
        except Exception as error:
            raise Forbidden(
                "Send the CSRF token of your session in the header `X-CSRFToken`."
            ) from error


def session_principal(request: HttpRequest, user: User) -> Principal | None:
    """Return the caller that a signed-in person is for this request, None without a membership.

    The organization is the one in the header `HealthCloud-Organization` or the query
    `organization_id`, else the person's first; the environment is the one in the header
    `HealthCloud-Environment` or the query `environment`, else the sandbox.
    """
    if any("\0" in request.GET.get(name, "") for name in ("organization_id", "environment")):
        raise BadRequest("The address holds the character U+0000.")
    named = request.headers.get("HealthCloud-Organization") or request.GET.get("organization_id")
    membership = queries.find_membership(user.pk, organization_id=named)
    if membership is None:
        if named:
            raise NotFound(f"You are not a member of an organization `{named}`.")
        return None
    kind = request.headers.get("HealthCloud-Environment") or request.GET.get("environment")
    environment = queries.find_environment(membership.organization_id, kind or "sandbox")
    if environment is None:
        raise BadRequest("`environment` is `sandbox` or `production`.", param="environment")
    return access.principal_for_member(membership, environment)
