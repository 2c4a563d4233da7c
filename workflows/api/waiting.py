"""Waiting for a run: `wait` in the body or query, or `Prefer: wait=10` (RFC 7240).

A caller who waits holds a connection and nothing else: the event loop hears when the run is over
(`healthcloud.events.hearing`), and looks now and then, since what is said may get lost.
"""

import asyncio
import contextlib
import re
import time
from typing import Final

from django.db import connection
from rest_framework.request import Request

from healthcloud.api.later import postpone
from healthcloud.api.renderers import dump_json
from healthcloud.errors import BadRequest
from healthcloud.events.feed import server_stops
from healthcloud.events.hearing import hearing
from healthcloud.tenancy.scope import Scope, tenant_scope
from workflows import queries
from workflows.api import represent
from workflows.models import Run

MAX_SECONDS: Final = 30.0
_PREFER: Final = re.compile(r"\bwait\s*=\s*\"?(\d+(?:\.\d+)?)")
_PAUSES: Final = (0.005, 0.01, 0.02, 0.03, 0.05)
_LOOKS: Final = (0.3, 0.5, 1.0, 2.0)  # seconds between looks while listening


def seconds_wanted(request: Request, wait: float | None = None) -> float:
    """Return how long the caller wants to wait, at most 30 s; 0 for not at all."""
    if wait is not None:
        return min(wait, MAX_SECONDS)
    found = _PREFER.search(request.headers.get("Prefer", ""))
    return min(float(found.group(1)), MAX_SECONDS) if found else 0.0


def seconds_asked(request: Request) -> float:
    """Return the same for a request without a body, whose query may say `wait`."""
    named = request.query_params.get("wait")
    if named is None:
        return seconds_wanted(request)
    try:
        seconds = float(named)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_SECONDS:
        raise BadRequest("`wait` is a number of seconds from 0 to 30.", param="wait")
    return seconds


def awaited(run: Run, *, request: Request, scope: Scope, seconds: float) -> Run:
    """Return the run as it is to be answered now.

    Where the server can let answers wait, that is the run as it stands, and the answer is made
    anew when the run is over, or as it stands after `seconds`. Elsewhere, and for a request whose
    answer is kept under an `Idempotency-Key`, waits here.
    """
    if run.final or seconds <= 0:
        return run
    waiting = Waiting(run.id, scope, seconds, started=request.method == "POST")
    if "Idempotency-Key" not in request.headers and postpone(request.META, waiting):
        return run
    return wait_for(run, scope=scope, seconds=seconds)


def wait_for(run: Run, *, scope: Scope, seconds: float) -> Run:
    """Return the run as soon as it is over, or as it stands after `seconds`.

    Looks again in short transactions of its own; none is open in between.
    """
    until = time.monotonic() + seconds
    looks = 0
    while not run.final and (left := until - time.monotonic()) > 0:
        time.sleep(min(_PAUSES[min(looks, len(_PAUSES) - 1)], left))
        looks += 1
        with tenant_scope(scope, readonly=True):
            run = queries.run(run.id)
    return run


class Waiting:
    """An answer that waits for a run to be over."""

    def __init__(self, run_id: str, scope: Scope, seconds: float, *, started: bool) -> None:
        self.run_id = run_id
        self.scope = scope
        self.started = started
        self.until = time.monotonic() + seconds
        self.looks = 0
        self.event: asyncio.Event | None = None

    async def wait(self) -> None:
        """Return when the run is said to be over, when the time is up, or to have a look."""
        if self.event is None:
            self.event = hearing().expect(self.run_id)
        pause = _LOOKS[min(self.looks, len(_LOOKS) - 1)]
        self.looks += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(pause, self.until - time.monotonic()))):
                await self.event.wait()
        self.event.clear()

    def answer(self) -> tuple[int, bytes] | None:
        """Return the answer with the run as it stands, None while there is time left for it."""
        connection.close_if_unusable_or_obsolete()
        with tenant_scope(self.scope, readonly=True):
            run = queries.run(self.run_id)
        if run.final or time.monotonic() >= self.until or server_stops():
            status = status_of(run) if self.started else 200
            return status, dump_json({**self.scope.metadata(), **represent.run(run)})
        return None

    def close(self) -> None:
        """Hear no more."""
        if self.event is not None:
            hearing().forget(self.run_id, self.event)


def status_of(run: Run) -> int:
    """Return the status of a start: 200 for a run that is over, 202 for one that goes on."""
    return 200 if run.final else 202
