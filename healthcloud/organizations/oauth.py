"""/oauth: OAuth 2.0's form of answers, for SMART App Launch and Backend Services.

https://hl7.org/fhir/smart-app-launch/app-launch.html#obtain-access-token
https://hl7.org/fhir/smart-app-launch/backend-services.html#obtain-access-token
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Final

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from healthcloud.errors import HealthCloudError
from healthcloud.organizations import access
from healthcloud.organizations.authentication import authenticate_bearer
from healthcloud.organizations.clients import (
    ASSERTION_TYPE,
    TokenRefused,
    exchange_assertion,
)
from healthcloud.organizations.models import SmartClient
from healthcloud.organizations.smart import identity, inspection, tokens
from healthcloud.organizations.smart.scopes import CONTEXT_SCOPES

TOKEN_PATH: Final = "oauth/token"  # noqa: S105  # an address
_MAX_VALUE: Final = 16 * 1024
_TOLD_BY: Final = {401: ("WWW-Authenticate", 'Basic realm="healthcloud"'), 405: ("Allow", "POST")}
Answer = Callable[[tokens.TokenRequest], Mapping[str, object]]


def _endpoint(answer: Answer) -> Callable[[HttpRequest], HttpResponse]:
    """Turn a function from a form to an answer into a view that refuses in OAuth's words."""

    @csrf_exempt
    @wraps(answer)
    def view(request: HttpRequest) -> HttpResponse:
        try:
            return _response(answer(_read(request)), 200)
        except TokenRefused as refusal:
            body = {"error": refusal.code, "error_description": refusal.description}
            response = _response(body, refusal.status)
            if refusal.status in _TOLD_BY:
                name, value = _TOLD_BY[refusal.status]
                response[name] = value
            return response

    return view


def _read(request: HttpRequest) -> tokens.TokenRequest:
    """Return the form; RFC 6749 lets no parameter come twice."""
    if request.method != "POST":
        raise TokenRefused("invalid_request", "This address takes POST only.", 405)
    try:
        form = request.POST
    except (SuspiciousOperation, MultiPartParserError) as error:
        raise TokenRefused("invalid_request", "The form is too large, or is none.") from error
    if any(len(values) > 1 for _, values in form.lists()):
        raise TokenRefused("invalid_request", "A parameter came twice.")
    given = {name: str(form[name]) for name in form}
    if any(len(value) > _MAX_VALUE or "\0" in value for value in given.values()):
        raise TokenRefused("invalid_request", "A parameter is too long, or holds U+0000.")
    return tokens.TokenRequest(
        form=given,
        authorization=request.META.get("HTTP_AUTHORIZATION", ""),
        audience=token_address(),
        client_ip=access.client_address(request),
        now=timezone.now(),
    )


@_endpoint
def token(request: tokens.TokenRequest) -> Mapping[str, object]:
    """Exchange a code, a refresh token or a client's signed assertion for an access token."""
    match request.form.get("grant_type"):
        case "authorization_code":
            return tokens.exchange_code(tokens.authenticate_client(request), request)
        case "refresh_token":
            return tokens.exchange_refresh(tokens.authenticate_client(request), request)
        case "client_credentials":
            return _backend_token(request)
        case _:
            raise TokenRefused(
                "unsupported_grant_type",
                "The grant type is authorization_code, refresh_token or client_credentials.",
            )


def _backend_token(request: tokens.TokenRequest) -> Mapping[str, object]:
    form = request.form
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise TokenRefused("invalid_request", f"`client_assertion_type` is {ASSERTION_TYPE}.")
    assertion = form.get("client_assertion", "")
    if not assertion:
        raise TokenRefused("invalid_request", "Send the signed JWT as `client_assertion`.")
    return exchange_assertion(
        assertion=assertion,
        scope=form.get("scope", ""),
        audience=request.audience,
        client_ip=request.client_ip,
        now=request.now,
    )


@_endpoint
def introspect(request: tokens.TokenRequest) -> Mapping[str, object]:
    """Say what a token stands for, to a key or client of the same environment."""
    environment_id = _asking(request)
    given = request.form.get("token", "")
    if not given:
        raise TokenRefused("invalid_request", "Send the `token` in question.")
    return inspection.introspect(given, environment_id=environment_id, now=request.now)


def _asking(request: tokens.TokenRequest) -> str:
    """Return the environment of whoever asks: an API key as bearer, or a client."""
    scheme, _, credential = request.authorization.partition(" ")
    if scheme.lower() != "bearer":
        client = tokens.authenticate_client(request)
        if client.kind == SmartClient.Kind.PUBLIC:  # whose name everybody knows
            raise TokenRefused("invalid_client", "A public client may not ask about tokens.", 401)
        return client.key.environment_id
    try:
        principal = authenticate_bearer(
            credential.strip(), now=request.now, client_ip=request.client_ip
        )
    except HealthCloudError as error:
        raise TokenRefused("invalid_client", error.message, 401) from error
    if principal.client_id:
        raise TokenRefused("invalid_client", "The token of an app may not ask about others.", 401)
    return principal.environment_id


@_endpoint
def revoke(request: tokens.TokenRequest) -> Mapping[str, object]:
    """End a token of the client that asks; 200 also for what is no token (RFC 7009)."""
    client = tokens.authenticate_client(request)
    given = request.form.get("token", "")
    if not given:
        raise TokenRefused("invalid_request", "Send the `token` to revoke.")
    inspection.revoke(given, client.pk, now=request.now)
    return {}


@require_safe
def keys(request: HttpRequest) -> HttpResponse:
    """Publish the keys by which id tokens are verified."""
    return JsonResponse(identity.public_keys(), headers={"Cache-Control": "max-age=300"})


@require_safe
def openid_configuration(request: HttpRequest) -> HttpResponse:
    """Publish what OpenID Connect clients look up at the issuer."""
    body = {
        "issuer": settings.BASE_URL,
        **endpoints(),
        "scopes_supported": list(CONTEXT_SCOPES),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [identity.ALGORITHM],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "nonce", "fhirUser", "profile"],
        "code_challenge_methods_supported": ["S256"],
    }
    return JsonResponse(body)


def endpoints() -> dict[str, object]:
    """Return the addresses of the authorization server, as both discovery documents name them."""
    base = f"{settings.BASE_URL}/oauth"
    return {
        "authorization_endpoint": f"{base}/authorize",
        "token_endpoint": token_address(),
        "introspection_endpoint": f"{base}/introspect",
        "revocation_endpoint": f"{base}/revoke",
        "management_endpoint": f"{base}/grants",
        "jwks_uri": f"{base}/jwks",
    }


def _response(body: Mapping[str, object], status: int) -> HttpResponse:
    return JsonResponse(
        body, status=status, headers={"Cache-Control": "no-store", "Pragma": "no-cache"}
    )


def token_address() -> str:
    """Return the address that assertions name as their audience."""
    return f"{settings.BASE_URL}/{TOKEN_PATH}"


urlpatterns: list[URLPattern] = [
    path(TOKEN_PATH, token),
    path("oauth/introspect", introspect),
    path("oauth/revoke", revoke),
    path("oauth/jwks", keys),
    path(".well-known/openid-configuration", openid_configuration),
]
