"""Following events: first what is already there, then what happens, without a gap or a double."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Final

from healthcloud.api.principal import Principal
from healthcloud.events import queries
from healthcloud.events.credentials import Credential
from healthcloud.events.database import in_database
from healthcloud.events.feed import Feed, Hub
from healthcloud.events.models import Event
from healthcloud.events.queries import Kept
from healthcloud.events.selection import Selection
from healthcloud.tenancy.scope import Scope, tenant_scope

PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Admission:
    """What a stream was admitted to: whose events, which of them, and from where."""

    principal: Principal
    scope: Scope
    selection: Selection
    after: int | None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def credential(self) -> Credential:
        """What the stream rests on."""
        return Credential.of(self.principal)


@dataclass(frozen=True, slots=True)
class Reset:
    """The place asked for is not kept any more (or not yet there); the stream begins at `after`."""

    after: int
    last: int


async def place(admission: Admission, feed: Feed) -> tuple[int, Reset | None]:
    """Return the number to follow from, and a reset when the one asked for can't be served."""
    if admission.after is None:
        return feed.last, None
    kept = await in_database(_kept, feed.scope)
    if kept.covers(admission.after):
        return admission.after, None
    return kept.after, Reset(after=kept.after, last=kept.last)


async def follow(
    hub: Hub, feed: Feed, admission: Admission, *, after: int, heartbeat: float
) -> AsyncGenerator[list[Event], None]:
    """Yield events after a number as they come; an empty list for each heartbeat without any.

    Ends when the caller lost the right to it, the sandbox was reset, or the server stops.
    """
    number, era, clock = after, feed.era, asyncio.get_running_loop().time
    due = clock() + heartbeat

    def ended() -> bool:
        return hub.ended(admission.credential) or feed.era != era

    while not ended():
        page, number = await _next(feed, admission, number, seconds=max(0.0, due - clock()))
        if ended():
            return
        if page or clock() >= due:
            yield page
            due = clock() + heartbeat


async def _next(
    feed: Feed, admission: Admission, number: int, *, seconds: float
) -> tuple[list[Event], int]:
    """Return the next wanted events, and the number up to which everything was looked at."""
    if number < feed.floor:
        until = feed.last
        page = await in_database(_page, admission.scope, admission.selection, number, until)
        return page, (page[-1].sequence or until) if len(page) == PAGE else until
    await feed.wait(number, seconds=seconds)
    if number < feed.floor:
        return [], number  # so much came at once that memory has lost some of it
    page = [event for event in feed.since(number) if admission.selection.accepts(event)]
    return page, max(number, feed.last)


def _kept(scope: Scope) -> Kept:
    with tenant_scope(scope):
        return queries.kept()


def _page(scope: Scope, selection: Selection, after: int, until: int) -> list[Event]:
    with tenant_scope(scope):
        return queries.between(selection, after, until, limit=PAGE)
