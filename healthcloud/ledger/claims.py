"""Claim work with a lease and a fencing token, extend, and settle it: all by the database's clock.

A claim looks at the tenants in turn, beginning after the one served last, so that ten thousand
rows of one tenant don't stand before the single row of another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from weakref import WeakKeyDictionary

from django.db import DatabaseError, connection

from healthcloud.ledger.handlers import Aside, ClaimedWork
from healthcloud.tenancy.batch import send_later
from healthcloud.tenancy.pipeline import NOT_HELD
from healthcloud.tenancy.scope import Scope, public_scope

_CLAIM: Final = "SELECT * FROM public.ledger_claim(%s, %s, %s, %s, %s)"
# Answers the work that is ours still, and whether it was renewed: a row that someone has locked
# just now is not waited for, as the leases of all others would wait with it.
_EXTEND: Final = """
WITH asked AS (
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::boolean[]) AS a(id, token, progressed)
), ours AS (
    SELECT w.id, a.progressed FROM public.ledger_duework w JOIN asked a USING (id, token)
     WHERE w.state = 'running'
), free AS (
    SELECT w.id FROM public.ledger_duework w JOIN asked a USING (id, token)
     WHERE w.state = 'running' FOR UPDATE OF w SKIP LOCKED
), renewed AS (
    UPDATE public.ledger_duework w
       SET lease_until = clock_timestamp() + make_interval(secs => %s),
           attempts = CASE WHEN ours.progressed THEN 1 ELSE attempts END
      FROM free JOIN ours USING (id) WHERE w.id = free.id
    RETURNING w.id
)
SELECT ours.id, EXISTS (SELECT FROM renewed WHERE renewed.id = ours.id) FROM ours
"""
_FINISH: Final = "SELECT public.ledger_finish(%s, %s)"
_FINISH_OR_FAIL: Final = """
SELECT again, public.must_hold((again IS NOT NULL)::int) FROM public.ledger_finish(%s, %s) AS again
"""
_MOVE_OR_FAIL: Final = """
SELECT public.must_hold(public.ledger_move(%s, %s, %s, %s)::int)
"""
_RELEASE: Final = """
UPDATE public.ledger_duework
   SET state = 'ready', due_at = LEAST(rung_at, %s), lease_until = NULL, rung_at = NULL,
       queue = coalesce(%s, queue),
       attempts = CASE WHEN %s = '' THEN 0 ELSE attempts END, last_error = %s
 WHERE id = %s AND token = %s AND state = 'running'
RETURNING due_at <= clock_timestamp()
"""
_BURY: Final = """
UPDATE public.ledger_duework
   SET state = 'dead', lease_until = NULL, rung_at = NULL, last_error = %s
 WHERE id = %s AND token = %s AND state = 'running'
"""
_ABSORB: Final = """
DELETE FROM public.ledger_duework
 WHERE id IN (SELECT id FROM public.ledger_duework
               WHERE environment_id = %s AND kind = %s AND state = 'ready' AND id <> %s
                 AND due_at <= clock_timestamp() AND ref ~ '^[0-9]+$'
               LIMIT 1000 FOR UPDATE SKIP LOCKED)
"""
_bounded: WeakKeyDictionary[object, str] = WeakKeyDictionary()  # connection → its bound


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a claim holds, how many one tenant may hold at once, and how far ahead to look.

    `ahead` treats work as due before its time; only `run_until_idle` uses it.
    """

    lease: timedelta
    tenant_cap: int
    ahead: timedelta = timedelta(0)


def claim(
    queue: str, *, after: str, terms: Terms, aside: Aside | None = None
) -> ClaimedWork | None:
    """Take the next due work of `queue`, beginning with the tenant that follows `after`.

    `aside` are the threads that the work may go on in when it comes to what mostly waits.
    """
    seconds = terms.lease.total_seconds()
    ahead = terms.ahead.total_seconds()
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [queue, after, seconds, terms.tenant_cap, ahead])
        row = cursor.fetchone()
    if row is None:
        return None
    work_id, *owner, kind, ref, token, attempt, now, more = row
    return ClaimedWork(work_id, Scope(*owner), kind, ref, token, attempt, now, more, aside)


