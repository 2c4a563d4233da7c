"""Tokens that bind a websocket to Subscriptions, so that no key stands in a message or URL.

https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/channels.html#websockets
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from healthcloud.api.principal import Principal
from healthcloud.errors import Unauthorized
from healthcloud.events.credentials import Credential
from healthcloud.tenancy.scope import Scope

LIFE: Final = timedelta(minutes=5)
PATH: Final = "/v1/fhir/ws"
_ISSUER: Final = "healthcloud-websocket"
_ALGORITHM: Final = "HS256"


class BindingRefused(Unauthorized):
    """The token is not one of ours, or older than five minutes."""

    def __init__(self) -> None:
        super().__init__(
            "This token is unknown or older than five minutes. Get a new one from"
            " Subscription/{id}/$get-ws-binding-token."
        )


@dataclass(frozen=True, slots=True)
class BindingToken:
    """A token and until when it binds."""

    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Binding:
    """What a websocket is bound to: whose Subscriptions, and the caller it rests on."""

    scope: Scope
    credential: Credential
    ids: tuple[str, ...]


def issue(principal: Principal, scope: Scope, ids: Sequence[str], *, now: datetime) -> BindingToken:
    """Return a token for Subscriptions of the scope's project."""
    expires_at = now + LIFE
    claims = {
        "iss": _ISSUER,
        "env": scope.environment_id,
        "prj": [scope.project_id, scope.project_number],
        "key": principal.key_id,
        "usr": principal.user_id,
        "ids": list(ids),
        "exp": int(expires_at.timestamp()),
    }
    return BindingToken(jwt.encode({"alg": _ALGORITHM}, claims, _key()), expires_at)


def redeem(text: str, *, now: datetime) -> Binding:
    """Return what a token binds to; raise BindingRefused."""
    try:
        claims: dict[str, Any] = jwt.decode(text, _key(), algorithms=[_ALGORITHM]).claims
        is_ours = claims["iss"] == _ISSUER
        is_old = datetime.fromtimestamp(float(claims["exp"]), tz=UTC) <= now
    except (JoseError, ValueError, KeyError, TypeError):
        raise BindingRefused from None
    if not is_ours or is_old:
        raise BindingRefused
    environments: Any = apps.get_model("organizations", "Environment").objects
    environment = environments.filter(pk=claims["env"], status="active").first()
    if environment is None:
        raise BindingRefused
    scope: Scope = environment.scope().in_project(*claims["prj"])
    credential = Credential(scope.organization_id, claims["key"], claims["usr"])
    return Binding(scope, credential, tuple(claims["ids"]))


def address(base: str) -> str:
    """Return the websocket's address, given that of the FHIR root."""
    root = base.removesuffix("/v1/fhir")
    return root.replace("http", "ws", 1) + PATH


def _key() -> OctKey:
    return OctKey.import_key(settings.ACCESS_TOKEN_KEY)
