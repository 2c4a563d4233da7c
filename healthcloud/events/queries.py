"""Reading events; call inside `tenant_scope`, after `numbering.number_committed` for the latest."""

from dataclasses import dataclass

import orjson
from django.db.models import Max, Min, QuerySet

from healthcloud.errors import NotFound
from healthcloud.events.models import Event
from healthcloud.events.selection import Selection
from healthcloud.tenancy.scope import Scope


class EventNotFound(NotFound):
    """No event of that id in this project."""

    def __init__(self, event_id: str) -> None:
        super().__init__(f"There is no event `{event_id}` here.")


@dataclass(frozen=True, slots=True)
class Kept:
    """The range of numbers that are still kept: `after` is the number before the first."""

    after: int
    last: int

    def covers(self, number: int) -> bool:
        """Say whether everything that followed `number` can still be read."""
        return self.after <= number <= self.last


def numbered(selection: Selection) -> QuerySet[Event]:
    """Return the numbered events that a selection takes."""
    return Event.objects.filter(selection.condition(), sequence__isnull=False)


def between(selection: Selection, after: int, until: int, *, limit: int) -> list[Event]:
    """Return events with numbers in (after, until], in order."""
    rows = numbered(selection).filter(sequence__gt=after, sequence__lte=until)
    return list(rows.order_by("sequence")[:limit])


def kept() -> Kept:
    """Return which numbers the active tenant still keeps; of all projects.

    One statement reads both ends: an event numbered between two would seem not to be kept.
    """
    ends = Event.objects.aggregate(first=Min("sequence"), last=Max("sequence"))
    return Kept(after=(ends["first"] or 1) - 1, last=ends["last"] or 0)


def id_of(number: int) -> str:
    """Return the id of the event with a number, empty when it is not kept."""
    row = Event.objects.filter(sequence=number).values_list("event_id", flat=True).first()
    return row or ""


def find_event(event_id: str) -> Event:
    """Return an event by its id; raise EventNotFound."""
    try:
        return Event.objects.get(event_id=event_id)
    except Event.DoesNotExist:
        raise EventNotFound(event_id) from None


def as_dict(event: Event, scope: Scope) -> dict[str, object]:
    """Return the one JSON form of an event: in lists, streams and webhooks."""
    return {
        "id": event.event_id,
        "object": "event",
        "sequence": event.sequence,
        "type": event.type,
        "source": event.source,
        "severity": event.severity,
        "created_at": event.created_at.isoformat().replace("+00:00", "Z"),
        "payload": event.payload,
        "actor": {"kind": event.actor_kind, "id": event.actor_id},
        "request_id": event.request_id or None,
        "causation_id": event.causation_id or None,
        "organization_id": scope.organization_id,
        "project_id": event.project_id or None,
        "environment": scope.environment,
    }


def as_text(event: Event, scope: Scope) -> bytes:
    """Return the JSON form as text, made once for all streams that share the event."""
    known: bytes | None = event.__dict__.get("_text")
    if known is None:
        known = event.__dict__["_text"] = orjson.dumps(as_dict(event, scope))
    return known
