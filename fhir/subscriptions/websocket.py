"""`/v1/fhir/ws`: notifications over a websocket.

The client sends `bind-with-token <token>` (the backport) or `bind <id> <token>`, and for R4's own
Subscriptions gets `bound <id>` and then `ping <id>` for each event; for the backport's a handshake
Bundle and then notification Bundles, with heartbeats as often as the Subscription asks.
https://hl7.org/fhir/R4/subscription.html#websockets
"""

import asyncio
import contextlib
import logging
from typing import Final

from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils import timezone

from fhir.subscriptions import binding, registry
from fhir.subscriptions.binding import Binding
from fhir.subscriptions.notifications import Kind, notification_bundle
from fhir.subscriptions.registry import Subscription
from healthcloud.errors import HealthCloudError
from healthcloud.events.database import in_database
from healthcloud.events.feed import hub
from healthcloud.tenancy.scope import tenant_scope

logger = logging.getLogger(__name__)

UNBOUND_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 5.0
REVOKED: Final = 4401
FAILED: Final = 1011
GOING_AWAY: Final = 1001
REFUSED: Final = 4400
MAX_MESSAGE: Final = 8 * 1024
PAGE: Final = 100


class SubscriptionConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels is untyped
    """One websocket; database work is done elsewhere, each call in its own tenant scope."""

    channel_layer_alias = None

    async def connect(self) -> None:
        """Accept anybody: nothing is sent before a token binds."""
        self._tasks: list[asyncio.Task[None]] = []
        await self.accept()
        self._waiting = asyncio.create_task(self._give_up())

    async def disconnect(self, code: int) -> None:
        """Stop following."""
        for task in [self._waiting, *self._tasks]:
            task.cancel()
        await asyncio.gather(self._waiting, *self._tasks, return_exceptions=True)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Bind to the Subscriptions of a token."""
        words = (text_data or "")[:MAX_MESSAGE].split()
        if len(words) not in {2, 3} or words[0] not in {"bind", "bind-with-token"}:
            await self.send(text_data="error send: bind-with-token <token>")
            return
        wanted = words[1] if len(words) == 3 else None
        try:
            bound = await in_database(_redeem, words[-1])
        except HealthCloudError as error:
            await self.send(text_data=f"error {error.message}")
            await self.close(code=REFUSED)
            return
        self._waiting.cancel()
        for rid in bound.ids:
            if wanted in {None, rid}:
                self._tasks.append(asyncio.create_task(self._follow(bound, rid)))

    async def _give_up(self) -> None:
        await asyncio.sleep(UNBOUND_SECONDS)
        with contextlib.suppress(OSError):
            await self.close(code=REFUSED)

    async def _follow(self, bound: Binding, rid: str) -> None:
        with contextlib.suppress(OSError):  # what servers raise once the client has gone
            try:
                await self._notify(bound, rid)
            except HealthCloudError as error:
                await self.send(text_data=f"error {error.message}")
            except OSError:
                await self.close(code=GOING_AWAY)
            except Exception:
                logger.exception("a websocket's notifications failed")
                await self.close(code=FAILED)

    async def _notify(self, bound: Binding, rid: str) -> None:
        async with hub().join(bound.scope, bound.credential) as feed:
            subscription = await in_database(_find, bound, rid)
            if subscription is None:
                return
            after, looked = subscription.events, feed.last
            await self._say_bound(subscription)
            clock = asyncio.get_running_loop().time
            beat_at = clock() + (subscription.definition.heartbeat or float("inf"))
            while not hub().ended(bound.credential):
                await feed.wait(looked, seconds=min(LOOK_SECONDS, max(0.0, beat_at - clock())))
                looked = feed.last
                sent = await self._send_new(bound, rid, after)
                if sent is None:
                    break
                if sent == after and clock() >= beat_at:
                    await self._send_bundle(bound, rid, "heartbeat")
                if sent > after or clock() >= beat_at:
                    beat_at = clock() + (subscription.definition.heartbeat or float("inf"))
                after = sent
        with contextlib.suppress(RuntimeError):
            await self.close(code=REVOKED)

    async def _say_bound(self, subscription: Subscription) -> None:
        if not subscription.definition.is_backport:
            await self.send(text_data=f"bound {subscription.id}")
            return
        text = notification_bundle(subscription, "handshake", now=timezone.now())
        await self.send(text_data=text.decode())

    async def _send_bundle(self, bound: Binding, rid: str, kind: Kind) -> None:
        text, _ = await in_database(_bundle, bound, rid, kind, 0)
        await self.send(text_data=text.decode())

    async def _send_new(self, bound: Binding, rid: str, after: int) -> int | None:
        """Send what came after a number; return the last one, None when the Subscription ended."""
        subscription = await in_database(_find, bound, rid)
        if subscription is None or subscription.status != "active":
            return None
        while after < subscription.events:
            text, last = await in_database(_bundle, bound, rid, "event-notification", after)
            if subscription.definition.is_backport:
                await self.send(text_data=text.decode())
            else:
                for _ in range(after, last):
                    await self.send(text_data=f"ping {rid}")
            after = last
        return after


def _redeem(token: str) -> Binding:
    return binding.redeem(token, now=timezone.now())


def _find(bound: Binding, rid: str) -> Subscription | None:
    with tenant_scope(bound.scope, readonly=True):
        return registry.find(bound.scope.project_number or 0, rid)


def _bundle(bound: Binding, rid: str, kind: Kind, after: int) -> tuple[bytes, int]:
    """Return a Bundle, and the number of the last event in it."""
    with tenant_scope(bound.scope, readonly=True):
        subscription = registry.find(bound.scope.project_number or 0, rid)
        if subscription is None:
            raise binding.BindingRefused
        if kind != "event-notification":
            return notification_bundle(subscription, kind, now=timezone.now()), after
        size = subscription.definition.max_count or PAGE
        until = min(after + size, subscription.events)
        events = registry.notifications(subscription, after + 1, until)
        return notification_bundle(subscription, kind, events, now=timezone.now()), until
