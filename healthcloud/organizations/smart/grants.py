"""From the token of an app to its caller: what the grant, the app and the person's role include."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction

from healthcloud import secrets as sealing
from healthcloud.actors import Actor
from healthcloud.api.principal import Principal
from healthcloud.api.scopes import parse_scope
from healthcloud.errors import Unauthorized
from healthcloud.organizations.models import Environment, Membership, RevokedToken, SmartGrant
from healthcloud.organizations.permissions import scopes_of
from healthcloud.organizations.services.announce import Change, announce
from healthcloud.organizations.smart.scopes import grantable_scopes
from healthcloud.tenancy.scope import public_scope


class GrantEnded(Unauthorized):
    """The grant behind a token was revoked, or its person left."""


def context_of(grant: SmartGrant, environment: Environment) -> dict[str, Any]:
    """Return what was sealed with a grant: patient, encounter, fhirUser, nonce."""
    opened: dict[str, Any] = json.loads(sealing.open_sealed(environment.scope(), grant.context))
    return opened


def current_role(grant: SmartGrant) -> str | None:
    """Return the role that the grant's person has now, None for nobody's."""
    rows = Membership.objects.filter(
        user_id=grant.user_id,
        user__is_active=True,
        organization_id=grant.key.organization_id,
    )
    return rows.values_list("role", flat=True).first()


def find_grant(grant_id: str) -> SmartGrant | None:
    """Return a grant with its key and person."""
    rows = SmartGrant.objects.select_related("key__environment", "user")
    return rows.filter(pk=grant_id).first()


def principal_for_grant(principal: Principal, grant_id: str, scopes: frozenset[str]) -> Principal:
    """Return the caller behind a token of a grant: the person, through the app of the key.

    Raises GrantEnded for a grant that was revoked, or whose person is no member any more.
    """
    grant = find_grant(grant_id)
    role = None if grant is None else current_role(grant)
    if grant is None or grant.revoked_at is not None or grant.key_id != principal.key_id:
        raise GrantEnded("This access was ended. Launch the app again.")
    if role is None:
        raise GrantEnded("The person who granted this access is no member any more.")
    held = grantable_scopes(scopes, of_client=principal.scopes, of_person=scopes_of(role))
    context = context_of(grant, grant.key.environment)
    label = f"{grant.user.get_full_name()} with {principal.actor.label}"
    return replace(
        principal,
        actor=Actor(kind="user", id=grant.user_id, label=label),
        scopes=frozenset(scope for scope in held if parse_scope(scope) is not None),
        user_id=grant.user_id,
        role=role,
        patient=context.get("patient"),
        fhir_user=context.get("fhir_user"),
        client_id=grant.key_id,
    )


def revoke_grant(grant: SmartGrant, *, reason: str, now: datetime) -> None:
    """End a grant with all its tokens. Safe to repeat."""
    with transaction.atomic():
        with public_scope():
            ended = SmartGrant.objects.filter(pk=grant.pk, revoked_at=None).update(revoked_at=now)
        if not ended:
            return
        change = Change(
            action="smart_grant.revoke",
            target_type="smart_grant",
            target_id=grant.pk,
            details={"client_id": grant.key_id, "reason": reason},
            project_id=grant.key.project_id,
        )
        actor = Actor(kind="api_key", id=grant.key_id, label=grant.key.name)
        announce(change, environments=[grant.key.environment], actor=actor, now=now)


def is_revoked(token: str) -> bool:
    """Tell whether an access token was revoked before its time."""
    digest = hashlib.sha256(token.encode()).digest()
    return RevokedToken.objects.filter(pk=digest).exists()


def revoke_token(token: str, claims: Mapping[str, Any], *, now: datetime) -> None:
    """Remember an access token as revoked until it expires by itself."""
    expires_at = datetime.fromtimestamp(float(claims["exp"]), tz=now.tzinfo)
    RevokedToken.objects.filter(expires_at__lt=now).delete()
    RevokedToken.objects.get_or_create(
        digest=hashlib.sha256(token.encode()).digest(), defaults={"expires_at": expires_at}
    )
