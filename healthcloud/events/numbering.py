"""Sequence numbers without gaps, in the order of commits, given by whoever reads.

A writer only inserts. A reader takes the tenant's advisory lock and numbers the rows that are
committed and not yet numbered; a row of a transaction that commits later gets a later number, so
a consumer that has seen number n never misses a smaller one. Rows that are found together are
numbered in order of insertion, which keeps the order of transactions that did not overlap.
"""

from dataclasses import replace
from typing import Final

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import Max

from healthcloud.events.models import Event
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import Scope, active_scope, tenant_scope

BATCH: Final = 5000
RETENTION_KIND: Final = "events.retention"
RETENTION_EVERY: Final = 1000
LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
NUMBER: Final = """
WITH fresh AS (
    SELECT position, row_number() OVER (ORDER BY position) AS step
      FROM (SELECT position FROM events_event WHERE sequence IS NULL
             ORDER BY position LIMIT %s) AS unnumbered),
     latest AS (SELECT coalesce(max(sequence), 0) AS sequence FROM events_event)
UPDATE events_event SET sequence = latest.sequence + fresh.step
  FROM fresh, latest WHERE events_event.position = fresh.position
"""


def whole_tenant(scope: Scope) -> Scope:
    """Return the same tenant without a project, as numbering and dispatch see it."""
    return replace(scope, project_id=None, project_number=None)


def number_committed() -> int:
    """Number what is committed in the active tenant and return the last number; safe to repeat.

    Call inside `tenant_scope`. The lock is held until the caller's transaction ends.
    """
    with tenant_scope(whole_tenant(active_scope())) as scope:
        if not Event.objects.filter(sequence__isnull=True).exists():
            return last_number()
        with connection.cursor() as cursor:
            # Two statements: the second must see what was committed while the first waited.
            cursor.execute(LOCK, [lock_name(scope)])
            numbered = step = _number_batch(cursor)
            while step == BATCH:
                step = _number_batch(cursor)
                numbered += step
        last = last_number()
        ask_for_retention(scope, last - numbered, last)
        return last


def lock_name(scope: Scope) -> str:
    """Return the name of the lock under which a tenant's events are numbered."""
    return f"healthcloud.events.{scope.schema}"


def _number_batch(cursor: CursorWrapper) -> int:
    cursor.execute(NUMBER, [BATCH])
    return int(cursor.rowcount)


def ask_for_retention(scope: Scope, before: int, last: int) -> None:
    """Ask for a look at what is too old, with the first event and each thousandth."""
    if before // RETENTION_EVERY != last // RETENTION_EVERY or (before == 0 and last > 0):
        enqueue(
            scope=scope,
            kind=RETENTION_KIND,
            ref=scope.environment_id,
            queue="bulk",
            dedupe_key="retention",
        )


def number_visible() -> None:
    """Number what the active scope can see and is not numbered; cheap when there is nothing."""
    if Event.objects.filter(sequence__isnull=True).exists():
        number_committed()


def last_number() -> int:
    """Return the highest number given in the active tenant, 0 when there is none."""
    return Event.objects.aggregate(last=Max("sequence"))["last"] or 0
