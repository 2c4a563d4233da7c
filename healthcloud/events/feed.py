"""The live feed of each tenant: read once a process, shared by all of its open streams.

One Valkey subscription a process hears the hints of all tenants. A tenant with open streams has
one pump that numbers and reads what is new after a hint, or after a pause without one, since
hints may be lost and PostgreSQL is the truth. Streams only wait on the feed: an idle stream holds
no thread and no connection of its own.
"""

import asyncio
import contextlib
import logging
import signal
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from itertools import takewhile
from typing import Final
from weakref import WeakKeyDictionary

import redis.asyncio
from django.conf import settings
from django.utils import timezone

from healthcloud.errors import RateLimited
from healthcloud.events import queries
from healthcloud.events.credentials import Credential, still_valid
from healthcloud.events.database import in_database
from healthcloud.events.doorbell import CHANNEL_PREFIX
from healthcloud.events.models import Event
from healthcloud.events.news import read_news
from healthcloud.events.numbering import number_committed, whole_tenant
from healthcloud.tenancy.scope import Scope, tenant_scope

logger = logging.getLogger(__name__)

MEMORY: Final = 2000  # events kept for streams that are a little behind
BATCH: Final = 500
LOOK_SECONDS: Final = 2.0  # without a hint
CLOSING_SECONDS: Final = 0.25  # between looks at whether the server stops
CHECK_SECONDS: Final = 2.0  # between looks at the credentials of open streams


class Feed:
    """What is new in one tenant, for the streams of this process."""

    def __init__(self, scope: Scope) -> None:
        self.scope = whole_tenant(scope)
        self.streams = 0
        self.last = 0
        self.floor = 0
        self.era = 0
        self._last_id = ""
        self._recent: deque[Event] = deque()
        self._hint = asyncio.Event()
        self._news = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Number what is committed, and begin to follow from there; safe to repeat."""
        async with self._starting:
            if self._pump is None:
                self.last, self._last_id = await in_database(_newest, self.scope)
                self.floor = self.last
                self._pump = asyncio.create_task(self._follow(), name="events-pump")
                return
        await self.look()

    async def stop(self) -> None:
        """Stop following."""
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump

    def hint(self) -> None:
        """Say that there may be something new."""
        self._hint.set()

    def since(self, number: int) -> list[Event]:
        """Return what came after `number`, which must not be below `floor`."""
        newest_first = takewhile(lambda event: (event.sequence or 0) > number, self.recent())
        return list(newest_first)[::-1]

    def recent(self) -> Iterator[Event]:
        """Yield what is in memory, the newest first."""
        return reversed(self._recent)

    async def wait(self, number: int, *, seconds: float) -> bool:
        """Wait until there is something after `number`; False when the time is up."""
        if self.last > number:
            return True
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return self.last > number
        return True

    async def look(self) -> None:
        """Read what is new now, and wake the streams."""
        era = self.era
        events = await in_database(read_news, self.scope, self.last, self._last_id, limit=BATCH)
        if events is None:
            self._begin_anew(era)
            return
        for event in events:
            if era == self.era and (event.sequence or 0) > self.last:
                self._recent.append(event)
                self.last, self._last_id = event.sequence or self.last, event.event_id
        while len(self._recent) > MEMORY:
            self.floor = self._recent.popleft().sequence or self.floor
        if events:
            self.wake()
        if len(events) == BATCH:
            self._hint.set()

    def _begin_anew(self, era: int) -> None:
        """Forget everything: the sandbox was reset and its numbers began again."""
        if era == self.era:
            self.era += 1
            self._recent.clear()
            self.last = self.floor = 0
            self._last_id = ""
            self.wake()

    def wake(self) -> None:
        """Wake every waiting stream."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hint.wait(), LOOK_SECONDS)
            self._hint.clear()
            try:
                await self.look()
            except Exception:
                logger.exception("reading new events failed; trying again")
                await asyncio.sleep(LOOK_SECONDS)


def _newest(scope: Scope) -> tuple[int, str]:
    with tenant_scope(scope):
        last = number_committed()
        return last, queries.id_of(last)


