"""The rows that run Subscriptions; call inside `tenant_scope`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir.definitions import type_name, type_number
from fhir.feed import Change
from fhir.rows import METHODS
from fhir.sql import Row, fetch
from fhir.subscriptions.definition import Definition
from healthcloud.actors import Actor

_COLUMNS: Final = (
    "project, rid, status, definition, started, notified, events, error, actor_kind, actor_id"
)
_ONE: Final = " WHERE project = %s::integer AND rid = %s::text"
_FIND: Final = f"SELECT {_COLUMNS} FROM fhir_subscription{_ONE}"
_OF_STATUS: Final = (
    f"SELECT {_COLUMNS} FROM fhir_subscription WHERE status = %s::text ORDER BY project, rid"
)
_ALL: Final = f"SELECT {_COLUMNS} FROM fhir_subscription ORDER BY rid"
_PUT: Final = (
    "INSERT INTO fhir_subscription (project, rid, status, definition, started, actor_kind,"
    " actor_id) VALUES (%s::integer, %s::text, %s::text, %s::text, %s::timestamptz, %s::text,"
    " %s::text) ON CONFLICT (project, rid) DO UPDATE SET status = EXCLUDED.status,"
    " definition = EXCLUDED.definition, error = '', actor_kind = EXCLUDED.actor_kind,"
    " actor_id = EXCLUDED.actor_id"
)
_SET_STATUS: Final = f"UPDATE fhir_subscription SET status = %s::text, error = %s::text{_ONE}"
_TOUCH: Final = f"UPDATE fhir_subscription SET notified = %s::timestamptz{_ONE}"
_DELETE: Final = f"DELETE FROM fhir_subscription{_ONE}"
_FORGET: Final = (
    "DELETE FROM fhir_notification WHERE project = %s::integer AND subscription = %s::text"
)
_COUNT: Final = (
    f"UPDATE fhir_subscription SET events = events + %s::bigint, notified = %s::timestamptz{_ONE}"
    " RETURNING events"
)
_NOTE: Final = (
    "INSERT INTO fhir_notification (project, subscription, number, happened, rtype, method,"
    " version, rid) SELECT %s::integer, %s::text, x.* FROM unnest(%s::bigint[],"
    " %s::timestamptz[], %s::smallint[], %s::smallint[], %s::integer[], %b::text[]) AS x"
)
_BETWEEN: Final = (
    "SELECT n.number, n.happened, n.rtype, n.method, n.version, n.rid, h.content"
    " FROM fhir_notification n LEFT JOIN fhir_history h ON h.project = n.project"
    " AND h.rtype = n.rtype AND h.rid = n.rid AND h.version = n.version"
    " WHERE n.project = %s::integer AND n.subscription = %s::text"
    " AND n.number BETWEEN %s::bigint AND %s::bigint ORDER BY n.number LIMIT %s::integer"
)
_PURGE: Final = "DELETE FROM fhir_notification WHERE happened < %s::timestamptz"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A Subscription as it runs. `events` is the number of its last notification.

    `actor_kind` and `actor_id` are who asked for it, with whose access it ends.
    """

    project: int
    id: str
    status: str
    definition: Definition
    started_at: datetime
    notified_at: datetime | None
    events: int
    error: str
    actor_kind: str = ""
    actor_id: str = ""

    @property
    def reference(self) -> str:
        """Return `Subscription/id`."""
        return f"Subscription/{self.id}"


@dataclass(frozen=True, slots=True)
class Notification:
    """An event of a Subscription: the version that met its criteria, under its number."""

    number: int
    happened_at: datetime
    resource_type: str
    method: str
    version: int
    id: str
    content: bytes | None

    @property
    def reference(self) -> str:
        """Return `Type/id`."""
        return f"{self.resource_type}/{self.id}"


def find(project: int, rid: str) -> Subscription | None:
    """Return a Subscription of a project."""
    rows = fetch(_FIND, (project, rid))
    return _subscription(rows[0]) if rows else None


def lock(project: int, rid: str) -> Subscription | None:
    """Return a Subscription that nobody else changes until the transaction ends."""
    rows = fetch(_FIND + " FOR UPDATE", (project, rid))
    return _subscription(rows[0]) if rows else None


def of_status(status: str) -> list[Subscription]:
    """Return the Subscriptions of a status in the active scope."""
    return [_subscription(row) for row in fetch(_OF_STATUS, (status,))]


def all_of() -> list[Subscription]:
    """Return every Subscription of the active scope."""
    return [_subscription(row) for row in fetch(_ALL)]


def put(
    project: int,
    rid: str,
    status: str,
    definition: Definition,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Keep what a Subscription asks for now, and for whom; its numbers go on."""
    asked = (definition.as_text(), now, actor.kind, actor.id)
    fetch(_PUT, (project, rid, status, *asked))


def set_status(project: int, rid: str, status: str, *, error: str = "") -> None:
    """Keep another status."""
    fetch(_SET_STATUS, (status, error, project, rid))


def touch(project: int, rid: str, *, now: datetime) -> None:
    """Remember that something was sent, for the next heartbeat."""
    fetch(_TOUCH, (now, project, rid))


def remove(project: int, rid: str) -> None:
    """Forget a Subscription and its notifications."""
    fetch(_DELETE, (project, rid))
    fetch(_FORGET, (project, rid))


def note(subscription: Subscription, changes: Sequence[Change], *, now: datetime) -> range:
    """Number the changes that met the criteria; return their numbers, which have no gaps."""
    name = (subscription.project, subscription.id)
    last = int(fetch(_COUNT, (len(changes), now, *name))[0][0])
    numbers = range(last - len(changes) + 1, last + 1)
    columns = (
        list(numbers),
        [change.updated_at for change in changes],
        [type_number(change.resource_type) for change in changes],
        [METHODS.index(change.method) for change in changes],
        [change.version for change in changes],
        [change.id for change in changes],
    )
    fetch(_NOTE, (*name, *columns))
    return numbers


def notifications(
    subscription: Subscription, first: int, last: int, *, limit: int = 1000
) -> list[Notification]:
    """Return the notifications with numbers from first to last, in order."""
    name = (subscription.project, subscription.id)
    return [_notification(row) for row in fetch(_BETWEEN, (*name, first, last, limit))]


def purge(before: datetime) -> None:
    """Forget notifications that happened before a time; their numbers are not given again."""
    fetch(_PURGE, (before,))


def _subscription(row: Row) -> Subscription:
    project, rid, status, definition, started, notified, events, error, kind, actor = row
    return Subscription(
        project,
        rid.decode(),
        status.decode(),
        Definition.from_text(definition),
        started,
        notified,
        events,
        error.decode(),
        kind.decode(),
        actor.decode(),
    )


def _notification(row: Row) -> Notification:
    number, happened, rtype, method, version, rid, content = row
    return Notification(
        number, happened, type_name(rtype), METHODS[method], version, rid.decode(), content
    )
