"""The worker loop: claim what is due, run its handler, settle the outcome, until nothing is due."""

import logging
import time
import traceback
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import connection

from healthcloud.ledger import claims, doorbell, handlers
from healthcloud.ledger.backoff import full_jitter
from healthcloud.ledger.claims import Terms
from healthcloud.ledger.handlers import (
    ClaimedWork,
    Done,
    GiveUp,
    LeaseLost,
    Outcome,
    RetryAt,
    Settled,
)
from healthcloud.ledger.heartbeat import Heartbeat
from healthcloud.ledger.models import Queue
from healthcloud.tenancy.scope import public_scope

logger = logging.getLogger(__name__)

ALL_QUEUES = tuple(Queue.values)
_served: dict[str, str] = {}  # queue → the tenant that this process served last


def drain(queues: Sequence[str], *, limit: int, seconds: float = 60.0) -> int:
    """Run due work of `queues` until nothing is due, and return how much was done.

    Stops after `limit` pieces or `seconds`, and then rings for another worker, so that no task
    of the broker gets long. Errors of handlers are retried with backoff, never raised.
    """
    terms = _terms()
    until = time.monotonic() + seconds
    done = 0
    claims.bound_idle_transactions(terms.lease)
    with Heartbeat(terms.lease) as heartbeat:
        while done < limit and time.monotonic() < until:
            work = _claim(queues, terms)
            if work is None:
                return done
            heartbeat.watch(work)
            try:
                _settle(work, _outcome(work))
            finally:
                heartbeat.watch(None)
            done += 1
    for queue in queues:
        doorbell.ring(queue)
    return done


def run_until_idle(
    queues: Sequence[str] = ALL_QUEUES,
    *,
    ahead: timedelta = timedelta(0),
    limit: int = 1000,
    raising: bool = True,
) -> int:
    """Run all due work here and now, in this thread and its transaction; return how much.

    For tests and commands. `ahead` also runs what falls due within that time, with a clock that
    much ahead. With `raising` an unexpected error of a handler is raised instead of retried.
    """
    terms = Terms(_terms().lease, _terms().tenant_cap, ahead)
    for done in range(limit):
        with public_scope():  # the caller may be inside a tenant, whose role sees no ledger
            work = _claim(queues, terms)
        if work is None:
            return done
        outcome = _outcome(work, raising=raising)
        with public_scope():
            _settle(work, outcome)
    raise RuntimeError(f"still not idle after {limit} pieces of work")


def _terms() -> Terms:
    return Terms(
        lease=timedelta(seconds=settings.LEASE_SECONDS),
        tenant_cap=settings.TENANT_CONCURRENCY,
    )


def _claim(queues: Sequence[str], terms: Terms) -> ClaimedWork | None:
    for queue in queues:
        work = claims.claim(queue, after=_served.get(queue, ""), terms=terms)
        if work is not None:
            _served[queue] = work.scope.environment_id
            return work
    return None


def _outcome(work: ClaimedWork, *, raising: bool = False) -> Outcome | None:
    """Run the handler; None means that the work is no longer ours."""
    if work.attempt > _max_attempts(work.kind):
        return GiveUp("worker_lost")
    try:
        return handlers.lookup(work.kind).run(work)
    except LeaseLost:
        logger.info("lease lost", extra=_ids(work))
        return None
    except Exception as error:
        if raising:
            raise
        _log_failure(work, error)
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
        return RetryAt(work.now + full_jitter(work.attempt), type(error).__name__)


def _settle(work: ClaimedWork, outcome: Outcome | None) -> None:
    match outcome:
        case Done():
            claims.finish(work)
        case RetryAt(error=error) if error and work.attempt >= _max_attempts(work.kind):
            _give_up(work, error)
        case RetryAt(due_at=due_at, error=error):
            claims.release(work, due_at=due_at, error=error)
        case GiveUp(error=error):
            _give_up(work, error)
        case Settled() | None:
            pass


def _give_up(work: ClaimedWork, error: str) -> None:
    """Tell the owner first and bury afterwards: a crash in between tells again."""
    logger.error("work given up", extra={**_ids(work), "error": error})
    try:
        registration = handlers.lookup(work.kind)
    except handlers.UnknownKind:
        registration = None
    if registration is not None and registration.on_dead is not None:
        registration.on_dead(work, error)
    claims.bury(work, error=error)


def _max_attempts(kind: str) -> int:
    try:
        return handlers.lookup(kind).max_attempts
    except handlers.UnknownKind:
        return handlers.MAX_ATTEMPTS


def _log_failure(work: ClaimedWork, error: Exception) -> None:
    """Log where it failed, without the message: that could quote clinical data."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("work failed: %s\n%s", type(error).__name__, frames, extra=_ids(work))


def _ids(work: ClaimedWork) -> dict[str, object]:
    return {
        "work_id": work.id,
        "kind": work.kind,
        "ref": work.ref,
        "environment_id": work.scope.environment_id,
        "attempt": work.attempt,
    }
