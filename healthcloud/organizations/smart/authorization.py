"""Authorization requests: checked, then granted or refused by a person.

https://hl7.org/fhir/smart-app-launch/app-launch.html#obtain-authorization-code
"""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode, urlsplit

from django.db import transaction

from healthcloud import secrets as sealing
from healthcloud.actors import Actor
from healthcloud.errors import BadRequest
from healthcloud.organizations.models import SmartClient, SmartGrant, User
from healthcloud.organizations.services.announce import Change, announce
from healthcloud.organizations.smart.clients import digest_of
from healthcloud.organizations.smart.launches import fhir_base, use_up
from healthcloud.organizations.smart.scopes import is_known
from healthcloud.tenancy.scope import public_scope

CODE_LIFE: Final = timedelta(seconds=60)
MAX_VALUE: Final = 4000
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class ClientRefused(BadRequest):
    """The app, or where it wants its answer, is not known: nobody is sent anywhere."""


class AuthorizationRefused(Exception):
    """A request is refused, and the app is told; `code` is one of OAuth 2.0's (section 4.1.2.1)."""

    def __init__(self, request: "AuthorizationRequest", code: str, description: str) -> None:
        super().__init__(description)
        self.request, self.code, self.description = request, code, description

    @property
    def address(self) -> str:
        """Return where the person's browser takes the refusal."""
        return self.request.answer(error=self.code, error_description=self.description)


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What an app asks for; it was checked as far as it says."""

    client: SmartClient
    redirect_uri: str
    state: str
    scopes: Sequence[str] = ()
    challenge: str = ""
    launch: str = ""
    nonce: str = ""

    def answer(self, **values: str) -> str:
        """Return the redirect address with what it is told; `state` comes back as it came."""
        if self.state:
            values["state"] = self.state
        separator = "&" if "?" in self.redirect_uri else "?"
        return f"{self.redirect_uri}{separator}{urlencode(values)}"

    @property
    def origin(self) -> str:
        """Return what a form's answer may lead to, in the words of a content security policy."""
        return origin_of(self.redirect_uri)


def origin_of(address: str) -> str:
    """Return an app's address as a content security policy names it."""
    parts = urlsplit(address)
    is_web = parts.scheme in {"http", "https"}
    return f"{parts.scheme}://{parts.netloc}" if is_web else f"{parts.scheme}:"


def read_request(given: Mapping[str, str], *, base: str) -> AuthorizationRequest:
    """Return a request that can be shown to a person; `base` is the FHIR address it came to.

    Raises ClientRefused where the app can't be told, AuthorizationRefused where it can.
    """
    request = _addressed(given)
    _check_form(request, given)
    if given.get("aud", "").rstrip("/") not in {base, fhir_base()}:
        raise AuthorizationRefused(request, "invalid_request", f"aud must be {fhir_base()}")
    challenge = given.get("code_challenge", "")
    if given.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise AuthorizationRefused(
            request, "invalid_request", "PKCE is required: code_challenge with the method S256"
        )
    scopes = given.get("scope", "").split()
    known = [text for text in scopes if is_known(text)]
    if not known:
        raise AuthorizationRefused(request, "invalid_scope", "scope names nothing known here")
    return AuthorizationRequest(
        client=request.client,
        redirect_uri=request.redirect_uri,
        state=request.state,
        scopes=known,
        challenge=challenge,
        launch=given.get("launch", ""),
        nonce=given.get("nonce", ""),
    )


def _addressed(given: Mapping[str, str]) -> AuthorizationRequest:
    """Return where the answer goes; an address that was not registered gets none."""
    client_id, redirect_uri = given.get("client_id", ""), given.get("redirect_uri", "")
    if any("\0" in value for value in given.values()):
        raise ClientRefused("The request holds the character U+0000.")
    rows = SmartClient.objects.select_related("key__environment", "key__project")
    client = rows.filter(pk=client_id, key__revoked_at=None).first()
    if client is None:
        raise ClientRefused("The app that asks for access is not registered here, or was ended.")
    if redirect_uri not in client.redirect_uris:
        raise ClientRefused("The app wants its answer at an address that is not registered for it.")
    return AuthorizationRequest(client, redirect_uri, given.get("state", ""))


def _check_form(request: AuthorizationRequest, given: Mapping[str, str]) -> None:
    if any(len(value) > MAX_VALUE for value in given.values()):
        raise AuthorizationRefused(request, "invalid_request", "a parameter is too long")
    if given.get("response_type") != "code":
        raise AuthorizationRefused(
            request, "unsupported_response_type", "response_type must be code"
        )
    if not request.state:
        raise AuthorizationRefused(request, "invalid_request", "state is required")


def grant(
    request: AuthorizationRequest,
    *,
    user: User,
    scopes: Sequence[str],
    context: Mapping[str, object],
    now: datetime,
) -> str:
    """Keep what a person granted and return the address that takes the code to the app."""
    code = secrets.token_urlsafe(32)
    key = request.client.key
    kept = {**context, **({"nonce": request.nonce} if request.nonce else {})}
    with transaction.atomic():
        with public_scope():
            made = SmartGrant.objects.create(
                key=key,
                user=user,
                scopes=list(scopes),
                context=sealing.seal(key.environment.scope(), json.dumps(kept)),
                redirect_uri=request.redirect_uri,
                code_digest=digest_of(code),
                code_challenge=request.challenge,
                code_expires_at=now + CODE_LIFE,
            )
            if request.launch:
                use_up(request.launch)
        change = Change(
            action="smart_grant.create",
            target_type="smart_grant",
            target_id=made.id,
            details={"client_id": key.id, "scopes": list(scopes)},
            project_id=key.project_id,
        )
        actor = Actor(kind="user", id=user.id, label=user.get_full_name())
        announce(change, environments=[key.environment], actor=actor, now=now)
    return request.answer(code=code)
