"""Subscriptions end with the rights of who asked for them: a key that was revoked hears no more."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from fhir.subscriptions.registry import Subscription
from healthcloud.organizations.queries import ended_actors
from healthcloud.tenancy.scope import active_scope, public_scope

CODE: Final = "access_ended"


def ended(subscriptions: Iterable[Subscription], *, now: datetime) -> dict[str, str]:
    """Return why Subscriptions must end, by id: their key or person has no access any more."""
    asked = list(subscriptions)
    if not asked:
        return {}
    organization_id = active_scope().organization_id
    with public_scope():
        reasons = ended_actors(
            organization_id,
            keys={s.actor_id for s in asked if s.actor_kind == "api_key"},
            users={s.actor_id for s in asked if s.actor_kind == "user"},
            now=now,
        )
    return {s.id: reasons[s.actor_id] for s in asked if s.actor_id in reasons}
