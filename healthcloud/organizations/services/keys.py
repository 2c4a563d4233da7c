"""Create, rotate and revoke API keys."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from healthcloud.actors import Actor
from healthcloud.api.principal import ALL_SCOPES
from healthcloud.api.scopes import PATIENT, ClinicalScope, parse_scope, platform_scopes
from healthcloud.errors import Conflict, Forbidden, NotFound, ValidationFailed
from healthcloud.organizations import keys
from healthcloud.organizations.key_sets import check_key_source
from healthcloud.organizations.models import ApiKey, Environment, Project
from healthcloud.organizations.services.announce import Change, announce
from healthcloud.organizations.services.projects import ProjectNotFound
from healthcloud.tenancy.scope import public_scope

OVERLAP: Final = timedelta(hours=24)
_NARROW_SCOPE = re.compile(r"[A-Z][A-Za-z]{1,63}:(read|write)")


class KeyNotFound(NotFound):
    """There is no such key in this environment of this organization."""


class KeyRevoked(Conflict):
    """The key was revoked and can't be changed any more."""


class ScopeUnknown(ValidationFailed):
    """A scope that the platform does not have."""


class ScopeNotGrantable(Forbidden):
    """Nobody can give a key more than they may do themselves."""


class AddressInvalid(ValidationFailed):
    """An entry of the address list is neither an address nor a network."""


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key and its secret, which is never shown again."""

    key: ApiKey
    secret: str


def check_scopes(scopes: Iterable[str], *, grantable: frozenset[str] | None) -> list[str]:
    """Return the scopes, sorted; raise ScopeUnknown or ScopeNotGrantable."""
    wanted = sorted(set(scopes))
    unknown = [s for s in wanted if s not in ALL_SCOPES and not _is_narrow(s)]
    if unknown or not wanted:
        named = f"`{unknown[0]}` is no scope. " if unknown else "Name at least one scope. "
        raise ScopeUnknown(
            f"{named}Scopes are {', '.join(ALL_SCOPES)}, and narrowed ones such as"
            " `Observation:read` or SMART's `system/Observation.rs`.",
            param="scopes",
        )
    if grantable is not None:
        beyond = [s for s in wanted if not lies_within(s, grantable)]
        if beyond:
            raise ScopeNotGrantable(
                f"You can't give a key `{beyond[0]}`, which you don't have yourself.",
                param="scopes",
            )
    return wanted


def _is_narrow(scope: str) -> bool:
    """Tell whether a scope is one of a type; raise ValidationFailed for an unknown one."""
    clinical = parse_scope(scope)
    if _NARROW_SCOPE.fullmatch(scope) is not None:
        clinical = ClinicalScope(scope.partition(":")[0], "")
    if clinical is None or clinical.level == PATIENT:
        return False
    import_string(settings.CLINICAL_SCOPE_CHECK)(clinical)
    return True


def lies_within(scope: str, grantable: frozenset[str]) -> bool:
    """Tell whether whoever holds some scopes may hand this one on."""
    clinical = parse_scope(scope)
    if clinical is not None and scope not in grantable:
        return all(lies_within(s, grantable) for s in platform_scopes(clinical))
    resource, _, access = scope.partition(":")
    return scope in grantable or (resource[:1].isupper() and f"fhir:{access}" in grantable)


def _check_addresses(addresses: Sequence[str]) -> list[str]:
    checked: list[str] = []
    for entry in addresses:
        try:
            checked.append(str(ipaddress.ip_network(entry, strict=False)))
        except ValueError as error:
            raise AddressInvalid(
                f"`{entry}` is no address; write `203.0.113.7` or `2001:db8::/32`.",
                param="allowed_addresses",
            ) from error
    return checked


def create_api_key(
    *,
    environment: Environment,
    name: str,
    scopes: Iterable[str],
    actor: Actor,
    now: datetime,
    project_id: str | None = None,
    expires_at: datetime | None = None,
    allowed_addresses: Sequence[str] = (),
    grantable: frozenset[str] | None = None,
    jwks: object = None,
    jwks_uri: object = None,
) -> IssuedKey:
    """Create a key of one environment, and of one project if it names one.

    With `jwks`, public keys, or `jwks_uri`, their address, it is a client of SMART Backend
    Services, whose secret nobody is told.

    `grantable` are the scopes that the actor may hand on (None for the platform itself). Raises
    ScopeUnknown, ScopeNotGrantable, AddressInvalid, ProjectNotFound, ValidationFailed.
    """
    checked = check_scopes(scopes, grantable=grantable)
    networks = _check_addresses(allowed_addresses)
    public_keys, keys_address = check_key_source(jwks, jwks_uri, environment=environment.kind)
    if expires_at is not None and expires_at <= now:
        raise ValidationFailed("`expires_at` must be in the future.", param="expires_at")
    secret = keys.generate(environment.kind)
    with transaction.atomic():
        with public_scope():
            _check_project(environment.organization_id, project_id)
            key = ApiKey.objects.create(
                organization_id=environment.organization_id,
                environment=environment,
                project_id=project_id,
                name=name,
                prefix=secret.prefix,
                last4=secret.last4,
                digest=secret.digest,
                scopes=checked,
                allowed_addresses=networks,
                expires_at=expires_at,
                created_by_id=actor.id,
                jwks=public_keys,
                jwks_uri=keys_address,
            )
        _announce(key, "create", "created", actor=actor, now=now)
    return IssuedKey(key, "" if key.is_backend_client else secret.text)


def _check_project(organization_id: str, project_id: str | None) -> None:
    if project_id is None:
        return
    if not Project.objects.filter(organization_id=organization_id, pk=project_id).exists():
        raise ProjectNotFound(f"There is no project `{project_id}` here.", param="project_id")


def rotate_api_key(
    *,
    environment: Environment,
    key_id: str,
    actor: Actor,
    now: datetime,
    grantable: frozenset[str] | None = None,
) -> IssuedKey:
    """Give a key a new secret; the one it replaces stays valid for 24 hours.

    `grantable` are the scopes that the actor may hand on (None for the platform itself): whoever
    gets the secret can do all that the key can. Raises KeyNotFound, KeyRevoked and
    ScopeNotGrantable.
    """
    secret = keys.generate(environment.kind)
    with transaction.atomic():
        with public_scope():
            key = _locked(environment, key_id)
            check_scopes(key.scopes, grantable=grantable)
            if key.is_backend_client:
                raise KeyRevoked("This client signs with its own keys: create a new client.")
            if key.revoked_at is not None:
                raise KeyRevoked("This key was revoked; create a new one instead of rotating it.")
            key.previous_digest, key.previous_expires_at = key.digest, now + OVERLAP
            key.digest, key.prefix, key.last4 = secret.digest, secret.prefix, secret.last4
            key.save()
        _announce(key, "rotate", "rotated", actor=actor, now=now)
    return IssuedKey(key, secret.text)


def revoke_api_key(*, environment: Environment, key_id: str, actor: Actor, now: datetime) -> ApiKey:
    """End a key: the next request with it is refused everywhere. Safe to repeat."""
    with transaction.atomic():
        with public_scope():
            key = _locked(environment, key_id)
            if key.revoked_at is not None:
                return key
            key.revoked_at = now
            key.save(update_fields=["revoked_at"])
        _announce(key, "revoke", "revoked", actor=actor, now=now)
    return key


def _locked(environment: Environment, key_id: str) -> ApiKey:
    rows = ApiKey.objects.select_for_update(of=("self",)).filter(
        organization_id=environment.organization_id,
        environment=environment,
        pk=key_id,
        smart_client=None,
    )
    key = rows.first()
    if key is None:
        raise KeyNotFound(f"There is no API key `{key_id}` here.")
    return key


def _announce(key: ApiKey, verb: str, past: str, *, actor: Actor, now: datetime) -> None:
    change = Change(
        action=f"api_key.{verb}",
        target_type="api_key",
        target_id=key.id,
        event=f"api_key.{past}",
        payload={"key_id": key.id, "name": key.name, "last4": key.last4},
        details={"name": key.name, "scopes": list(key.scopes)},
        project_id=key.project_id,
    )
    announce(change, environments=[key.environment], actor=actor, now=now)
