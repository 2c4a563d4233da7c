"""Taking changes off the feed: which Subscriptions they concern, and who is told."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Final

from fhir.consumers import project_scopes
from fhir.definitions import type_number
from fhir.feed import Change, contents
from fhir.search.judging import Candidate, matching
from fhir.sql import fetch
from fhir.subscriptions import lifecycle, registry, subscribers
from fhir.subscriptions.definition import Rule, rules
from fhir.subscriptions.registry import Subscription
from healthcloud.actors import SYSTEM
from healthcloud.events import deliveries
from healthcloud.events.models import Webhook
from healthcloud.events.numbering import whole_tenant
from healthcloud.events.services import publish
from healthcloud.tenancy.scope import active_scope, tenant_scope

BUNDLED: Final = 20  # events in one notification, where the subscriber names no limit
_BEFORE: Final = (
    "SELECT x.number, h.content FROM unnest(%s::bigint[], %s::smallint[], %b::text[],"
    " %s::integer[]) AS x(number, rtype, rid, version) JOIN fhir_history h"
    " ON h.project = %s::integer AND h.rtype = x.rtype AND h.rid = x.rid"
    " AND h.version = x.version WHERE h.content IS NOT NULL"
)


def anyone_active() -> bool:
    """Tell whether any Subscription of the tenant is active, in whatever project."""
    with tenant_scope(whole_tenant(active_scope())):
        return bool(registry.of_status("active"))


def take(changes: Sequence[Change], *, now: datetime) -> None:
    """Number, for each active Subscription, the changes that meet its criteria, and send them."""
    active = registry.of_status("active")
    ended = subscribers.ended(active, now=now)
    concerned = {subscription.project for subscription in active}
    scopes = project_scopes(active_scope(), concerned)
    for project, scope in scopes.items():
        mine = [change for change in changes if change.project == project]
        if not mine:
            continue
        with tenant_scope(scope):
            batch = Batch(mine, project=project, now=now)
            for subscription in active:
                if subscription.project != project:
                    continue
                if told := ended.get(subscription.id):
                    name = subscription.id
                    lifecycle.fail(project, name, reason=subscribers.CODE, error=told, now=now)
                else:
                    _take(subscription, batch)


class Batch:
    """Changes of one project, their versions and the versions before, read once."""

    def __init__(self, changes: Sequence[Change], *, project: int, now: datetime) -> None:
        self.changes = {change.number: change for change in changes}
        self.project, self.now = project, now
        self._contents: dict[int, bytes | None] | None = None
        self._before: dict[int, bytes] | None = None

    def meeting(self, subscription: Subscription) -> list[Change]:
        """Return the changes that meet a Subscription's criteria, in order."""
        found: set[int] = set()
        for rule in rules(subscription.definition):
            found |= self._meeting(rule)
        return [self.changes[number] for number in sorted(found)]

    def _meeting(self, rule: Rule) -> set[int]:
        concerned = [
            change
            for change in self.changes.values()
            if change.resource_type == rule.resource_type
            and change.interaction in rule.interactions
        ]
        if not concerned:
            return set()
        found = {change.number for change in concerned}
        for request in rule.current:
            candidates = list(self._versions(concerned, found))
            found &= matching(request, candidates, project=self.project, now=self.now)
        if rule.previous is not None:
            later = [c for c in concerned if c.interaction != "create" and c.number in found]
            candidates = list(self._versions_before(later))
            met = matching(rule.previous, candidates, project=self.project, now=self.now)
            found -= {candidate.key for candidate in candidates} - met
        return found

    def _versions(self, changes: Iterable[Change], wanted: set[int]) -> Iterable[Candidate]:
        """Yield the versions; of a deletion the one that it ended."""
        for change in changes:
            text = self.contents.get(change.number) or self.before.get(change.number)
            if change.number in wanted and text is not None:
                yield _candidate(change, text)

    def _versions_before(self, changes: Iterable[Change]) -> Iterable[Candidate]:
        for change in changes:
            text = self.before.get(change.number)
            if text is not None:
                yield _candidate(change, text)

    @property
    def contents(self) -> dict[int, bytes | None]:
        """Return the stored texts by number."""
        if self._contents is None:
            self._contents = contents(list(self.changes.values()))
        return self._contents

    @property
    def before(self) -> dict[int, bytes]:
        """Return the texts of the versions before, by number."""
        if self._before is None:
            later = [change for change in self.changes.values() if change.version > 1]
            columns = (
                [change.number for change in later],
                [type_number(change.resource_type) for change in later],
                [change.id for change in later],
                [change.version - 1 for change in later],
            )
            self._before = dict(fetch(_BEFORE, (*columns, self.project))) if later else {}
        return self._before


def _candidate(change: Change, text: bytes) -> Candidate:
    return Candidate(
        key=change.number,
        resource_type=change.resource_type,
        id=change.id,
        version=change.version,
        updated_at=change.updated_at,
        content=text,
    )


def _take(subscription: Subscription, batch: Batch) -> None:
    ends_at = subscription.definition.ends_at
    if ends_at is not None and ends_at <= batch.now:
        lifecycle.expire(subscription, now=batch.now)
        return
    found = batch.meeting(subscription)
    if not found:
        return
    numbers = registry.note(subscription, found, now=batch.now)
    told = replace(subscription, events=numbers[-1])
    if subscription.definition.kind == "websocket":
        payload = {"subscription_id": subscription.id, "number": numbers[-1]}
        publish(type="fhir.subscription.notified", payload=payload, actor=SYSTEM, now=batch.now)
        return
    webhook = Webhook.objects.filter(
        purpose=lifecycle.PURPOSE, subject=subscription.reference
    ).first()
    if webhook is not None:
        deliveries.create_content(webhook, _parts(told, numbers), now=batch.now)


def _parts(subscription: Subscription, numbers: range) -> list[str]:
    """Return the contents of the deliveries: ranges of numbers, one number each for R4's own."""
    size = 1
    if subscription.definition.is_backport:
        size = subscription.definition.max_count or BUNDLED
    parts = [list(part) for _, part in groupby(numbers, key=lambda n: (n - numbers[0]) // size)]
    return [f"{part[0]}-{part[-1]}" for part in parts]
