"""Operations of the Subscriptions R5 Backport: $status, $events, $get-ws-binding-token.

https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/operations.html
"""

from typing import Final

from fhir.documents import JsonObject, instant
from fhir.errors import ResourceNotFound
from fhir.operations.operation import Call, Operation
from fhir.operations.parameters import InvalidParameter, parameters, part
from fhir.subscriptions import binding, registry
from fhir.subscriptions.notifications import notification_bundle, status_searchset
from fhir.subscriptions.registry import Subscription
from healthcloud.tenancy.scope import active_project, active_scope

_GUIDE: Final = "http://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition/backport-"
_TYPES: Final = frozenset({"Subscription"})
_PAGE: Final = 1000
_CONTENTS: Final = frozenset({"", "empty", "id-only", "full-resource"})


def answer_status(call: Call) -> JsonObject:
    """Return how Subscriptions fare: one, those of `id` and `status`, or all of the project."""
    if call.level == "instance":
        return status_searchset([_found(call.id)], now=call.now)
    ids = {text.rpartition("/")[2] for text in call.parameters.texts("id", commas=True)}
    statuses = set(call.parameters.texts("status", commas=True))
    found = [
        subscription
        for subscription in registry.all_of()
        if (not ids or subscription.id in ids) and (not statuses or subscription.status in statuses)
    ]
    return status_searchset(found, now=call.now)


def answer_events(call: Call) -> bytes:
    """Return notifications again, from one number to another: what a client missed.

    At most 1,000 at once; the status says how many there are.
    """
    subscription = _found(call.id)
    first = _number(call, "eventsSinceNumber", 1)
    last = _number(call, "eventsUntilNumber", subscription.events)
    content = call.parameters.text("content") or ""
    if content not in _CONTENTS:
        raise InvalidParameter("`content` is empty, id-only or full-resource.", param="content")
    events = registry.notifications(subscription, first, last, limit=_PAGE)
    shown = content or subscription.definition.content or "id-only"
    if shown == "full-resource":
        call.require(*sorted({f"{event.resource_type}:read" for event in events}))
    return notification_bundle(subscription, "query-event", events, now=call.now, content=shown)


def answer_token(call: Call) -> JsonObject:
    """Return a token with which a websocket is bound to Subscriptions, and where to send it."""
    names = [call.id] if call.level == "instance" else call.parameters.texts("id", commas=True)
    found = [_found(text.rpartition("/")[2]) for text in names]
    if not found:
        raise InvalidParameter("Name the Subscriptions with `id`.", param="id")
    for subscription in found:
        if subscription.definition.kind != "websocket":
            raise InvalidParameter(f"{subscription.reference} has no websocket.", param="id")
    ids = [subscription.id for subscription in found]
    token = binding.issue(call.principal, active_scope(), ids, now=call.now)
    return parameters(
        part("token", valueString=token.text),
        part("expiration", valueDateTime=instant(token.expires_at)),
        *(part("subscription", valueString=id_) for id_ in ids),
        part("websocket-url", valueUrl=binding.address(call.base)),
    )


def _found(rid: str) -> Subscription:
    _, project = active_project()
    found = registry.find(project, rid)
    if found is None:
        raise ResourceNotFound("Subscription", rid)
    return found


def _number(call: Call, name: str, default: int) -> int:
    text = call.parameters.one(name)
    if text is None:
        return default
    value = str(text.value)
    if not (value.isascii() and value.isdecimal() and len(value) < 19):
        raise InvalidParameter(f"`{name}` is the number of an event.", param=name)
    return int(value)


OPERATIONS: Final = (
    Operation(
        name="status",
        run=answer_status,
        levels=frozenset({"type", "instance"}),
        summary="How Subscriptions fare.",
        types=_TYPES,
        needs_whole=True,
        inputs=frozenset({"id", "status"}),
        definition=_GUIDE + "subscription-status",
    ),
    Operation(
        name="events",
        run=answer_events,
        levels=frozenset({"instance"}),
        summary="Notifications once more.",
        types=_TYPES,
        needs_whole=True,
        inputs=frozenset({"eventsSinceNumber", "eventsUntilNumber", "content"}),
        definition=_GUIDE + "subscription-events",
    ),
    Operation(
        name="get-ws-binding-token",
        run=answer_token,
        levels=frozenset({"type", "instance"}),
        summary="A token that binds a websocket to Subscriptions.",
        types=_TYPES,
        needs_whole=True,
        inputs=frozenset({"id"}),
        definition=_GUIDE + "subscription-get-ws-binding-token",
    ),
)
