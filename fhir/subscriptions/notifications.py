"""Bundles of the backport: handshakes, heartbeats, notifications, answers to queries.

https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/StructureDefinition-backport-subscription-notification-r4.html
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import orjson

from fhir.documents import JsonObject, instant, new_id
from fhir.indexing import own_base
from fhir.subscriptions.registry import Notification, Subscription

Kind = Literal["handshake", "heartbeat", "event-notification", "query-status", "query-event"]
_PROFILE: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-"


def status_parameters(
    subscription: Subscription,
    kind: Kind,
    events: Sequence[Notification] = (),
    *,
    content: str = "",
) -> JsonObject:
    """Return the Parameters that R4 has in place of a SubscriptionStatus."""
    shown = content or subscription.definition.content
    parameters: list[JsonObject] = [
        {"name": "subscription", "valueReference": {"reference": subscription.reference}},
        {"name": "status", "valueCode": subscription.status},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(subscription.events)},
    ]
    if subscription.definition.is_backport and "://" in subscription.definition.topic:
        topic = subscription.definition.topic
        parameters.insert(1, {"name": "topic", "valueCanonical": topic})
    parameters += [
        {"name": "notification-event", "part": _event_parts(event, shown)} for event in events
    ]
    if subscription.error:
        error = {"text": subscription.error}
        parameters.append({"name": "error", "valueCodeableConcept": error})
    return {
        "resourceType": "Parameters",
        "id": new_id(),
        "meta": {"profile": [_PROFILE + "subscription-status-r4"]},
        "parameter": parameters,
    }


def _event_parts(event: Notification, content: str) -> list[JsonObject]:
    parts: list[JsonObject] = [
        {"name": "event-number", "valueString": str(event.number)},
        {"name": "timestamp", "valueInstant": instant(event.happened_at)},
    ]
    if content != "empty":
        parts.append({"name": "focus", "valueReference": {"reference": event.reference}})
    return parts


def notification_bundle(
    subscription: Subscription,
    kind: Kind,
    events: Sequence[Notification] = (),
    *,
    now: datetime,
    content: str = "",
) -> bytes:
    """Return the Bundle of type history whose first entry says what it is about."""
    shown = content or subscription.definition.content
    status = status_parameters(subscription, kind, events, content=shown)
    head = {
        "resourceType": "Bundle",
        "id": new_id(),
        "meta": {"profile": [_PROFILE + "subscription-notification-r4"]},
        "type": "history",
        "timestamp": instant(now),
    }
    first = {
        "fullUrl": f"urn:uuid:{status['id']}",
        "resource": status,
        "request": {"method": "GET", "url": f"{subscription.reference}/$status"},
        "response": {"status": "200"},
    }
    entries = [orjson.dumps(first)]
    if shown != "empty":
        entries += [_entry(event, full=shown == "full-resource") for event in events]
    return orjson.dumps(head)[:-1] + b',"entry":[' + b",".join(entries) + b"]}"


def _entry(event: Notification, *, full: bool) -> bytes:
    target = event.resource_type if event.method == "POST" else event.reference
    status = {"POST": "201", "DELETE": "204"}.get(event.method, "200")
    tail: JsonObject = {
        "request": {"method": event.method, "url": target},
        "response": {
            "status": status,
            "etag": f'W/"{event.version}"',
            "lastModified": instant(event.happened_at),
        },
    }
    head = orjson.dumps({"fullUrl": own_base() + event.reference})[:-1]
    resource = b',"resource":' + event.content if full and event.content else b""
    return head + resource + b"," + orjson.dumps(tail)[1:]


def status_searchset(subscriptions: Sequence[Subscription], *, now: datetime) -> JsonObject:
    """Return what `$status` answers: a Bundle with the status of each Subscription."""
    return {
        "resourceType": "Bundle",
        "id": new_id(),
        "meta": {"lastUpdated": instant(now)},
        "type": "searchset",
        "total": len(subscriptions),
        "entry": [
            {
                "fullUrl": f"{own_base()}{subscription.reference}/$status",
                "resource": status_parameters(subscription, "query-status"),
                "search": {"mode": "match"},
            }
            for subscription in subscriptions
        ],
    }
