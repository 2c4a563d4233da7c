"""Register, change and end the apps that people may grant access to."""

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import QuerySet

from healthcloud.actors import Actor
from healthcloud.errors import NotFound, ValidationFailed
from healthcloud.organizations import keys
from healthcloud.organizations.key_sets import check_key_source
from healthcloud.organizations.models import ApiKey, Environment, Project, SmartClient
from healthcloud.organizations.services.announce import Change, announce
from healthcloud.organizations.services.projects import ProjectNotFound
from healthcloud.organizations.smart.scopes import check_client_scopes
from healthcloud.tenancy.scope import public_scope

SECRET_PREFIX: Final = "hc_app_"  # noqa: S105  # how secrets begin
MAX_REDIRECTS: Final = 20
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# What a browser would run or open itself, and never hand to an app.
_UNSAFE: Final = frozenset(
    {"javascript", "data", "file", "vbscript", "blob", "about", "ftp", "ws", "wss", "mailto"}
)
_AUTHORITY: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_CUSTOM: Final = re.compile(r"[a-z][a-z0-9+.-]*\.[a-z0-9+.-]+|[a-z][a-z0-9+.-]{2,}")


class ClientNotFound(NotFound):
    """There is no such app in this environment of this organization."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"There is no SMART client `{client_id}` here.")


class RedirectRefused(ValidationFailed):
    """An address to which no code may be sent."""

    def __init__(self, message: str, param: str = "redirect_uris") -> None:
        super().__init__(message, param=param)


@dataclass(frozen=True, slots=True)
class IssuedClient:
    """An app and its secret, which is never shown again; empty for those that have none."""

    client: SmartClient
    secret: str = ""


def clients_of(organization_id: str, environment: str) -> QuerySet[SmartClient]:
    """Return the apps of one environment of an organization, ended ones too."""
    rows = SmartClient.objects.filter(
        key__organization_id=organization_id, key__environment__kind=environment
    )
    return rows.select_related("key__environment", "key__project")


def digest_of(text: str) -> bytes:
    """Return what is kept of a secret, code or token of at least 128 random bits."""
    return hashlib.sha256(text.encode()).digest()


def register_client(
    *,
    environment: Environment,
    project_id: str,
    name: str,
    kind: str,
    redirect_uris: Sequence[str],
    scopes: Iterable[str],
    actor: Actor,
    now: datetime,
    launch_uri: str = "",
    jwks: object = None,
    jwks_uri: object = None,
    grantable: frozenset[str] | None = None,
) -> IssuedClient:
    """Register an app of one project; the secret of a confidential-symmetric one is told once.

    Raises ScopeRefused, Forbidden, RedirectRefused, ProjectNotFound, ValidationFailed.
    """
    checked = check_client_scopes(scopes, grantable=grantable)
    uris = check_redirects(redirect_uris)
    keys_of_app, address = _keys_for(kind, jwks, jwks_uri, environment)
    secret = _new_secret() if kind == SmartClient.Kind.SYMMETRIC else ""
    nobodys = keys.generate(environment.kind)
    with transaction.atomic():
        with public_scope():
            _check_project(environment.organization_id, project_id)
            key = ApiKey.objects.create(
                organization_id=environment.organization_id,
                environment=environment,
                project_id=project_id,
                name=name,
                prefix=nobodys.prefix,
                last4=nobodys.last4,
                digest=nobodys.digest,
                scopes=checked,
                created_by_id=actor.id,
            )
            client = SmartClient.objects.create(
                key=key,
                kind=kind,
                redirect_uris=uris,
                launch_uri=check_launch_uri(launch_uri),
                secret_digest=digest_of(secret) if secret else None,
                jwks=keys_of_app,
                jwks_uri=address,
            )
        _record(client, "create", actor=actor, now=now)
    return IssuedClient(client, secret)


def update_client(
    *,
    environment: Environment,
    client_id: str,
    changes: Mapping[str, Any],
    actor: Actor,
    now: datetime,
    grantable: frozenset[str] | None = None,
) -> SmartClient:
    """Change name, redirect_uris, launch_uri, scopes, jwks or jwks_uri of an app.

    Grants keep what was granted as far as the app may still ask for it.
    """
    with transaction.atomic():
        with public_scope():
            client = _locked(environment, client_id)
            key = client.key
            if "scopes" in changes:
                key.scopes = check_client_scopes(changes["scopes"], grantable=grantable)
            if "redirect_uris" in changes:
                client.redirect_uris = check_redirects(changes["redirect_uris"])
            if "launch_uri" in changes:
                client.launch_uri = check_launch_uri(changes["launch_uri"])
            if {"jwks", "jwks_uri"} & set(changes):
                given = changes.get("jwks"), changes.get("jwks_uri")
                client.jwks, client.jwks_uri = _keys_for(client.kind, *given, environment)
            key.name = str(changes.get("name", key.name))
            key.save(update_fields=["name", "scopes"])
            client.save()
        _record(client, "update", actor=actor, now=now)
    return client


def rotate_secret(
    *, environment: Environment, client_id: str, actor: Actor, now: datetime
) -> IssuedClient:
    """Give a confidential-symmetric app a new secret; the one before ends at once."""
    secret = _new_secret()
    with transaction.atomic():
        with public_scope():
            client = _locked(environment, client_id)
            if client.kind != SmartClient.Kind.SYMMETRIC:
                raise ValidationFailed("Only confidential-symmetric clients have a secret.")
            client.secret_digest = digest_of(secret)
            client.save(update_fields=["secret_digest"])
        _record(client, "rotate", actor=actor, now=now)
    return IssuedClient(client, secret)


def revoke_client(
    *, environment: Environment, client_id: str, actor: Actor, now: datetime
) -> SmartClient:
    """End an app: its tokens are refused from the next request on. Safe to repeat."""
    with transaction.atomic():
        with public_scope():
            client = _locked(environment, client_id)
            if client.key.revoked_at is not None:
                return client
            client.key.revoked_at = now
            client.key.save(update_fields=["revoked_at"])
        _record(client, "revoke", actor=actor, now=now)
    return client


def check_redirects(uris: Sequence[str]) -> list[str]:
    """Return the addresses; raise RedirectRefused for one to which no code may be sent.

    Those are https ones, http ones of the person's own machine, and an app's own scheme.
    """
    found = list(dict.fromkeys(uris))
    if not 0 < len(found) <= MAX_REDIRECTS:
        raise RedirectRefused(f"Send 1 to {MAX_REDIRECTS} redirect addresses.")
    for uri in found:
        _check_redirect(uri)
    return found


def _check_redirect(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError as error:
        raise RedirectRefused(f"`{uri[:200]}` is no address.") from error
    is_web = parts.scheme == "https" and host
    is_local = parts.scheme == "http" and host in _LOCAL
    is_own = parts.scheme not in {"http", "https", *_UNSAFE} and _CUSTOM.fullmatch(parts.scheme)
    if not (is_web or is_local or is_own) or any(c.isspace() or not c.isprintable() for c in uri):
        raise RedirectRefused(
            f"`{uri[:200]}` can't be a redirect address: use https, an app's own scheme, or http on"
            " localhost."
        )
    if parts.netloc and not _AUTHORITY.fullmatch(parts.netloc):
        raise RedirectRefused(f"`{uri[:200]}` names no host and port.")
    if parts.fragment or "#" in uri or "*" in uri or parts.username or "@" in parts.netloc:
        raise RedirectRefused(f"`{uri[:200]}` must have no fragment, wildcard or user.")


def check_launch_uri(uri: str) -> str:
    """Return the address at which an app is launched; empty for one that launches itself."""
    if not uri:
        return ""
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    known = bool(host) and _AUTHORITY.fullmatch(urlsplit(uri).netloc) is not None
    if not known or (parts.scheme != "https" and (parts.scheme != "http" or host not in _LOCAL)):
        raise RedirectRefused("`launch_uri` is an https address.", "launch_uri")
    return uri


def _keys_for(
    kind: str, jwks: object, jwks_uri: object, environment: Environment
) -> tuple[dict[str, Any] | None, str]:
    """Return the keys of an app or their address, which only one with keys of its own has."""
    found = check_key_source(jwks, jwks_uri, environment=environment.kind)
    if kind == SmartClient.Kind.ASYMMETRIC:
        if found == (None, ""):
            raise ValidationFailed("Send the public keys as `jwks` or `jwks_uri`.", param="jwks")
        return found
    for name, value in zip(("jwks", "jwks_uri"), found, strict=True):
        if value:
            raise ValidationFailed(
                f"Only confidential-asymmetric clients have `{name}`.", param=name
            )
    return found


def _new_secret() -> str:
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def _check_project(organization_id: str, project_id: str) -> None:
    if not Project.objects.filter(organization_id=organization_id, pk=project_id).exists():
        raise ProjectNotFound(f"There is no project `{project_id}` here.", param="project_id")


def _locked(environment: Environment, client_id: str) -> SmartClient:
    rows = SmartClient.objects.select_for_update(of=("self",)).filter(
        key__organization_id=environment.organization_id,
        key__environment=environment,
        pk=client_id,
    )
    client = rows.select_related("key__environment", "key__project").first()
    if client is None:
        raise ClientNotFound(client_id)
    return client


def _record(client: SmartClient, verb: str, *, actor: Actor, now: datetime) -> None:
    key = client.key
    change = Change(
        action=f"smart_client.{verb}",
        target_type="smart_client",
        target_id=key.id,
        details={"name": key.name, "kind": client.kind, "scopes": list(key.scopes)},
        project_id=key.project_id,
    )
    announce(change, environments=[key.environment], actor=actor, now=now)
