"""Read the ledger: what is overdue, and what was given up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db import connection
from django.db.models import QuerySet

from healthcloud.ledger.models import DueWork
from healthcloud.tenancy.scope import Scope

_DUE: Final = """
SELECT queue, count(*), extract(epoch FROM clock_timestamp() - min(visible_at))::float8,
       count(*) FILTER (WHERE state = 'running')
  FROM public.ledger_duework
 WHERE state <> 'dead' AND visible_at <= clock_timestamp()
 GROUP BY queue ORDER BY queue
"""
_DUE_AMONG: Final = """
SELECT queue FROM unnest(%s::text[]) WITH ORDINALITY AS asked(queue, place)
 WHERE EXISTS (SELECT FROM public.ledger_duework w
                WHERE w.queue = asked.queue AND w.state <> 'dead'
                  AND w.visible_at <= clock_timestamp())
 ORDER BY place
"""
_LEFT_AMONG: Final = """
SELECT queue FROM unnest(%s::text[]) WITH ORDINALITY AS asked(queue, place)
 WHERE EXISTS (SELECT FROM public.ledger_duework w
                WHERE w.queue = asked.queue AND w.state = 'running'
                  AND w.visible_at <= clock_timestamp())
 ORDER BY place
"""
_NEXT: Final = """
SELECT extract(epoch FROM visible_at - clock_timestamp())::float8
  FROM public.ledger_duework WHERE state <> 'dead' AND visible_at > clock_timestamp()
 ORDER BY visible_at LIMIT 1
"""


_DEAD: Final = """
SELECT queue, count(*) FROM public.ledger_duework WHERE state = 'dead' GROUP BY queue ORDER BY queue
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much is due in one queue, and for how many seconds the oldest has been.

    `left` of it was left by workers that died.
    """

    queue: str
    due: int
    age: float
    left: int = 0


def backlogs() -> list[Backlog]:
    """Return the queues in which something is due (or was left behind), by name."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE)
        return [Backlog(*row) for row in cursor.fetchall()]


def dead_counts() -> dict[str, int]:
    """Return how many dead letters each queue holds, over all tenants."""
    with connection.cursor() as cursor:
        cursor.execute(_DEAD)
        return dict(cursor.fetchall())


def due_among(queues: Sequence[str]) -> list[str]:
    """Return those of the queues in which something is due, in their order."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE_AMONG, [list(queues)])
        return [queue for (queue,) in cursor.fetchall()]


def left_among(queues: Sequence[str]) -> list[str]:
    """Return those of the queues in which a lease ended and nobody took over, in their order."""
    with connection.cursor() as cursor:
        cursor.execute(_LEFT_AMONG, [list(queues)])
        return [queue for (queue,) in cursor.fetchall()]


def seconds_to_next() -> float | None:
    """Return how soon the next thing falls due that isn't due yet; None when nothing will."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT)
        row = cursor.fetchone()
    return None if row is None else float(row[0])


def dead_letters_of(scope: Scope) -> QuerySet[DueWork]:
    """Return the work that was given up in a project, or in a whole environment without one."""
    rows = dead_letters(environment_id=scope.environment_id)
    return rows if scope.project_id is None else rows.filter(project_id=scope.project_id)


def dead_letters(*, environment_id: str | None = None) -> QuerySet[DueWork]:
    """Return the work that was given up, in one environment or in all, newest first."""
    rows = DueWork.objects.filter(state=DueWork.State.DEAD).order_by("-id")
    return rows if environment_id is None else rows.filter(environment_id=environment_id)
