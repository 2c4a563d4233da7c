"""Claim work with a lease and a fencing token, extend, and settle it: all by the database's clock.

A claim looks at the tenants in turn, beginning after the one served last, so that ten thousand
rows of one tenant don't stand before the single row of another.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from weakref import WeakKeyDictionary

from django.db import connection

from healthcloud.ledger.handlers import ClaimedWork
from healthcloud.tenancy.scope import Scope

# A loose index scan over the tenants of a queue, rotated to begin after the last one served; the
# lateral join then stops at the first tenant that has room and due work.
_CLAIM: Final = """
WITH RECURSIVE tenants(environment_id) AS (
    (SELECT environment_id FROM public.ledger_duework
      WHERE queue = %(queue)s AND state <> 'dead' ORDER BY environment_id LIMIT 1)
    UNION ALL
    SELECT (SELECT w.environment_id FROM public.ledger_duework w
             WHERE w.queue = %(queue)s AND w.state <> 'dead'
               AND w.environment_id > tenants.environment_id
             ORDER BY w.environment_id LIMIT 1)
      FROM tenants WHERE tenants.environment_id IS NOT NULL
), turns AS MATERIALIZED (
    SELECT environment_id FROM tenants WHERE environment_id IS NOT NULL
     ORDER BY environment_id <= %(after)s, environment_id
), picked AS MATERIALIZED (
    SELECT due.id FROM turns CROSS JOIN LATERAL (
        SELECT w.id FROM public.ledger_duework w
         WHERE w.queue = %(queue)s AND w.environment_id = turns.environment_id
           AND w.state <> 'dead'
           AND w.visible_at <= clock_timestamp() + make_interval(secs => %(ahead)s)
           AND (SELECT count(*) FROM public.ledger_duework r
                 WHERE r.environment_id = turns.environment_id AND r.state = 'running'
                   AND r.lease_until > clock_timestamp()) < %(cap)s
         ORDER BY w.visible_at, w.id LIMIT 1 FOR UPDATE SKIP LOCKED) due
     LIMIT 1
)
UPDATE public.ledger_duework claimed
   SET state = 'running', token = nextval('public.ledger_token'), attempts = attempts + 1,
       lease_until = clock_timestamp() + make_interval(secs => %(lease)s), rung_at = NULL
  FROM picked WHERE claimed.id = picked.id
RETURNING claimed.id, claimed.organization_id, claimed.environment_id, claimed.environment,
          claimed.schema, claimed.project_id, claimed.project_number, claimed.kind, claimed.ref,
          claimed.token, claimed.attempts, clock_timestamp() + make_interval(secs => %(ahead)s)
"""
_EXTEND: Final = """
UPDATE public.ledger_duework
   SET lease_until = clock_timestamp() + make_interval(secs => %s),
       attempts = CASE WHEN %s THEN 1 ELSE attempts END
 WHERE id = %s AND token = %s AND state = 'running'
"""
_FINISH: Final = """
DELETE FROM public.ledger_duework WHERE id = %s AND token = %s AND state = 'running'
   AND rung_at IS NULL
"""
_RELEASE: Final = """
UPDATE public.ledger_duework
   SET state = 'ready', due_at = LEAST(rung_at, %s), lease_until = NULL, rung_at = NULL,
       attempts = CASE WHEN %s = '' THEN 0 ELSE attempts END, last_error = %s
 WHERE id = %s AND token = %s AND state = 'running'
RETURNING due_at <= clock_timestamp()
"""
_BURY: Final = """
UPDATE public.ledger_duework
   SET state = 'dead', lease_until = NULL, rung_at = NULL, last_error = %s
 WHERE id = %s AND token = %s AND state = 'running'
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


def claim(queue: str, *, after: str, terms: Terms) -> ClaimedWork | None:
    """Take the next due work of `queue`, beginning with the tenant that follows `after`."""
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "queue": queue,
                "after": after,
                "ahead": terms.ahead.total_seconds(),
                "lease": terms.lease.total_seconds(),
                "cap": terms.tenant_cap,
            },
        )
        row = cursor.fetchone()
    if row is None:
        return None
    work_id, *owner, kind, ref, token, attempt, now = row
    return ClaimedWork(work_id, Scope(*owner), kind, ref, token, attempt, now)


def extend(work: ClaimedWork, *, lease: timedelta, progressed: bool) -> bool:
    """Renew the lease; False means that the work is no longer ours."""
    return _change(_EXTEND, (lease.total_seconds(), progressed, work.id, work.token))


def finish(work: ClaimedWork) -> bool:
    """Delete the finished work, or make it due at once if it was rung for meanwhile.

    False means that the work is no longer ours.
    """
    if _change(_FINISH, (work.id, work.token)):
        return True
    return release(work, due_at=None, error="") is not None


def release(work: ClaimedWork, *, due_at: datetime | None, error: str) -> bool | None:
    """Put the work back until `due_at`; return whether it is due already, None if not ours."""
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, (due_at, error, error[:200], work.id, work.token))
        row = cursor.fetchone()
    return None if row is None else bool(row[0])


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
