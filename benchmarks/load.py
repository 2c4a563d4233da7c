"""A lean HTTP load generator: prepared bytes out, answers counted, on connections kept open.

It runs in the benchmark's process and costs about 20 µs a request, so that on a machine of two
cores the server is what is measured.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import uvloop

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(slots=True)
class Taken:
    """What one run of requests took: seconds of each, seconds of all, bytes received."""

    latencies: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    received: int = 0

    @property
    def rate(self) -> float:
        """Return requests a second."""
        return len(self.latencies) / self.elapsed if self.elapsed else 0.0

    def percentile(self, part: float) -> float:
        """Return a percentile of the latencies in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * part))]


class UnexpectedAnswer(RuntimeError):
    """The server answered another status than the benchmark expects."""


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return the bytes of one request; `headers` name the host."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body or method in {"POST", "PUT"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + _HEAD_END + body


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the last one is answered."""

    def __init__(self, requests: Iterator[bytes], expected: bytes, into: Taken) -> None:
        self.requests = requests
        self.expected = expected
        self.into = into
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._send()

    def _send(self) -> None:
        following = next(self.requests, None)
        if following is None:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.began = time.perf_counter()
        self.transport.write(following)  # type: ignore[attr-defined]  # a stream's transport

    def data_received(self, data: bytes) -> None:
        self.into.received += len(data)
        if self.missing:
            self.missing -= len(data)
        else:
            self.buffer += data
            if not self._read_head():
                return
        if self.missing <= 0:
            self.into.latencies.append(time.perf_counter() - self.began)
            self._send()

    def _read_head(self) -> bool:
        """Take status and length from the head, once it is there."""
        end = self.buffer.find(_HEAD_END)
        if end < 0:
            return False
        head, body = self.buffer[:end], self.buffer[end + 4 :]
        self.buffer = b""
        if head[9:12] not in self.expected:
            message = f"{head[:40]!r} {body[:600]!r}"
            self.done.set_exception(UnexpectedAnswer(message))
            self.transport.close()
            return False
        lower = head.lower()
        at = lower.find(_LENGTH)
        length = 0 if at < 0 else int(lower[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
        self.missing = length - len(body)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError("the server hung up"))


async def _run(
    host: str, port: int, requests: Iterator[bytes], clients: int, expected: bytes
) -> Taken:
    taken = Taken()
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    connections = []
    for _ in range(clients):
        _, connection = await loop.create_connection(
            lambda: _Connection(requests, expected, taken), host, port
        )
        connections.append(connection)
    await asyncio.gather(*(connection.done for connection in connections))
    taken.elapsed = time.perf_counter() - began
    return taken


def run(
    host: str,
    port: int,
    make: Callable[[int], bytes],
    *,
    count: int,
    clients: int,
    expected: bytes = b"200 201",
) -> Taken:
    """Send `count` requests over `clients` connections; `make` gives the bytes of each.

    Raises UnexpectedAnswer for a status that is not among `expected`.
    """
    requests = (make(number) for number in range(count))
    return uvloop.run(_run(host, port, requests, clients, expected))
