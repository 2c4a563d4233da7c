"""The worker loop: claim what is due, run its handler, settle the outcome, until nothing is due.

What mostly waits (webhooks, calls of vendors) is done by threads beside it (`ledger.hands`).
"""

import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache, partial

from django.conf import settings
from django.db import connection

from healthcloud.ledger import claims, doorbell, handlers, queries, wake
from healthcloud.ledger.backoff import full_jitter
from healthcloud.ledger.claims import Terms
from healthcloud.ledger.handlers import (
    ClaimedWork,
    Done,
    Elsewhere,
    GiveUp,
    LeaseLost,
    Outcome,
    RetryAt,
    Settled,
)
from healthcloud.ledger.hands import Hands, hands
from healthcloud.ledger.heartbeat import Heartbeat
from healthcloud.ledger.models import Queue
from healthcloud.tenancy.scope import public_scope

logger = logging.getLogger(__name__)

ALL_QUEUES = tuple(Queue.values)
_LAST_REQUESTS = timedelta(seconds=20)  # what a request to a receiver may take, and some more
_leaving = threading.Event()  # set when this process is told to stop
_STINT = 20  # pieces of one queue before the next has its turn
_STINT_SECONDS = 0.5  # the same in time: pieces may be long
_served: dict[str, str] = {}  # queue → the tenant that this process served last


def drain(
    queues: Sequence[str],
    *,
    limit: int,
    seconds: float = 60.0,
    linger: float = 0.0,
    stopping: Callable[[], bool] = lambda: False,
    beside: bool = False,
) -> int:
    """Run due work of `queues` until nothing is due, and return how much was done.

    Then stays awake for `linger` seconds after the last piece, and does what it is called for.
    Stops after `limit` pieces or `seconds`, and then rings for another worker, so that no task
    of the broker gets long. Errors of handlers are retried with backoff, never raised. With
    `beside` what mostly waits is done by threads that go on when this returns, and not counted.
    """
    terms = _terms()
    claims.bound_idle_transactions(terms.lease)
    own = hands(_lend_a_hand) if beside else {}
    lookout = Lookout(queues, {queue: own[queue] for queue in queues if queue in own})
    with Heartbeat(terms.lease, look_out=lookout.look if beside else None) as heartbeat:
        until = time.monotonic() + seconds
        shift = _Shift(queues, terms, heartbeat, lookout, limit, until, stopping)
        shift.work_off(queues)
        if linger:
            with wake.Watch(queues) as watch:
                shift.work_off(queries.due_among(queues))  # what came before we could hear
                shift.listen(watch, linger)
            shift.work_off(queries.due_among(queues))  # what we were called for while we left
    if shift.over():
        for queue in queues:
            doorbell.send(queue)
    if stopping():
        _leaving.set()
        for hand in shift.hands.values():
            hand.wait(_LAST_REQUESTS)
    return shift.done


def _lend_a_hand(own: Hands) -> None:
    """Work off a queue in a thread of its own; calls another one when there is more."""
    terms = _terms()
    claims.bound_idle_transactions(terms.lease)
    while not _leaving.is_set():
        # The last free hands are for tenants that keep few of them busy.
        cap = min(terms.tenant_cap, own.share) if own.crowded else terms.tenant_cap
        work = _claim([own.queue], replace(terms, tenant_cap=cap))
        if work is None:
            return
        if work.more:
            own.call()
        with _watched(work, terms):
            _settle(work, _outcome(work))


class Lookout:
    """What a worker's threads look after while its main thread is long at one piece of work.

    Due work for the threads themselves, and what a dead worker left in the other queues: with all
    main threads busy nobody would take that over in time.
    """

    def __init__(self, queues: Sequence[str], own: dict[str, Hands]) -> None:
        self.hands = own
        self.aside = own.get(Queue.AGENTS)
        self._others = [queue for queue in queues if queue not in own]

    def look(self) -> None:
        """Call the threads, and let one of them do what was left."""
        for hand in self.hands.values():
            hand.call()
        if self.aside is None:
            return
        for queue in queries.left_among(self._others):
            if self.aside.reserve():
                self.aside.lend(partial(_take_over, queue))


def _take_over(queue: str) -> None:
    """Do the piece of a queue that has been due for longest."""
    terms = _terms()
    claims.bound_idle_transactions(terms.lease)
    work = _claim([queue], terms)
    if work is not None:
        with _watched(work, terms):
            _settle(work, _outcome(work))


def _finish_aside(work: ClaimedWork, rest: Callable[[], Outcome]) -> None:
    """Do the rest of a piece of work that another thread claimed."""
    claims.bound_idle_transactions(_terms().lease)
    with _watched(work, _terms()):
        _settle(work, _outcome(work, rest))