class TooManyStreams(RateLimited):
    """The caller holds as many streams open as one key may."""

    def __init__(self) -> None:
        super().__init__(
            f"This key has {settings.STREAMS_PER_KEY} streams open, which is as many as it may."
            " Close one, or follow several types with one stream.",
            retry_after=10.0,
        )


class Hub:
    """The feeds of one event loop, its subscription, and its watch over credentials."""

    def __init__(self) -> None:
        self._feeds: dict[str, Feed] = {}
        self._credentials: dict[Credential, int] = {}
        self._revoked: set[Credential] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.closing = False

    @contextlib.asynccontextmanager
    async def join(self, scope: Scope, credential: Credential) -> AsyncIterator[Feed]:
        """Follow a tenant for as long as the block lasts; raises TooManyStreams."""
        if self._credentials.get(credential, 0) >= settings.STREAMS_PER_KEY:
            raise TooManyStreams
        feed = self._feeds.setdefault(scope.schema, Feed(scope))
        feed.streams += 1
        self._credentials[credential] = self._credentials.get(credential, 0) + 1
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._subscribe(), name="events-hints"),
                asyncio.create_task(self._watch(), name="events-credentials"),
            ]
        try:
            await feed.start()
            yield feed
        finally:
            await self._leave(feed, credential)

    def ended(self, credential: Credential) -> bool:
        """Say whether a stream has to end: its caller lost the right, or the server stops."""
        return self.closing or self.revoked(credential)

    def revoked(self, credential: Credential) -> bool:
        """Say whether the caller behind a stream lost the right to it."""
        return credential in self._revoked

    async def _leave(self, feed: Feed, credential: Credential) -> None:
        self._credentials[credential] -= 1
        if not self._credentials[credential]:
            del self._credentials[credential]
            self._revoked.discard(credential)
        feed.streams -= 1
        if not feed.streams:
            del self._feeds[feed.scope.schema]
            await feed.stop()
        if not self._feeds:
            tasks, self._tasks = self._tasks, []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _subscribe(self) -> None:
        """Hear the hints; when Valkey is away the feeds look on their own."""
        while True:
            try:
                await self._hear()
            except (redis.RedisError, OSError) as error:
                logger.warning("no event hints: %s", type(error).__name__)
            await asyncio.sleep(1.0)

    async def _hear(self) -> None:
        async with (
            redis.asyncio.Redis.from_url(settings.VALKEY_URL) as client,
            client.pubsub(ignore_subscribe_messages=True) as hints,
        ):
            await hints.psubscribe(CHANNEL_PREFIX + "*")
            for feed in self._feeds.values():
                feed.hint()  # for what was said before we listened
            async for message in hints.listen():
                schema = message["channel"].decode().removeprefix(CHANNEL_PREFIX)
                if schema in self._feeds:
                    self._feeds[schema].hint()

    async def _watch(self) -> None:
        """Find streams that have to end, and wake them so that they do."""
        while True:
            await self._pause()
            open_now = set(self._credentials)
            try:
                valid = await in_database(still_valid, open_now, now=_now())
            except Exception:
                logger.exception("checking credentials of streams failed; trying again")
                continue
            found = open_now - valid
            if found - self._revoked:
                self._revoked |= found & set(self._credentials)
                self._wake_all()

    async def _pause(self) -> None:
        """Let time pass until the next check, and notice meanwhile that the server stops."""
        for _ in range(round(CHECK_SECONDS / CLOSING_SECONDS)):
            await asyncio.sleep(CLOSING_SECONDS)
            if server_stops() and not self.closing:
                self.closing = True
                self._wake_all()

    def _wake_all(self) -> None:
        for feed in self._feeds.values():
            feed.wake()


def server_stops() -> bool:
    """Say whether uvicorn was told to stop; it waits for open answers before it says so itself."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return bool(getattr(server, "should_exit", False))


def _now() -> datetime:
    return timezone.now()


_hubs: "WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = WeakKeyDictionary()


def hub() -> Hub:
    """Return the hub of the running event loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())
