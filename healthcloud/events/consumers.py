"""`/v1/events/ws`: events over a websocket.

The client sends `{"type": "subscribe", "types": ["workflow.*"], "after": 41}` (all members but
`type` optional) or `{"type": "resume", "after": 41}`; the server sends `hello`, `subscribed`,
`event`, `reset`, `error`, and a `ping` every 20 seconds. A subscription replaces the one before;
a client that asks for nothing within a second gets every event after the hello.
"""

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import Any, Final

import orjson
from channels.generic.websocket import AsyncWebsocketConsumer
from django.http.response import HttpResponseBase

from healthcloud.errors import BadRequest, HealthCloudError
from healthcloud.events import queries, selection
from healthcloud.events.admission import admit, check_origin, refusal
from healthcloud.events.database import in_database
from healthcloud.events.feed import Feed, hub
from healthcloud.events.following import Admission, follow, place
from healthcloud.events.models import Event
from healthcloud.tenancy.scope import Scope

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 20.0
SILENT_SECONDS: Final = 1.0
REVOKED: Final = 4401
GOING_AWAY: Final = 1001
FAILED: Final = 1011
MAX_MESSAGE: Final = 16 * 1024
MAX_VALUES: Final = 50


class EventsConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels is untyped
    """One websocket. Database work is done elsewhere, each call in its own tenant scope."""

    channel_layer_alias = None  # it follows the process's feed and needs no channel of its own
    admission: Admission
    feed: Feed

    async def connect(self) -> None:
        """Admit the caller, say hello; a refusal is an HTTP answer where the server can send it."""
        self._open = contextlib.AsyncExitStack()
        self._following: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None
        admitted = await in_database(admit, self.scope)
        if isinstance(admitted, HttpResponseBase):
            await self._refuse(admitted.status_code, getattr(admitted, "content", b""))
            return
        try:
            check_origin(self.scope, admitted)
            joined = hub().join(admitted.scope, admitted.credential)
            self.feed = await self._open.enter_async_context(joined)
        except HealthCloudError as error:
            await self._refuse(error.status, refusal(admitted, error).content)
            return
        self.admission = admitted
        await self.accept()
        last = self.feed.last
        await self._say("hello", last_sequence=last, **admitted.scope.metadata())
        if self._asks_at_once():
            await self._begin(admitted)
        else:
            self._waiting = asyncio.create_task(self._begin_unasked(replace(admitted, after=last)))

    async def disconnect(self, code: int) -> None:
        """Stop following."""
        self._asked_for_something()
        await self._stop()
        await self._open.aclose()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take one message of the client; a bad one is answered with an error."""
        try:
            admission = self._asked(text_data or "")
        except HealthCloudError as error:
            self._asked_for_something()
            await self._say("error", error=_error(error))
            return
        if admission is not None:
            self._asked_for_something()
            await self._begin(admission)

    async def _begin_unasked(self, admission: Admission) -> None:
        """Follow everything after the hello, unless the client asks for something meanwhile."""
        await asyncio.sleep(SILENT_SECONDS)
        with contextlib.suppress(OSError):  # the client has gone meanwhile
            await self._begin(admission)

    def _asked_for_something(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _asked(self, text: str) -> Admission | None:
        if len(text) > MAX_MESSAGE:
            raise BadRequest(f"A message has at most {MAX_MESSAGE} characters.")
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise BadRequest("A message is one JSON object.") from error
        if not isinstance(message, dict):
            raise BadRequest("A message is one JSON object.")
        match message.get("type"):
            case "subscribe":
                return replace(
                    self.admission, selection=self._selection(message), after=_after(message)
                )
            case "resume":
                return replace(self.admission, after=_after(message))
            case "pong" | "ping":
                return None
        raise BadRequest("`type` is `subscribe`, `resume` or `pong`.", param="type")

    def _selection(self, message: dict[str, Any]) -> selection.Selection:
        return selection.build(
            types=_texts(message, "types"),
            severities=_texts(message, "severities"),
            sources=_texts(message, "sources"),
            project_id=self.admission.scope.project_id,
        )

    def _asks_at_once(self) -> bool:
        query = self.scope.get("query_string", b"")
        return any(part.startswith((b"after=", b"type=")) for part in query.split(b"&"))

    async def _begin(self, admission: Admission) -> None:
        await self._stop()
        self.admission = admission
        after, reset = await place(admission, self.feed)
        if reset is not None:
            await self._say("reset", after=reset.after, last_sequence=reset.last)
        await self._say("subscribed", types=list(admission.selection.types), after=after)
        self._following = asyncio.create_task(self._follow(admission, after))

    async def _follow(self, admission: Admission, after: int) -> None:
        try:
            await self._send_events(admission, after)
            code = REVOKED if hub().revoked(admission.credential) else GOING_AWAY
        except OSError:  # what servers raise, as ASGI asks, once the client has gone
            code = GOING_AWAY
        except Exception:
            logger.exception("a websocket's stream failed")
            code = FAILED
        with contextlib.suppress(OSError):
            await self.close(code=code)

    async def _send_events(self, admission: Admission, after: int) -> None:
        following = follow(hub(), self.feed, admission, after=after, heartbeat=HEARTBEAT_SECONDS)
        async with contextlib.aclosing(following) as batches:
            async for events in batches:
                for event in events:
                    await self.send(text_data=_message(event, admission.scope))
                if not events:
                    await self._say("ping", last_sequence=self.feed.last)

    async def _stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None

    async def _say(self, type_: str, **members: object) -> None:
        await self.send(text_data=orjson.dumps({"type": type_, **members}).decode())

    async def _refuse(self, status: int, body: bytes) -> None:
        """Answer the handshake with the error's own status, or close it with 4000 + status."""
        if "websocket.http.response" not in self.scope.get("extensions", {}):
            await self.close(code=4000 + status)
            return
        headers = [(b"content-type", b"application/json")]
        start = {"type": "websocket.http.response.start", "status": status, "headers": headers}
        await self.base_send(start)
        await self.base_send({"type": "websocket.http.response.body", "body": body})


def _after(message: dict[str, Any]) -> int | None:
    after = message.get("after")
    if after is None:
        return None
    if isinstance(after, bool) or not isinstance(after, int) or not 0 <= after < 10**18:
        raise BadRequest("`after` is the sequence number of the last event seen.", param="after")
    return int(after)


def _texts(message: dict[str, Any], name: str) -> list[str]:
    values = message.get(name) or []
    if not isinstance(values, list) or not all(_is_text(value) for value in values):
        raise BadRequest(f"`{name}` is a list of texts.", param=name)
    if len(values) > MAX_VALUES:
        raise BadRequest(f"`{name}` has at most {MAX_VALUES} entries.", param=name)
    return values


def _message(event: Event, scope: Scope) -> str:
    """Return the message of an event, which all sockets of a tenant share."""
    return f'{{"type":"event","event":{queries.as_text(event, scope).decode()}}}'


def _error(error: HealthCloudError) -> dict[str, object]:
    return {"code": error.code, "message": error.message, "param": error.param}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value and len(value) <= 100
