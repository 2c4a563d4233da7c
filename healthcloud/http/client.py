"""The outbound client: policy, retries, limits and the log line of each request."""

import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import httpcore
import httpx
import orjson

from healthcloud.http.addresses import Reach, parse_url
from healthcloud.http.connections import deadline, latest, pool
from healthcloud.http.errors import (
    ConnectionFailed,
    ConnectionLost,
    HostNotAllowed,
    MalformedResponse,
    OutboundError,
    RequestTimedOut,
    ResponseTooLarge,
)
from healthcloud.http.responses import Response

logger = logging.getLogger("healthcloud.http")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
RETRY_STATUSES = frozenset({429, 502, 503, 504})
LONGEST_RETRY_AFTER_SECONDS = 10.0
_IDENTIFIER = re.compile(r"^(?=(?:.*\d){2})[\w.~%|:-]{6,}$|^[\w.~%-]{25,}$|^\d+$")


@dataclass(frozen=True, slots=True)
class OutboundClient:
    """Makes requests within one policy. Cheap to make; connections are pooled per process.

    `timeout` in seconds bounds each attempt as a whole, from resolving to the last byte.
    """

    allow_hosts: Sequence[str] | None = None
    allow_loopback: bool = False
    timeout: float = 15.0
    max_response_bytes: int = 16 * 1024 * 1024
    truncate_response: bool = False
    retries: int = 2
    user_agent: str = "HealthCloud/1.0"
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Response:
        """GET a URL."""
        return self.request("GET", url, headers=headers)

    def download(
        self, url: str, into: BinaryIO, *, headers: Mapping[str, str] | None = None
    ) -> Response:
        """GET a URL and write the body into a file as it comes; the answer's content is empty."""
        return self.request("GET", url, headers=headers, into=into)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        content: bytes | str | None = None,
        json: object | None = None,
        data: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
        route: str | None = None,
        into: BinaryIO | None = None,
    ) -> Response:
        """Send a request and return the answer, whatever its status.

        Retries where a repeat is harmless: connections that were never made; and, for methods that
        are safe to repeat or with `idempotent=True`, lost answers and 429, 502, 503, 504, waiting
        as Retry-After says. `route` is the path as a template, for the log; `into` a file that gets
        the body. Raises OutboundError.
        """
        target, reach = parse_url(url, allow_loopback=self.allow_loopback)
        self._check_host(target)
        body = orjson.dumps(json) if json is not None else content
        sent_headers = {
            "user-agent": self.user_agent,
            "accept-encoding": "identity",
            **({"content-type": "application/json"} if json is not None else {}),
            **{name.lower(): value for name, value in (headers or {}).items()},
        }
        request = httpx.Request(
            method, target, params=params, headers=sent_headers, content=body, data=data
        )
        repeatable = idempotent if idempotent is not None else request.method in SAFE_METHODS
        return self._send_with_retries(
            request, reach, repeatable=repeatable, route=route, into=into
        )

    def _check_host(self, url: httpx.URL) -> None:
        if self.allow_hosts is None:
            return
        port = url.port or (443 if url.scheme == "https" else 80)
        for allowed in self.allow_hosts:
            name, _, allowed_port = allowed.lower().partition(":")
            matches = url.host == name or (name.startswith("*.") and url.host.endswith(name[1:]))
            if matches and (not allowed_port or allowed_port == str(port)):
                return
        raise HostNotAllowed(
            f"{url.host} is not among the hosts that this component declared it talks to."
        )

    def _send_with_retries(
        self,
        request: httpx.Request,
        reach: Reach,
        *,
        repeatable: bool,
        route: str | None,
        into: BinaryIO | None,
    ) -> Response:
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            try:
                response = self._send(request, reach, route, into)
            except OutboundError as error:
                harmless = error.retryable and (repeatable or not error.outcome_unknown)
                if last or not harmless:
                    raise
                wait = _backoff(attempt)
            else:
                wait = response.retry_after or _backoff(attempt)
                again = repeatable and response.status in RETRY_STATUSES
                if last or not again or wait > LONGEST_RETRY_AFTER_SECONDS:
                    return response
            self.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _send(
        self, request: httpx.Request, reach: Reach, route: str | None, into: BinaryIO | None
    ) -> Response:
        started = time.monotonic()
        token = deadline.set(min(started + self.timeout, latest.get()))
        outcome = "error"
        try:
            response = self._exchange(request, reach, started, into)
            outcome = str(response.status)
        finally:
            deadline.reset(token)
            logger.info(
                "outbound %s %s%s %s %dms",
                request.method,
                request.url.host,
                route or path_template(request.url.path),
                outcome,
                (time.monotonic() - started) * 1000,
            )
        return response

    def _exchange(
        self, request: httpx.Request, reach: Reach, started: float, into: BinaryIO | None
    ) -> Response:
        host = request.url.host
        with _errors_of(host):
            answer = pool(reach).handle_request(_core_request(request, self.timeout))
            try:
                body = b"" if into else self._read(answer, host)
                if into:
                    self._write(answer, host, into)
            finally:
                answer.close()
        return Response(
            status=answer.status,
            headers=httpx.Headers(answer.headers),
            content=body,
            host=host,
            elapsed_ms=int((time.monotonic() - started) * 1000),
        )

    def _write(self, answer: httpcore.Response, host: str, into: BinaryIO) -> None:
        """Write the body into a file, which an attempt before this one may have begun."""
        into.seek(0)
        into.truncate()
        for chunk in _decoded(answer).iter_bytes():
            into.write(chunk)
            if into.tell() > self.max_response_bytes:
                raise self._too_large(host)

    def _too_large(self, host: str) -> ResponseTooLarge:
        return ResponseTooLarge(f"{host} answered with more than {self.max_response_bytes} bytes.")

    def _read(self, answer: httpcore.Response, host: str) -> bytes:
        body = bytearray()
        for chunk in _decoded(answer).iter_bytes():
            body += chunk
            if len(body) <= self.max_response_bytes:
                continue
            if self.truncate_response:
                break
            raise self._too_large(host)
        return bytes(body[: self.max_response_bytes])


