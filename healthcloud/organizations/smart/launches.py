"""Launches from inside the record: `launch` parameters with a context, good for five minutes.

https://hl7.org/fhir/smart-app-launch/app-launch.html#launch-app-ehr-launch
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from django.conf import settings
from django.db import transaction

from healthcloud import secrets as sealing
from healthcloud.actors import Actor
from healthcloud.errors import Conflict, ValidationFailed
from healthcloud.organizations.models import SmartClient, SmartLaunch, User
from healthcloud.organizations.services.announce import Change, announce
from healthcloud.organizations.smart.clients import digest_of
from healthcloud.tenancy.scope import public_scope

LIFE: Final = timedelta(minutes=5)
CONTEXT: Final = ("patient", "encounter", "intent", "need_patient_banner", "fhirContext")


@dataclass(frozen=True, slots=True)
class IssuedLaunch:
    """A launch, the address that opens the app with it, and until when it may be used."""

    launch: str
    url: str
    expires_at: datetime

    @property
    def iss(self) -> str:
        """Return the FHIR address whose server launches."""
        return fhir_base()


def fhir_base() -> str:
    """Return the address of the FHIR API, `iss` of launches and `aud` of authorizations."""
    return f"{settings.BASE_URL}/v1/fhir"


def create_launch(
    *,
    client: SmartClient,
    context: Mapping[str, object],
    actor: Actor,
    now: datetime,
    user_id: str | None = None,
) -> IssuedLaunch:
    """Make a launch of an app in a context; only `user_id`, if one is named, can use it.

    Raises ValidationFailed for an app that has no address to be launched at.
    """
    key = client.key
    if key.revoked_at is not None:
        raise Conflict("This client was revoked.")
    if not client.launch_uri:
        raise ValidationFailed("This client has no `launch_uri`.", param="launch_uri")
    launch = secrets.token_urlsafe(24)
    kept = {name: context[name] for name in CONTEXT if context.get(name) is not None}
    with transaction.atomic():
        with public_scope():
            SmartLaunch.objects.filter(expires_at__lt=now).delete()
            SmartLaunch.objects.create(
                digest=digest_of(launch),
                key=key,
                user_id=user_id,
                context=sealing.seal(key.environment.scope(), json.dumps(kept)),
                expires_at=now + LIFE,
            )
        change = Change(
            action="smart_client.launch",
            target_type="smart_client",
            target_id=key.id,
            details={"context": sorted(kept)},
            project_id=key.project_id,
        )
        announce(change, environments=[key.environment], actor=actor, now=now)
    separator = "&" if "?" in client.launch_uri else "?"
    query = urlencode({"iss": fhir_base(), "launch": launch})
    return IssuedLaunch(launch, f"{client.launch_uri}{separator}{query}", now + LIFE)


def open_launch(
    launch: str, client: SmartClient, user: User, *, now: datetime
) -> dict[str, object] | None:
    """Return the context of a launch of this client, None where it is not good (any more)."""
    found = SmartLaunch.objects.filter(
        digest=digest_of(launch), key_id=client.pk, expires_at__gt=now
    ).first()
    if found is None or found.user_id not in {None, user.pk}:
        return None
    opened: dict[str, object] = json.loads(
        sealing.open_sealed(client.key.environment.scope(), found.context)
    )
    return opened


def use_up(launch: str) -> None:
    """Forget a launch whose grant was made."""
    SmartLaunch.objects.filter(digest=digest_of(launch)).delete()
