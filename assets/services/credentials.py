"""Credentials: written, never read back."""

from collections.abc import Mapping
from datetime import datetime

from assets import queries, registry
from assets.models import Credential, Installation
from healthcloud.actors import Actor
from healthcloud.audit.services import record
from healthcloud.errors import ValidationFailed
from healthcloud.secrets import seal
from healthcloud.tenancy.scope import active_scope

MAXIMUM_LENGTH = 20_000


class CredentialInvalid(ValidationFailed):
    """A credential that the asset doesn't know, or that is no text."""


def set_credentials(
    *, actor: Actor, now: datetime, installation_id: str, credentials: Mapping[str, object]
) -> Installation:
    """Seal and keep the given secrets; those not named stay as they are.

    They count from the next call on, also for running deployments. Raises InstallationNotFound
    (404), CredentialInvalid (422).
    """
    installation = queries.installation(installation_id)
    known = [item.name for item in registry.get(installation.asset_id).secrets]
    if not credentials:
        raise CredentialInvalid("Name at least one credential.", param="credentials")
    scope = active_scope()
    for name, value in credentials.items():
        text = _checked(name, value, known)
        Credential.objects.update_or_create(
            installation=installation,
            name=name,
            defaults={
                "project_id": installation.project_id,
                "sealed": seal(scope, text),
                "last4": text[-4:] if len(text) >= 12 else "",
                "rotated_at": now,
            },
        )
    record(
        actor=actor,
        action="asset.set_credentials",
        target_type="asset_installation",
        target_id=installation.id,
        now=now,
        details={"names": sorted(credentials)},
    )
    return queries.installation(installation_id)


def _checked(name: str, value: object, known: list[str]) -> str:
    if name not in known:
        raise CredentialInvalid(
            f"`{name}` is not a credential of this asset (known: {', '.join(known) or 'none'}).",
            param=f"credentials.{name}",
        )
    if not isinstance(value, str) or not value.strip() or len(value) > MAXIMUM_LENGTH:
        raise CredentialInvalid(
            f"`{name}` must be text of 1 to {MAXIMUM_LENGTH} characters.",
            param=f"credentials.{name}",
        )
    return value.strip()