def client(
    *,
    allow_hosts: Sequence[str] | None = None,
    allow_loopback: bool = False,
    timeout: float = 15.0,
    max_response_bytes: int = 16 * 1024 * 1024,
    retries: int = 2,
) -> OutboundClient:
    """Return a client for the hosts of an allow-list (`name`, `*.name`, `name:port`; None = any).

    `allow_loopback` is for the sandbox's simulators only. `timeout` is in seconds, per attempt.
    """
    return OutboundClient(
        allow_hosts=allow_hosts,
        allow_loopback=allow_loopback,
        timeout=timeout,
        max_response_bytes=max_response_bytes,
        retries=retries,
    )


def path_template(path: str) -> str:
    """Return a path for the log with everything that looks like an identifier taken out."""
    parts = path.split("/")
    return "/".join("{id}" if _IDENTIFIER.match(part) else part for part in parts)


def _decoded(answer: httpcore.Response) -> httpx.Response:
    return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer.iter_stream()))


class _Body(httpx.SyncByteStream):
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)


def _core_request(request: httpx.Request, timeout: float) -> httpcore.Request:
    url = request.url
    limits = {"connect": timeout, "read": timeout, "write": timeout, "pool": timeout}
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        ),
        headers=request.headers.raw,
        content=request.read(),
        extensions={"timeout": limits},
    )


def _backoff(attempt: int) -> float:
    return random.uniform(0.05, 0.25) * float(2**attempt)  # noqa: S311  jitter, not a secret


class _errors_of:  # noqa: N801  reads as a phrase: with _errors_of(host)
    """Turns the transport's exceptions into ours."""

    def __init__(self, host: str) -> None:
        self._host = host

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case httpcore.ConnectError() | httpcore.ConnectTimeout() | httpcore.PoolTimeout():
                raise ConnectionFailed(f"No connection to {self._host}.") from error
            case httpcore.TimeoutException():
                raise RequestTimedOut(f"{self._host} did not answer in time.") from error
            case httpcore.NetworkError():
                raise ConnectionLost(f"The connection to {self._host} broke.") from error
            case httpcore.RemoteProtocolError():
                raise ConnectionLost(f"{self._host} hung up or spoke no valid HTTP.") from error
            case httpx.DecodingError() | httpcore.ProtocolError():
                raise MalformedResponse(f"The answer of {self._host} is unreadable.") from error
