"""The life of a Subscription: requested, active after its handshake, in error, off.

A client writes the resource; what the server decides about it becomes its next version, by the
actor `system`. Each function is part of the caller's transaction.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import orjson

from fhir import consumers
from fhir.definitions import type_number
from fhir.documents import JsonObject, ParsedResource, parse, replace_member
from fhir.rows import CurrentRow, NewVersion
from fhir.subscriptions import registry
from fhir.subscriptions.definition import Definition, InvalidSubscription, read_definition
from fhir.subscriptions.registry import Subscription
from healthcloud.actors import SYSTEM, Actor
from healthcloud.errors import HealthCloudError
from healthcloud.events import deliveries, webhooks
from healthcloud.events.services import publish
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import active_scope

TYPE: Final = "Subscription"
PURPOSE: Final = "subscription"
CONSUMER: Final = "subscription"
ACTIVATE_KIND: Final = "fhir.subscription.activate"
WATCH_KIND: Final = "fhir.subscription.watch"
HANDSHAKE: Final = "handshake"
HEARTBEAT: Final = "heartbeat"
MAX_SUBSCRIPTIONS: Final = 500


def check(resource: JsonObject, current: CurrentRow | None) -> None:
    """Refuse a Subscription that can't run, or that claims a status only the server gives.

    Raises InvalidSubscription.
    """
    definition = read_definition(resource)
    if definition.kind == "rest-hook":
        _check_endpoint(definition)
    before = orjson.loads(current.content) if current and current.content else None
    status = resource["status"]
    if status in {"requested", "off"}:
        return
    if before is None or before["status"] != status or read_definition(before) != definition:
        raise InvalidSubscription(
            "Subscription.status",
            f"Only the server sets `{status}`: send `requested`, or `off` to stop.",
            "business-rule",
        )


def _check_endpoint(definition: Definition) -> None:
    try:
        webhooks.check_url(definition.endpoint, active_scope())
    except HealthCloudError as error:
        raise InvalidSubscription("Subscription.channel.endpoint", error.message) from error


def written(versions: Sequence[NewVersion], *, project: int, actor: Actor, now: datetime) -> None:
    """Let Subscriptions that were just written begin, change or end."""
    for version in versions:
        if version.type_number == type_number(TYPE):
            _written(version, project, actor, now)


def _written(version: NewVersion, project: int, actor: Actor, now: datetime) -> None:
    known = registry.lock(project, version.rid)
    if version.content is None:
        _end(project, version.rid, now=now)
        return
    resource = orjson.loads(version.content)
    status, definition = str(resource["status"]), read_definition(resource)
    if known is not None and (known.status, known.definition) == (status, definition):
        return  # the server's own doing, or a change of what does not matter here
    if known is None and len(registry.all_of()) >= MAX_SUBSCRIPTIONS:
        raise InvalidSubscription(
            TYPE, f"A project has at most {MAX_SUBSCRIPTIONS} Subscriptions.", "too-costly"
        )
    registry.put(project, version.rid, status, definition, actor=actor, now=now)
    subject = f"{TYPE}/{version.rid}"
    if status == "off":
        webhooks.close_channel(purpose=PURPOSE, subject=subject, delete=False, now=now)
        _settle_consumer()
        return
    _begin(version.rid, definition, actor=actor, now=now)


def _begin(rid: str, definition: Definition, *, actor: Actor, now: datetime) -> None:
    """Shake hands where the backport says so; else be active as soon as this has committed."""
    subject = f"{TYPE}/{rid}"
    if definition.kind == "rest-hook":
        webhook = webhooks.open_channel(
            purpose=PURPOSE, subject=subject, url=definition.endpoint, actor=actor, now=now
        )
        if definition.is_backport:
            deliveries.create_content(webhook, [HANDSHAKE], now=now)
            return
    enqueue(scope=active_scope(), kind=ACTIVATE_KIND, ref=rid, dedupe_key=subject)


def _end(project: int, rid: str, *, now: datetime) -> None:
    registry.remove(project, rid)
    webhooks.close_channel(purpose=PURPOSE, subject=f"{TYPE}/{rid}", delete=True, now=now)
    _settle_consumer()


def activate(project: int, rid: str, *, now: datetime) -> None:
    """Make a requested Subscription active: from the next change on it is notified."""
    subscription = registry.lock(project, rid)
    if subscription is None or subscription.status != "requested":
        return
    consumers.attach(CONSUMER)
    _decide(subscription, "active", now=now)
    registry.touch(project, rid, now=now)
    watch(replace(subscription, notified_at=now), now=now)


def fail(project: int, rid: str, *, reason: str, now: datetime, error: str = "") -> None:
    """Put a Subscription in error: nothing is noted for it until it is requested again.

    `reason` is a code, `error` what people are told instead.
    """
    subscription = registry.lock(project, rid)
    if subscription is None or subscription.status not in {"requested", "active"}:
        return
    _decide(subscription, "error", error=error or reason, now=now)
    _settle_consumer()
    payload = {"subscription_id": rid, "reason": reason}
    publish(type="subscription.failed", payload=payload, actor=SYSTEM, now=now)


def expire(subscription: Subscription, *, now: datetime) -> None:
    """Turn a Subscription off whose `end` has come."""
    _decide(subscription, "off", now=now)
    subject = subscription.reference
    webhooks.close_channel(purpose=PURPOSE, subject=subject, delete=False, now=now)
    _settle_consumer()


def watch(subscription: Subscription, *, now: datetime) -> datetime | None:
    """Ask for a look when the next heartbeat or the end is due; return when."""
    due_at = next_look(subscription, now=now)
    if due_at is not None:
        enqueue(
            scope=active_scope(),
            kind=WATCH_KIND,
            ref=subscription.id,
            due_at=due_at,
            dedupe_key=subscription.reference,
        )
    return due_at


def next_look(subscription: Subscription, *, now: datetime) -> datetime | None:
    """Return when the next heartbeat or the end is due."""
    moments = [subscription.definition.ends_at]
    if subscription.definition.is_backport and subscription.definition.heartbeat:
        period = timedelta(seconds=subscription.definition.heartbeat)
        moments.append((subscription.notified_at or now) + period)
    return min((moment for moment in moments if moment is not None), default=None)


def _settle_consumer() -> None:
    """Wait for changes no longer, once no Subscription of the tenant is active."""
    from fhir.subscriptions.taking import anyone_active  # it imports this module

    if not anyone_active():
        consumers.detach(CONSUMER)


def _decide(subscription: Subscription, status: str, *, now: datetime, error: str = "") -> None:
    """Write the status as the next version of the resource, all else of it untouched."""
    from fhir.interactions.update import lock_one
    from fhir.writing import Write  # it calls `written` here

    registry.set_status(subscription.project, subscription.id, status, error=error)
    write = Write.begin(actor=SYSTEM, now=now)
    current = lock_one(write.project, TYPE, subscription.id)
    if current is None or current.content is None:
        return
    text = replace_member(current.content, "status", status)
    text = replace_member(text, "error", error) if error else text
    parsed: ParsedResource = parse(text)
    version = write.version_of(parsed, rid=subscription.id, method="PUT", current=current)
    write.write_all([version])
