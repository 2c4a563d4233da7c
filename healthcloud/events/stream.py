"""`GET /v1/events/stream`: server-sent events as a bare ASGI application."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from django.http.response import HttpResponseBase

from healthcloud.events import sse
from healthcloud.events.admission import admit, refusal
from healthcloud.events.database import in_database
from healthcloud.events.feed import TooManyStreams, hub
from healthcloud.events.following import Admission, follow, place

Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

HEARTBEAT_SECONDS: Final = 15.0
RETRY_MS: Final = 3000


async def sse_application(scope: Message, receive: Receive, send: Send) -> None:
    """Serve one stream until the client goes or its credential is revoked."""
    if scope["method"] not in {"GET", "HEAD"}:
        scope = {**scope, "method": "GET"}
    admitted = await in_database(admit, scope)
    if isinstance(admitted, HttpResponseBase):
        await _refuse(admitted, send)
        return
    stream = asyncio.create_task(_stream(admitted, send))
    gone = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({stream, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (stream, gone):
            task.cancel()
        await asyncio.gather(stream, gone, return_exceptions=True)
    if not stream.cancelled() and (error := stream.exception()) is not None:
        raise error


async def _stream(admission: Admission, send: Send) -> None:
    try:
        await _follow(admission, send)
    except TooManyStreams as error:
        await _refuse(refusal(admission, error), send)


async def _follow(admission: Admission, send: Send) -> None:
    async with hub().join(admission.scope, admission.credential) as feed:
        after, reset = await place(admission, feed)
        await send(_start(200, {**admission.headers, "X-Accel-Buffering": "no"}))
        await _write(send, sse.retry_message(RETRY_MS) + sse.HEARTBEAT)
        if reset is not None:
            await _write(send, sse.reset_message(reset))
        following = follow(hub(), feed, admission, after=after, heartbeat=HEARTBEAT_SECONDS)
        async with contextlib.aclosing(following) as batches:
            async for events in batches:
                text = b"".join(sse.event_message(event, admission.scope) for event in events)
                await _write(send, text or sse.HEARTBEAT)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _write(send: Send, text: bytes) -> None:
    await send({"type": "http.response.body", "body": text, "more_body": True})


async def _refuse(response: HttpResponseBase, send: Send) -> None:
    await send(_start(response.status_code, dict(response.items())))
    body = getattr(response, "content", b"")
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _start(status: int, headers: dict[str, str]) -> Message:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}
