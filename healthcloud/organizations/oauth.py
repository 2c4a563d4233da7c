"""/oauth/token: OAuth 2.0's form of answers, for SMART Backend Services.

https://hl7.org/fhir/smart-app-launch/backend-services.html#obtain-access-token
"""

from collections.abc import Mapping
from typing import Final

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from healthcloud.organizations import access
from healthcloud.organizations.clients import (
    ASSERTION_TYPE,
    TokenRefused,
    exchange_assertion,
)

TOKEN_PATH: Final = "oauth/token"  # noqa: S105  # an address
_MAX_ASSERTION: Final = 16 * 1024


@csrf_exempt
@require_POST
def token(request: HttpRequest) -> JsonResponse:
    """Exchange a client's signed assertion for an access token of five minutes."""
    try:
        answer = _answer(request)
    except TokenRefused as refusal:
        body = {"error": refusal.code, "error_description": refusal.description}
        return _response(body, refusal.status)
    return _response(answer, 200)


def _answer(request: HttpRequest) -> dict[str, object]:
    form = request.POST
    if form.get("grant_type") != "client_credentials":
        raise TokenRefused("unsupported_grant_type", "The grant type is `client_credentials`.")
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise TokenRefused("invalid_request", f"`client_assertion_type` is {ASSERTION_TYPE}.")
    assertion = form.get("client_assertion", "")
    if not 0 < len(assertion) <= _MAX_ASSERTION:
        raise TokenRefused("invalid_request", "Send the signed JWT as `client_assertion`.")
    return exchange_assertion(
        assertion=assertion,
        scope=form.get("scope", ""),
        audience=token_address(),
        client_ip=access.client_address(request),
        now=timezone.now(),
    )


def _response(body: Mapping[str, object], status: int) -> JsonResponse:
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})


def token_address() -> str:
    """Return the address that assertions name as their audience."""
    return f"{settings.BASE_URL}/{TOKEN_PATH}"


urlpatterns: list[URLPattern] = [path(TOKEN_PATH, token)]
