"""The bridge from ASGI to WSGI answers as Django's own handler would."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from hypothesis import given
from hypothesis import strategies as st

from healthcloud.api.later import postpone
from healthcloud.runtime.bridge import AsgiMessage, AsgiScope, WsgiBridge


def exchange(
    application: Callable[..., Iterable[bytes]],
    *,
    messages: Iterable[AsgiMessage] | None = None,
    **scope: object,
) -> list[AsgiMessage]:
    """Send one request through a bridge and return what it sent."""
    incoming = iter(messages or [{"type": "http.request", "body": b""}])
    sent: list[AsgiMessage] = []

    async def receive() -> AsgiMessage:
        return next(incoming)

    async def send(message: AsgiMessage) -> None:
        sent.append(message)

    bridge = WsgiBridge(application, threads=1)
    request = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [],
        **scope,
    }
    asyncio.run(bridge(request, receive, send))
    bridge.pool.shutdown()
    return sent


def echo(environ, start_response) -> list[bytes]:
    start_response("201 Created", [("X-Path", environ["PATH_INFO"])])
    return [environ["wsgi.input"].read()]


def test_of_a_body_without_end_nothing_is_kept_and_the_connection_closes() -> None:
    chunk = {"type": "http.request", "body": b"x" * (8 << 20), "more_body": True}
    read = 0

    def endless() -> Iterator[AsgiMessage]:
        nonlocal read
        while True:
            read += 1
            yield chunk

    def size(environ, start_response) -> list[bytes]:
        start_response("413 Content Too Large", [])
        return [environ["CONTENT_LENGTH"].encode(), environ["wsgi.input"].read()]

    sent = exchange(size, messages=endless())
    assert sent[0]["headers"] == [(b"connection", b"close")]
    assert sent[1]["body"] == str((64 << 20) + 1).encode()
    assert read == 9


def test_it_passes_body_status_and_headers() -> None:
    sent = exchange(
        echo,
        messages=[
            {"type": "http.request", "body": b"ab", "more_body": True},
            {"type": "http.request", "body": b"cd"},
        ],
    )
    assert sent == [
        {"type": "http.response.start", "status": 201, "headers": [(b"x-path", b"/")]},
        {"type": "http.response.body", "body": b"abcd"},
    ]


def test_a_client_that_leaves_early_is_not_served() -> None:
    sent = exchange(
        echo,
        messages=[
            {"type": "http.request", "body": b"ab", "more_body": True},
            {"type": "http.disconnect"},
        ],
    )
    assert sent == []


def test_percent_encoded_paths_arrive_as_bytes_of_the_path() -> None:
    sent = exchange(echo, raw_path=b"/v1/fhir/Patient/%C3%A9")
    assert sent[0]["headers"] == [(b"x-path", "/v1/fhir/Patient/é".encode())]


def test_headers_with_underscores_do_not_pass_for_others() -> None:
    seen: dict[str, object] = {}

    def application(environ, start_response) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return [b""]

    exchange(
        application,
        headers=[
            (b"x_forwarded_for", b"10.0.0.1"),
            (b"cookie", b"a=1"),
            (b"cookie", b"b=2"),
            (b"content-type", b"application/json"),
        ],
    )
    assert "HTTP_X_FORWARDED_FOR" not in seen
    assert seen["HTTP_COOKIE"] == "a=1; b=2"
    assert seen["CONTENT_TYPE"] == "application/json"
    assert seen["CONTENT_LENGTH"] == "0"


class Stream:
    """A streaming response that remembers whether it was closed."""

    streaming = True
    closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield b"one"
        yield b"two"

    def close(self) -> None:
        self.closed = True


def test_a_streaming_response_is_sent_chunk_by_chunk_and_closed() -> None:
    stream = Stream()

    def application(environ, start_response) -> Iterable[bytes]:
        start_response("200 OK", [])
        return stream

    sent = exchange(application)
    assert [message.get("body") for message in sent] == [None, b"one", b"two", b""]
    assert stream.closed


@given(st.lists(st.binary(max_size=64), min_size=1, max_size=8))
def test_bodies_arrive_whole_however_they_are_cut(pieces: list[bytes]) -> None:
    messages = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in pieces[:-1]
    ] + [{"type": "http.request", "body": pieces[-1]}]
    assert exchange(echo, messages=messages)[1]["body"] == b"".join(pieces)


def test_what_the_express_way_answers_reaches_no_thread() -> None:
    class Express:
        status, headers, body = 203, [(b"x-way", b"express")], b"quick"

        async def __call__(self, scope: AsgiScope, body: bytes) -> "Express | None":
            return self if body == b"plain" else None

    def answer(body: bytes) -> list[AsgiMessage]:
        sent: list[AsgiMessage] = []

        async def receive() -> AsgiMessage:
            return {"type": "http.request", "body": body}

        async def send(message: AsgiMessage) -> None:
            sent.append(message)

        bridge = WsgiBridge(echo, threads=1, express=Express())
        scope = {"method": "POST", "path": "/a", "query_string": b"", "http_version": "1.1",
                 "headers": []}  # fmt: skip
        asyncio.run(bridge(scope, receive, send))
        bridge.pool.shutdown()
        return sent

    start, rest = answer(b"plain")
    assert (start["status"], start["headers"]) == (203, [(b"x-way", b"express")])
    assert rest["body"] == b"quick"
    start, rest = answer(b"other")
    assert (start["status"], rest["body"]) == (201, b"other")


class Promise:
    """An answer that is there when it was asked for a second time."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.asked = 0
        self.closed = False

    async def wait(self) -> None:
        await asyncio.sleep(0)

    def answer(self) -> tuple[int, bytes] | None:
        self.asked += 1
        if self.broken:
            raise RuntimeError("no answer")
        return None if self.asked < 2 else (200, b"later")

    def close(self) -> None:
        self.closed = True


def test_an_answer_may_come_later_under_the_headers_of_the_first() -> None:
    promise = Promise()

    def application(environ, start_response) -> list[bytes]:
        assert postpone(environ, promise)
        start_response("202 Accepted", [("Content-Length", "3"), ("X-Kept", "yes")])
        return [b"now"]

    start, body = exchange(application)
    assert (start["status"], body["body"]) == (200, b"later")
    assert start["headers"] == [(b"x-kept", b"yes"), (b"content-length", b"5")]
    assert (promise.asked, promise.closed) == (2, True)


def test_an_answer_that_can_not_be_made_later_is_as_it_was() -> None:
    promise = Promise(broken=True)

    def application(environ, start_response) -> list[bytes]:
        postpone(environ, promise)
        start_response("202 Accepted", [("Content-Length", "3")])
        return [b"now"]

    start, body = exchange(application)
    assert (start["status"], body["body"]) == (202, b"now")
    assert start["headers"] == [(b"content-length", b"3")]
    assert promise.closed


def test_where_nobody_waits_nothing_is_postponed() -> None:
    assert not postpone({}, Promise())
