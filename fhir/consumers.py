"""Handing every change once, in order, to what waits for it: subscriptions, triggers, events.

A consumer is a row with a cursor in the change feed (`fhir.feed`). Its handler runs in the
transaction that advances the cursor, so what it writes happens exactly once for each change,
whatever is killed in between. Where no consumer exists, a write costs nothing more.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, TypeAlias

from django.apps import apps
from django.utils import timezone

from fhir.feed import Change, changes, number_changes, purge_changes, skip_changes
from fhir.sql import Statement, fetch
from healthcloud.events.numbering import whole_tenant
from healthcloud.ledger.services import asking, enqueue
from healthcloud.tenancy.scope import Scope, active_scope, tenant_scope

Handler: TypeAlias = Callable[[str, Sequence[Change]], None]
DISPATCH_KIND: Final = "fhir.dispatch"
BATCH: Final = 500
SWEEP: Final = "sweep"
SWEEP_EVERY: Final = timedelta(minutes=10)
SETTLING: Final = timedelta(seconds=10)

_EXISTS: Final = "SELECT EXISTS (SELECT 1 FROM fhir_consumer)"
_ATTACH: Final = (
    "INSERT INTO fhir_consumer (name, number) VALUES (%s::text, %s::bigint)"
    " ON CONFLICT (name) DO NOTHING RETURNING true"
)
_DETACH: Final = "DELETE FROM fhir_consumer WHERE name = %s::text"
_BEHIND: Final = "SELECT name FROM fhir_consumer WHERE number < %s::bigint ORDER BY name"
_LOCK: Final = "SELECT number FROM fhir_consumer WHERE name = %s::text FOR UPDATE"
_ADVANCE: Final = "UPDATE fhir_consumer SET number = %s::bigint WHERE name = %s::text"
_SLOWEST: Final = "SELECT min(number) FROM fhir_consumer"

_handlers: dict[str, Handler] = {}


class ConsumerHeld(Exception):
    """Raised by a handler that can't take changes now; they are kept for it."""


def register(kind: str) -> Callable[[Handler], Handler]:
    """Register `fn(ref, changes)` for consumers named `kind:ref`; in the app's `tasks.py`.

    It runs in a scope over all projects of the tenant, inside the transaction that advances its
    cursor; `project_scopes` narrows it. `fhir.feed.contents` has the versions' text.
    """

    def add(handler: Handler) -> Handler:
        _handlers[kind] = handler
        return handler

    return add


def attach(kind: str, ref: str = "") -> None:
    """Begin to wait for changes, from the next one on; inside `tenant_scope`, safe to repeat."""
    with tenant_scope(whole_tenant(active_scope())) as scope:
        is_first = not fetch(_EXISTS)[0][0]
        last = skip_changes() if is_first else number_changes()
        if fetch(_ATTACH, (f"{kind}:{ref}", last)):
            # For writers that began before they could see that somebody waits.
            enqueue(
                scope=scope,
                kind=DISPATCH_KIND,
                ref=SWEEP,
                due_at=timezone.now() + SETTLING,
                dedupe_key=SWEEP,
            )


def detach(kind: str, ref: str = "") -> None:
    """Stop waiting; inside `tenant_scope`, safe to repeat."""
    fetch(_DETACH, (f"{kind}:{ref}",))


def is_attached(kind: str, ref: str = "") -> bool:
    """Tell whether a consumer waits; inside `tenant_scope`."""
    return bool(fetch("SELECT 1 FROM fhir_consumer WHERE name = %s::text", (f"{kind}:{ref}",)))


def asking_for_dispatch() -> Statement:
    """Return the row source that asks for the running transaction's changes to be handed over."""
    scope = whole_tenant(active_scope())
    return asking(scope=scope, kind=DISPATCH_KIND, ref="pg_current_xact_id()::text")


def dispatch(scope: Scope) -> bool:
    """Hand all committed changes of a tenant to its consumers, one batch a transaction.

    Return whether anybody waits for more.
    """
    everything = whole_tenant(scope)
    with tenant_scope(everything):
        if not fetch(_EXISTS)[0][0]:
            return False
        last = number_changes()
    with tenant_scope(everything):
        names = [row[0].decode() for row in fetch(_BEHIND, (last,))]
    for name in names:
        while _hand_over(everything, name, last):
            pass
    return True


def _hand_over(scope: Scope, name: str, last: int) -> bool:
    """Hand one batch over; return whether there is more."""
    kind, _, ref = name.partition(":")
    with tenant_scope(scope):
        found = fetch(_LOCK, (name,))
        if not found or found[0][0] >= last:
            return False
        batch = [c for c in changes(after=found[0][0], limit=BATCH) if c.number <= last]
        more = len(batch) == BATCH
        try:
            _handlers[kind](ref, batch)
        except ConsumerHeld:
            return False
        fetch(_ADVANCE, (batch[-1].number if more else last, name))
        return more


def purge(scope: Scope) -> None:
    """Forget the numbers that every consumer is past."""
    with tenant_scope(whole_tenant(scope)):
        slowest = fetch(_SLOWEST)[0][0]
        if slowest is not None:
            purge_changes(through=slowest)


def project_scopes(scope: Scope, numbers: Iterable[int]) -> dict[int, Scope]:
    """Return the scope of each project of the tenant, by the number that changes carry."""
    projects: Any = apps.get_model("organizations", "Project").objects
    rows = projects.filter(number__in=set(numbers), organization_id=scope.organization_id)
    return {
        number: replace(scope, project_id=id_, project_number=number)
        for number, id_ in rows.values_list("number", "id")
    }
