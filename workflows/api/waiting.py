"""Waiting for a run: `wait` in the body, or `Prefer: wait=10` (RFC 7240)."""

import re
import time
from typing import Final

from rest_framework.request import Request

from healthcloud.tenancy.scope import Scope, tenant_scope
from workflows import queries
from workflows.models import Run

MAX_SECONDS: Final = 30.0
_PREFER: Final = re.compile(r"\bwait\s*=\s*\"?(\d+(?:\.\d+)?)")
_PAUSES: Final = (0.005, 0.01, 0.02, 0.03, 0.05)


def seconds_wanted(request: Request, wait: float | None) -> float:
    """Return how long the caller wants to wait, at most 30 s; 0 for not at all."""
    if wait is not None:
        return min(wait, MAX_SECONDS)
    found = _PREFER.search(request.headers.get("Prefer", ""))
    return min(float(found.group(1)), MAX_SECONDS) if found else 0.0


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
