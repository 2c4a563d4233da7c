"""Words between processes: said after a commit, heard by those of an event loop who wait for them.

A word is an id. One that is lost costs latency: who waits also looks by itself.
"""

import asyncio
import logging
from typing import Final
from weakref import WeakKeyDictionary

import redis.asyncio
from django.conf import settings

from healthcloud.events.doorbell import WORDS

logger = logging.getLogger(__name__)

_REST_SECONDS: Final = 30.0  # after the last who waited, the subscription stays for so long
_KEPT: Final = 1000  # words that were said last, for who begins to wait just after


class Hearing:
    """The words that somebody in one event loop waits for, and the one subscription to them."""

    def __init__(self) -> None:
        self._expected: dict[str, list[asyncio.Event]] = {}
        self._said: dict[str, None] = {}
        self._listening: asyncio.Task[None] | None = None

    def expect(self, word: str) -> asyncio.Event:
        """Return an event that is set when the word is said, or may have been."""
        event = asyncio.Event()
        if word in self._said:
            event.set()
        self._expected.setdefault(word, []).append(event)
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen(), name="words")
        return event

    def forget(self, word: str, event: asyncio.Event) -> None:
        """Wait for a word no more."""
        events = self._expected.get(word, [])
        if event in events:
            events.remove(event)
        if not events:
            self._expected.pop(word, None)

    async def _listen(self) -> None:
        while True:
            try:
                await self._hear()
            except (redis.RedisError, OSError) as error:
                logger.warning("hearing words failed: %s", type(error).__name__)
            if not self._expected:
                return
            await asyncio.sleep(1.0)

    async def _hear(self) -> None:
        """Hear words until nobody waits for any."""
        async with (
            redis.asyncio.Redis.from_url(settings.VALKEY_URL) as client,
            client.pubsub(ignore_subscribe_messages=True) as words,
        ):
            await words.subscribe(WORDS)
            for events in self._expected.values():  # what was said before we listened
                for event in events:
                    event.set()
            while True:
                message = await words.get_message(timeout=_REST_SECONDS)
                if message is not None:
                    self._hear_word(message["data"].decode())
                elif not self._expected:
                    return

    def _hear_word(self, word: str) -> None:
        for event in self._expected.get(word, ()):
            event.set()
        self._said[word] = None
        if len(self._said) > _KEPT:
            del self._said[next(iter(self._said))]


_hearings: "WeakKeyDictionary[asyncio.AbstractEventLoop, Hearing]" = WeakKeyDictionary()


def hearing() -> Hearing:
    """Return the hearing of the running event loop."""
    return _hearings.setdefault(asyncio.get_running_loop(), Hearing())
