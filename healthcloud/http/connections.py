"""Pooled connections to checked addresses, each bound to the deadline of its request."""

import math
import os
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import httpcore
import httpx

from healthcloud.http.addresses import Reach, pinned_addresses

deadline: ContextVar[float] = ContextVar("healthcloud_http_deadline")
latest: ContextVar[float] = ContextVar("healthcloud_http_latest", default=math.inf)


@contextmanager
def answer_within(seconds: float) -> Iterator[None]:
    """Let no request made in the block last past its end, whatever the client's own timeout."""
    token = latest.set(min(latest.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        latest.reset(token)


def _seconds_left() -> float:
    left = deadline.get() - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("deadline passed")
    return left


class _DeadlineStream(httpcore.NetworkStream):
    """A connection whose every read and write ends at the deadline of the whole request."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _seconds_left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _seconds_left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, _seconds_left())
        return _DeadlineStream(secured)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class _GuardedBackend(httpcore.NetworkBackend):
    """Opens connections to checked addresses only."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = pinned_addresses(host, port, self._reach)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} does not resolve") from error
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                stream = self._backend.connect_tcp(address, port, _seconds_left())
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _DeadlineStream(stream)
        raise failure


@lru_cache(maxsize=3)
def pool(reach: Reach) -> httpcore.ConnectionPool:
    return httpcore.ConnectionPool(
        ssl_context=httpx.create_ssl_context(),
        max_connections=200,
        max_keepalive_connections=40,
        keepalive_expiry=30.0,
        network_backend=_GuardedBackend(reach),
    )


os.register_at_fork(after_in_child=pool.cache_clear)  # sockets are not shared over a fork
