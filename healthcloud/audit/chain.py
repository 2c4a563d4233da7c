"""The hash chain over a tenant's trail, made after the commits so that no writer waits.

Each link's hash covers the hash before it and the whole content of its row. A changed row no
longer fits its hash, a deleted one leaves a link without a row, one slipped in has no link.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from django.db import connection
from django.utils import timezone

from healthcloud.audit.models import AuditEvent, AuditLink, AuditPending
from healthcloud.tenancy.scope import Scope, active_scope, tenant_scope

GENESIS: Final = bytes(32)
BATCH: Final = 2000
_FIELDS: Final = (
    "position",
    "event_id",
    "project_id",
    "actor_kind",
    "actor_id",
    "actor_label",
    "action",
    "target_type",
    "target_id",
    "outcome",
    "details",
    "request_id",
)


@dataclass(frozen=True, slots=True)
class SideTrail:
    """Rows beside the trail, of which `seal` records digests in it and `problems` recomputes them.

    Both run inside a scope over all projects of the tenant.
    """

    seal: Callable[..., None]
    problems: Callable[[], Iterable[str]]


_side_trails: dict[str, SideTrail] = {}


def register_side_trail(name: str, trail: SideTrail) -> None:
    """Let rows beside the trail be sealed whenever the chain is extended."""
    _side_trails[name] = trail


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found: how many links hold, and the first things that don't."""

    links: int
    pending: int
    problems: tuple[str, ...]

    @property
    def intact(self) -> bool:
        """Whether nothing was changed, deleted or slipped in."""
        return not self.problems


def extend_chain() -> int:
    """Link every committed row of the active tenant that is not linked; return how many."""
    linked = 0
    with tenant_scope(_whole(active_scope())) as scope:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
                [f"healthcloud.audit.{scope.schema}"],
            )
        for trail in _side_trails.values():
            trail.seal(now=timezone.now())
        while batch := _link_batch():
            linked += batch
    return linked


def _link_batch() -> int:
    positions = list(
        AuditPending.objects.order_by("position").values_list("position", flat=True)[:BATCH]
    )
    last = AuditLink.objects.order_by("-number").first()
    number, previous = (last.number, bytes(last.hash)) if last else (0, GENESIS)
    links = []
    for event in AuditEvent.objects.filter(position__in=positions).order_by("position"):
        number, previous = number + 1, link_hash(previous, number + 1, event)
        links.append(AuditLink(number=number, position=event.position, hash=previous))
    AuditLink.objects.bulk_create(links)
    AuditPending.objects.filter(position__in=[link.position for link in links]).delete()
    return len(links)


def link_hash(previous: bytes, number: int, event: AuditEvent) -> bytes:
    """Return the SHA-256 of the hash before, the link's number and the row's content."""
    content = {name: getattr(event, name) for name in _FIELDS}
    content["created_at"] = event.created_at.isoformat()
    text = json.dumps([number, content], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(previous + text.encode()).digest()


def verify_chain() -> Verdict:
    """Recompute the active tenant's chain from its first link, and look for rows outside it."""
    with tenant_scope(_whole(active_scope())):
        problems = list(_broken_links())
        problems += [f"audit event {position} is in no link" for position in _unlinked()]
        problems += [f"audit event {position} is missing" for position in _lost()]
        problems += [told for trail in _side_trails.values() for told in trail.problems()]
        return Verdict(
            links=AuditLink.objects.count(),
            pending=AuditPending.objects.count(),
            problems=tuple(problems[:100]),
        )


def _broken_links() -> Iterator[str]:
    previous, expected = GENESIS, 1
    for links in _batches():
        events = AuditEvent.objects.in_bulk([link.position for link in links])
        for link in links:
            if link.number != expected:
                yield f"links {expected} to {link.number - 1} are missing"
            event = events.get(link.position)
            if event is None:
                yield f"audit event {link.position} of link {link.number} is missing"
            elif link_hash(previous, link.number, event) != bytes(link.hash):
                yield f"audit event {event.event_id} of link {link.number} was changed"
            previous, expected = bytes(link.hash), link.number + 1


def _batches() -> Iterator[list[AuditLink]]:
    number = 0
    while True:
        links = list(AuditLink.objects.filter(number__gt=number).order_by("number")[:BATCH])
        if not links:
            return
        yield links
        number = links[-1].number


def _unlinked() -> list[int]:
    rows = AuditEvent.objects.exclude(position__in=AuditLink.objects.values("position")).exclude(
        position__in=AuditPending.objects.values("position")
    )
    return list(rows.order_by("position").values_list("position", flat=True)[:100])


def _lost() -> list[int]:
    """Return rows that were deleted before they were linked."""
    present = AuditEvent.objects.values("position")
    rows = AuditPending.objects.exclude(position__in=present).order_by("position")
    return list(rows.values_list("position", flat=True)[:100])


def _whole(scope: Scope) -> Scope:
    return replace(scope, project_id=None, project_number=None)