def extend(asked: Sequence[tuple[ClaimedWork, bool]], *, lease: timedelta) -> dict[int, bool]:
    """Renew the leases of work, each with whether it has progressed; what is missing is not ours.

    Answers by id whether the lease was renewed; it is not where the row is locked just now.
    """
    ids = [work.id for work, _ in asked]
    tokens = [work.token for work, _ in asked]
    progress = [progressed for _, progressed in asked]
    with connection.cursor() as cursor:
        cursor.execute(_EXTEND, (ids, tokens, progress, lease.total_seconds()))
        return dict(cursor.fetchall())


def finish(work: ClaimedWork) -> bool | None:
    """Delete the finished work, or make it due at once if it was rung for meanwhile.

    Returns whether it is due again, None when it is no longer ours.
    """
    with connection.cursor() as cursor:
        cursor.execute(_FINISH, (work.id, work.token))
        (again,) = cursor.fetchone()
    return None if again is None else bool(again)


def finish_with_commit(work: ClaimedWork, then: Callable[[bool], object]) -> None:
    """Finish the work together with the transaction that does its last write.

    Called inside the tenant's scope. When the work is no longer ours the transaction fails with
    an error that `in_other_hands` knows; else `then` is told whether the work was rung for
    meanwhile, and is due again.
    """
    send_later(
        _FINISH_OR_FAIL,
        (work.id, work.token),
        then=lambda rows: then(rows[0][0]),
        prepare=True,
    )


def move_with_commit(work: ClaimedWork, queue: str, *, keep: bool) -> None:
    """Put the work into another queue together with the open transaction.

    With `keep` it stays ours, else whoever works on that queue may claim it. Called inside the
    tenant's scope; the transaction fails as that of `finish_with_commit` does.
    """
    send_later(_MOVE_OR_FAIL, (work.id, work.token, queue, keep), prepare=True)


def in_other_hands(error: DatabaseError) -> bool:
    """Say whether a transaction failed because someone else holds the work or its row."""
    return getattr(error.__cause__, "sqlstate", None) == NOT_HELD


def release(
    work: ClaimedWork, *, due_at: datetime | None, error: str, queue: str | None = None
) -> bool | None:
    """Put the work back until `due_at`; return whether it is due already, None if not ours.

    With a `queue` it waits there, wherever it was done.
    """
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, (due_at, queue, error, error[:200], work.id, work.token))
        row = cursor.fetchone()
    return None if row is None else bool(row[0])


def absorb(work: ClaimedWork) -> int:
    """Take along what else is due of this kind and tenant; return how much that was.

    For work that each transaction asks for under its own number and that is all done by one: what
    was asked for before it begins need not be done again. Asks nothing when nothing else is due.
    """
    if not work.more:
        return 0
    with public_scope(), connection.cursor() as cursor:
        cursor.execute(_ABSORB, (work.scope.environment_id, work.kind, work.id))
        return int(cursor.rowcount)


def bury(work: ClaimedWork, *, error: str) -> bool:
    """Keep the work as a dead letter; False means that it is no longer ours."""
    return _change(_BURY, (error[:200], work.id, work.token))


def bound_idle_transactions(limit: timedelta) -> None:
    """Let the database end a transaction of this connection that does nothing for `limit`.

    A worker that is paused in the middle of a transaction would hold its row locks, and keep
    the worker that takes over waiting, for as long as it sleeps.
    """
    milliseconds = str(round(limit.total_seconds() * 1000))
    with connection.cursor() as cursor:
        if _bounded.get(cursor.connection) == milliseconds:
            return
        cursor.execute(
            "SELECT set_config('idle_in_transaction_session_timeout', %s, false)", [milliseconds]
        )
        if not connection.in_atomic_block:  # else the setting may be rolled back
            _bounded[cursor.connection] = milliseconds


def _change(sql: str, parameters: tuple[str | int | float, ...]) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return bool(cursor.rowcount == 1)
