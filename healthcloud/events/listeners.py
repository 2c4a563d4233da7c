"""Handing every event once, in order, to what listens inside the platform: webhooks, triggers.

A listener is a row with a cursor. Its handler runs in the transaction that advances the cursor,
so what it writes happens exactly once for each event, whatever is killed in between.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from healthcloud.events import queries
from healthcloud.events.models import Event, Listener
from healthcloud.events.numbering import number_committed, whole_tenant
from healthcloud.events.selection import Selection
from healthcloud.tenancy.scope import Scope, tenant_scope

Handler: TypeAlias = Callable[[str, Sequence[Event]], None]
BATCH: Final = 500
EVERYTHING: Final = Selection(types=("*", "fhir.*"))

_handlers: dict[str, Handler] = {}
_held: dict[str, Callable[[], set[str]]] = {}


class ListenerHeld(Exception):
    """Raised by a handler that can't take events now; they are kept for it."""


def register(kind: str) -> Callable[[Handler], Handler]:
    """Register `fn(ref, events)` for listeners named `kind:ref`; in the app's `tasks.py`."""

    def add(handler: Handler) -> Handler:
        _handlers[kind] = handler
        return handler

    return add


def register_held(kind: str) -> Callable[[Callable[[], set[str]]], Callable[[], set[str]]]:
    """Register `fn()`, which returns the refs of a kind that can't take events now.

    Asked once a dispatch, so that many held listeners, each far behind, cost nothing.
    """

    def add(held: Callable[[], set[str]]) -> Callable[[], set[str]]:
        _held[kind] = held
        return held

    return add


def attach(kind: str, ref: str) -> None:
    """Begin to listen, from the next event on; inside `tenant_scope`, safe to repeat."""
    Listener.objects.get_or_create(name=f"{kind}:{ref}", defaults={"cursor": number_committed()})


def detach(kind: str, ref: str) -> None:
    """Stop listening; inside `tenant_scope`, safe to repeat."""
    Listener.objects.filter(name=f"{kind}:{ref}").delete()


def dispatch(scope: Scope) -> None:
    """Hand all committed events of a tenant to its listeners, one batch a transaction."""
    everything = whole_tenant(scope)
    with tenant_scope(everything):
        last = number_committed()
    with tenant_scope(everything):
        held = {f"{kind}:{ref}" for kind, refs in _held.items() for ref in refs()}
        behind = Listener.objects.filter(cursor__lt=last).values_list("name", flat=True)
        names = [name for name in behind if name not in held]
    for name in names:
        while _hand_over(everything, name, last):
            pass


def _hand_over(scope: Scope, name: str, last: int) -> bool:
    """Hand one batch over; return whether there is more."""
    kind, _, ref = name.partition(":")
    with tenant_scope(scope):
        listener = Listener.objects.select_for_update().filter(name=name).first()
        if listener is None or listener.cursor >= last:
            return False
        events = queries.between(EVERYTHING, listener.cursor, last, limit=BATCH)
        more = len(events) == BATCH
        try:
            _handlers[kind](ref, events)
        except ListenerHeld:
            return False
        listener.cursor = (events[-1].sequence or last) if more else last
        listener.save(update_fields=["cursor"])
        return more