@contextmanager
def _watched(work: ClaimedWork, terms: Terms) -> Iterator[None]:
    """Renew the lease of work that a hand does, with the heartbeat that all hands share."""
    heartbeat = _heartbeat(terms.lease)
    heartbeat.watch(work)
    try:
        yield
    finally:
        heartbeat.leave(work)


@lru_cache(maxsize=1)
def _heartbeat(lease: timedelta) -> Heartbeat:
    return Heartbeat(lease)


os.register_at_fork(after_in_child=_heartbeat.cache_clear)


class _Shift:
    """One task's time at work."""

    def __init__(
        self,
        queues: Sequence[str],
        terms: Terms,
        heartbeat: Heartbeat,
        lookout: Lookout,
        limit: int,
        until: float,
        stopping: Callable[[], bool],
    ) -> None:
        self.queues = queues
        self.terms = terms
        self.heartbeat = heartbeat
        self.limit = limit
        self.until = until
        self.stopping = stopping
        self.hands = lookout.hands
        self.aside = lookout.aside
        self.done = 0

    def over(self) -> bool:
        """Say whether the time is up or enough is done, so that another has to go on."""
        return self.done >= self.limit or time.monotonic() >= self.until

    def work_off(self, queues: Sequence[str]) -> None:
        """Do what is due, some of each queue in turn, until nothing is.

        While one of them has more, all that this worker serves have their turn: a backlog of one
        queue holds up none of the others, of which a dead worker may have left something.
        """
        while queues:
            for queue in queues:
                if queue in self.hands:
                    self.hands[queue].call()
            busy = [queue for queue in queues if queue not in self.hands]
            more = [queue for queue in busy if self._stint(queue)]
            queues = queries.due_among(self.queues) if more else []

    def listen(self, watch: wake.Watch, linger: float) -> None:
        """Do what we are called for, until for a while nobody calls."""
        idle_until = time.monotonic() + linger
        while not self._ends() and not watch.deaf:
            left = min(idle_until, self.until) - time.monotonic()
            if left <= 0:
                return
            queue, before = watch.hear(min(left, 1.0)), self.done
            if queue is not None:
                self.work_off([queue])
            if self.done > before:
                idle_until = time.monotonic() + linger

    def _stint(self, queue: str) -> bool:
        """Do some of one queue; return whether there is more."""
        until = time.monotonic() + _STINT_SECONDS
        for _ in range(_STINT):
            if self._ends():
                return False
            if time.monotonic() >= until:
                return True
            work = _claim([queue], self.terms, self.aside)
            if work is None:
                return False
            self.done += 1
            if not self._do(work) and not work.more:
                return False
        return True

    def _do(self, work: ClaimedWork) -> bool:
        """Do a piece of work; return whether it is due again."""
        self.heartbeat.watch(work)
        try:
            outcome = _outcome(work)
            if isinstance(outcome, Elsewhere) and self.aside is not None:
                self.aside.lend(partial(_finish_aside, work, outcome.rest))
                return False
            return _settle(work, outcome)
        finally:
            self.heartbeat.leave(work)

    def _ends(self) -> bool:
        return self.over() or self.stopping()


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


def _claim(queues: Sequence[str], terms: Terms, aside: Hands | None = None) -> ClaimedWork | None:
    for queue in queues:
        work = claims.claim(queue, after=_served.get(queue, ""), terms=terms, aside=aside)
        if work is not None:
            _served[queue] = work.scope.environment_id
            return work
    return None


def _outcome(
    work: ClaimedWork, rest: Callable[[], Outcome] | None = None, *, raising: bool = False
) -> Outcome | None:
    """Run the handler, or the rest of it; None means that the work is no longer ours."""
    if work.attempt > _max_attempts(work.kind):
        return GiveUp("worker_lost")
    try:
        return rest() if rest is not None else handlers.lookup(work.kind).run(work)
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


def _settle(work: ClaimedWork, outcome: Outcome | None) -> bool:
    """Put down what became of the work; return whether it is due again."""
    match outcome:
        case Done():
            return claims.finish(work) is True
        case RetryAt(error=error) if error and work.attempt >= _max_attempts(work.kind):
            _give_up(work, error)
        case RetryAt(due_at=due_at, error=error):
            queue = _queue_of(work.kind)
            return claims.release(work, due_at=due_at, error=error, queue=queue) is True
        case GiveUp(error=error):
            _give_up(work, error)
        case Settled(again=again):
            return again
    return False


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


def _queue_of(kind: str) -> str | None:
    try:
        return handlers.lookup(kind).queue
    except handlers.UnknownKind:
        return None


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
