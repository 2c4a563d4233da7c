"""Whether the callers behind open streams may still read: checked for all of them at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db.models import Q

from healthcloud.api.principal import Principal


@dataclass(frozen=True, slots=True)
class Credential:
    """What a stream rests on: a key, or a person's membership in an organization."""

    organization_id: str
    key_id: str | None
    user_id: str | None

    @classmethod
    def of(cls, principal: Principal) -> "Credential":
        """Return the credential of an authenticated caller."""
        return cls(principal.organization_id, principal.key_id, principal.user_id)


def still_valid(credentials: Iterable[Credential], *, now: datetime) -> set[Credential]:
    """Return those whose key is neither revoked nor expired, or whose member is still one."""
    wanted = set(credentials)
    keys = _valid_keys({item.key_id for item in wanted if item.key_id}, now)
    members = _members({item.user_id for item in wanted if item.user_id})
    return {
        item
        for item in wanted
        if (item.key_id in keys if item.key_id else (item.user_id, item.organization_id) in members)
    }


def _valid_keys(ids: set[str], now: datetime) -> set[str]:
    if not ids:
        return set()
    keys: Any = apps.get_model("organizations", "ApiKey").objects
    valid = keys.filter(
        Q(revoked_at=None) | Q(revoked_at__gt=now),
        Q(expires_at=None) | Q(expires_at__gt=now),
        pk__in=ids,
    )
    return set(valid.values_list("pk", flat=True))


def _members(ids: set[str]) -> set[tuple[str, str]]:
    if not ids:
        return set()
    memberships: Any = apps.get_model("organizations", "Membership").objects
    valid = memberships.filter(user_id__in=ids, user__is_active=True)
    return set(valid.values_list("user_id", "organization_id"))
