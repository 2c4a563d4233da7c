"""From ASGI to Django's WSGI handler, in a pool of threads that hold the database connections.

Stock Django under ASGI starts two threads and hops between them several times per request; here
one pool thread runs the whole request. Small bodies arrive and leave in one piece; large uploads
go to a temporary file, and streaming responses are sent chunk by chunk from the pool's thread
with the client's backpressure. An answer that waits for something (`healthcloud.api.later`) waits
in the event loop.
"""

import asyncio
import io
import logging
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import IO, Any, Final, Protocol, cast
from urllib.parse import unquote_to_bytes
from wsgiref.types import StartResponse

from django.http import HttpResponseBase

from healthcloud.api.later import VARIABLE, Later
from healthcloud.runtime.pool import ThreadPool

logger = logging.getLogger(__name__)

AsgiScope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
Environ = dict[str, Any]

_SPOOL_BYTES: Final = 1 << 20
_MAX_BODY: Final = 64 << 20


class WsgiApplication(Protocol):
    """A WSGI callable, such as Django's handler."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        ...


class DirectApplication(Protocol):
    """A WSGI callable that may decline a request, with nothing done, by returning None."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes] | None:
        """Answer one request, or decline it."""
        ...


class ExpressAnswer(Protocol):
    """An answer that needs no WSGI: status, headers as ASGI sends them, and the body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class ExpressApplication(Protocol):
    """Answers a request in the loop's thread, or declines it, with nothing done, with None."""

    async def __call__(self, scope: AsgiScope, body: bytes) -> ExpressAnswer | None:
        """Answer one request, or decline it."""
        ...


class WsgiBridge:
    """An ASGI application for `http` scopes that answers through a WSGI application.

    What `express` and `direct` do not decline never reaches the application. `threads` requests
    run at once; more wait in the pool's queue in the order they came. Of a body beyond `max_body`
    bytes nothing is kept: the application sees its size and refuses it.
    """

    def __init__(
        self,
        application: WsgiApplication,
        *,
        threads: int,
        max_body: int = _MAX_BODY,
        direct: DirectApplication | None = None,
        express: ExpressApplication | None = None,
    ) -> None:
        self.application = application
        self.direct = direct
        self.express = express
        self.max_body = max_body
        self.pool = ThreadPool(threads, name="request")

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Read the body, run the request in the pool, send the answer."""
        body = await _read_body(receive, self.max_body)
        if body is None:
            return  # the client left before it had sent its request
        if self.express is not None and isinstance(body, io.BytesIO):
            answer = await self.express(scope, body.getvalue())
            if answer is not None:
                start = "http.response.start"
                await send({"type": start, "status": answer.status, "headers": answer.headers})
                await send({"type": "http.response.body", "body": answer.body})
                return
        exchange = _Exchange(self, asyncio.get_running_loop(), scope, body, send)
        try:
            buffered = await self.pool.run(exchange.run)
        finally:
            body.close()
        if buffered is not None:
            if exchange.waits_for:
                buffered = await exchange.later(buffered)
            await send(exchange.start)
            await send({"type": "http.response.body", "body": buffered})


class _Exchange:
    """One request and its answer; `start` is the response's head once the application set it."""

    def __init__(
        self,
        bridge: WsgiBridge,
        loop: asyncio.AbstractEventLoop,
        scope: AsgiScope,
        body: IO[bytes],
        send: Send,
    ) -> None:
        self.bridge = bridge
        self.loop = loop
        self.scope = scope
        self.body = body
        self.send = send
        self.start: AsgiMessage = {}
        self.closing = False
        self.waits_for: list[Later] = []

    def run(self) -> bytes | None:
        """Run the request in this thread; return the body, or None when it was streamed."""
        environ = self._environ()
        response = None
        if self.bridge.direct is not None and not self.closing:
            response = self.bridge.direct(environ, self._start_response)
        if response is None:
            response = self.bridge.application(environ, self._start_response)
        try:
            if getattr(response, "streaming", False):
                self._stream(response)
                return None
            return b"".join(response)
        finally:
            if isinstance(response, HttpResponseBase) or hasattr(response, "close"):
                cast(HttpResponseBase, response).close()

    async def later(self, buffered: bytes) -> bytes:
        """Wait for what the answer waits for, and return the body that it then has."""
        waiting = self.waits_for[0]
        try:
            answer = None
            while answer is None:
                await waiting.wait()
                answer = await self.bridge.pool.run(waiting.answer)
        except Exception:
            logger.exception("an answer could not be made later; it is as it was")
            return buffered
        finally:
            waiting.close()
        status, body = answer
        headers = [pair for pair in self.start["headers"] if pair[0] != b"content-length"]
        length = str(len(body)).encode()
        self.start["status"] = status
        self.start["headers"] = [*headers, (b"content-length", length)]
        return body

    def _environ(self) -> Environ:
        environ = build_environ(self.scope, self.body)
        environ[VARIABLE] = self.waits_for
        if self.body.seek(0, 2) > self.bridge.max_body:
            self.body.truncate(0)
            environ["CONTENT_LENGTH"] = str(self.bridge.max_body + 1)
            self.closing = True  # the rest of the body is not read
        self.body.seek(0)
        return environ

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        self.start = {
            "type": "http.response.start",
            "status": int(status[:3]),
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
            ],
        }
        if self.closing:
            self.start["headers"].append((b"connection", b"close"))
        return _refuse_write

    def _stream(self, response: Iterable[bytes]) -> None:
        self._send(self.start)
        for chunk in response:
            self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        self._send({"type": "http.response.body", "body": b""})

    def _send(self, message: AsgiMessage) -> None:
        future = asyncio.run_coroutine_threadsafe(self._deliver(message), self.loop)
        future.result()

    async def _deliver(self, message: AsgiMessage) -> None:
        await self.send(message)


def _refuse_write(data: bytes) -> object:
    raise RuntimeError("the write() callable of WSGI is not supported: return the body instead")


async def _read_body(receive: Receive, limit: int) -> IO[bytes] | None:
    """Return the body, up to the chunk with which it grew beyond the limit; None without one."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        return io.BytesIO(message.get("body", b""))
    body = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed by the caller
    while True:
        if message["type"] == "http.disconnect":
            body.close()
            return None
        body.write(message.get("body", b""))
        if not message.get("more_body", False) or body.tell() > limit:
            body.seek(0)
            return cast(IO[bytes], body)
        message = await receive()


def build_environ(scope: AsgiScope, body: IO[bytes]) -> Environ:
    """Return the WSGI environment of an ASGI request (PEP 3333; paths are latin-1 strings)."""
    server = scope.get("server") or ("localhost", 80)
    client = scope.get("client") or ("127.0.0.1", 0)
    raw_path = scope.get("raw_path") or scope["path"].encode()
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": client[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name_bytes, value_bytes in scope["headers"]:
        if b"_" in name_bytes:
            continue  # X_Forwarded_For and the like would pass for the real header
        name = name_bytes.decode("latin-1").upper().replace("-", "_")
        value = value_bytes.decode("latin-1")
        if name not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
            name = f"HTTP_{name}"
        separator = "; " if name == "HTTP_COOKIE" else ","
        environ[name] = f"{environ[name]}{separator}{value}" if name in environ else value
    if "CONTENT_LENGTH" not in environ:
        environ["CONTENT_LENGTH"] = str(_size(body))  # chunked uploads
    return environ


def _size(body: IO[bytes]) -> int:
    size = body.seek(0, 2)
    body.seek(0)
    return size
