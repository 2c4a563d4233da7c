"""Ask for work, and bring dead letters back: the writes that other rooms make in the ledger."""

from datetime import datetime
from typing import Final

from django.db import connection, transaction

from healthcloud.errors import Conflict, NotFound
from healthcloud.ledger import doorbell
from healthcloud.ledger.models import DueWork, Queue
from healthcloud.tenancy.backend.ahead import Rows
from healthcloud.tenancy.batch import send_later
from healthcloud.tenancy.pipeline import Statement
from healthcloud.tenancy.scope import Scope

_ENQUEUE: Final = """
SELECT asked.due_at <= clock_timestamp()
  FROM public.ledger_enqueue(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) asked
"""
_REPLAY: Final = """
UPDATE public.ledger_duework
   SET state = 'ready', due_at = clock_timestamp(), attempts = 0, rung_at = NULL
 WHERE id = %s AND environment_id = %s AND state = 'dead'
   AND NOT EXISTS (
       SELECT 1 FROM public.ledger_duework other
        WHERE other.environment_id = ledger_duework.environment_id
          AND other.kind = ledger_duework.kind AND other.dedupe_key = ledger_duework.dedupe_key
          AND other.state <> 'dead')
RETURNING queue
"""


class DeadLetterNotFound(NotFound):
    """No dead letter of that id in this environment."""

    def __init__(self, work_id: int) -> None:
        super().__init__(f"There is no dead letter {work_id} in this environment.")


class AlreadyQueued(Conflict):
    """The same work is queued again already."""

    def __init__(self, work_id: int) -> None:
        super().__init__(f"The work of dead letter {work_id} is queued again already.")


def enqueue(
    *,
    scope: Scope,
    kind: str,
    ref: str,
    queue: str = Queue.CONTROL,
    due_at: datetime | None = None,
    dedupe_key: str | None = None,
) -> None:
    """Ask for `kind` to be done for `ref` (an id, never PHI), at `due_at` or at once.

    Commits with the caller's transaction and rings after it. With a `dedupe_key` there is at
    most one such row per environment and kind: asking again makes it due no later than asked,
    and when a worker holds it just now, it is looked at once more afterwards.
    """
    if queue not in Queue.values:
        raise ValueError(f"unknown queue {queue!r}: use one of {', '.join(Queue.values)}")
    parameters = (
        scope.organization_id,
        scope.environment_id,
        scope.environment,
        scope.schema,
        scope.project_id,
        scope.project_number,
        kind,
        ref,
        queue,
        due_at,
        dedupe_key,
    )
    if due_at is None:
        send_later(_ENQUEUE, parameters, prepare=True)
        doorbell.ring_after_commit(queue)
        return
    rows: Rows = []
    send_later(_ENQUEUE, parameters, then=rows.extend, prepare=True)
    transaction.on_commit(lambda: _ring_if_due(queue, rows), robust=True)


def _ring_if_due(queue: str, rows: Rows) -> None:
    if rows and rows[0][0]:
        doorbell.ring(queue)


def enqueuing(*, scope: Scope, kind: str, ref: str, queue: str) -> Statement:
    """Return the statement that asks for work at once, one row a `ref`, as `enqueue` does.

    For who writes in one group of statements; ring the queue after the commit.
    """
    owner = (scope.organization_id, scope.environment_id, scope.environment, scope.schema)
    work = (scope.project_id, scope.project_number, kind, ref, queue, None, ref)
    return Statement(_ENQUEUE, (*owner, *work), prepare=True)


def asking(*, scope: Scope, kind: str, ref: str) -> Statement:
    """Return a row source that enqueues work at once when a statement reads it, once per `ref`.

    `ref` is an SQL expression. Where the row has come, ring its `queue` after the commit.
    """
    sql = (
        "public.ledger_enqueue(%s::text, %s::text, %s::text, %s::text, %s::text, %s::integer,"
        f" %s::text, {ref}, %s::text, NULL, {ref})"
    )
    place = (scope.organization_id, scope.environment_id, scope.environment, scope.schema)
    project = (scope.project_id, scope.project_number)
    return Statement(sql, (*place, *project, kind, str(Queue.CONTROL)))


def discard(*, work_id: int, environment_id: str) -> None:
    """Delete a dead letter; raise DeadLetterNotFound."""
    dead = DueWork.objects.filter(
        id=work_id, environment_id=environment_id, state=DueWork.State.DEAD
    )
    if not dead.delete()[0]:
        raise DeadLetterNotFound(work_id)


def replay(*, work_id: int, environment_id: str) -> None:
    """Make a dead letter ready again, with all its attempts.

    Raises DeadLetterNotFound, or AlreadyQueued when the same work was asked for meanwhile.
    """
    with connection.cursor() as cursor:
        cursor.execute(_REPLAY, (work_id, environment_id))
        row = cursor.fetchone()
    if row is None:
        dead = DueWork.objects.filter(
            id=work_id, environment_id=environment_id, state=DueWork.State.DEAD
        )
        raise AlreadyQueued(work_id) if dead.exists() else DeadLetterNotFound(work_id)
    doorbell.ring_after_commit(row[0])
