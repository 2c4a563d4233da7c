"""Going on with a failed `map` or `parallel`: what ended well stays, the rest begins again.

A branch or item that failed is repeated from its own failed step, as a run is. Its row gets a new
token, so that a worker that still carries what was canceled commits nothing more.
"""

from datetime import datetime
from typing import Final

from django.db import connection

from workflows.due import ask_for
from workflows.fanning import CONCURRENCY
from workflows.models import FanOut, Lane, LaneStatus, StepRun, StepStatus
from workflows.step_rows import moment_of

# `begun` says from which of its own steps each lane that did not succeed is repeated; `inside`
# to which of the lanes of the step any lane belongs, however deep it stands.
_SUPERSEDE: Final = """
WITH again AS (
    SELECT id, error ->> 'step' AS blamed FROM workflows_lane
     WHERE fan_out_id = %(fan_out)s AND status <> 'succeeded'),
begun AS (
    SELECT again.id, max(row.sequence) AS sequence
      FROM again JOIN workflows_steprun row ON row.lane = again.id
     WHERE row.run_id = %(run)s AND NOT row.superseded
       AND CASE WHEN again.blamed IS NULL THEN row.status IN ('failed', 'canceled', 'lost')
                ELSE row.step = again.blamed END
     GROUP BY again.id),
inside AS (
    SELECT lane.id, coalesce(nullif(split_part(lane.lineage, '/', 1), ''), lane.id) AS outermost
      FROM workflows_lane lane WHERE lane.run_id = %(run)s)
UPDATE workflows_steprun row SET superseded = true
  FROM inside LEFT JOIN begun ON begun.id = inside.outermost
 WHERE row.run_id = %(run)s AND NOT row.superseded AND row.lane = inside.id
   AND (row.sequence >= begun.sequence
        OR inside.outermost NOT IN (SELECT id FROM workflows_lane WHERE fan_out_id = %(fan_out)s)
           AND row.sequence > %(after)s)
"""
_AGAIN: Final = """
UPDATE workflows_lane
   SET status = 'ready', token = nextval('public.ledger_token'), output = NULL, error = NULL,
       resume_at = NULL, started_at = NULL, finished_at = NULL
 WHERE fan_out_id = %s AND status <> 'succeeded'
"""


def can_reopen(row: StepRun) -> bool:
    """Tell whether a failed step of the run itself has branches or items to go on with."""
    failed = row.status in {StepStatus.FAILED, StepStatus.CANCELED}
    return bool(failed and not row.lane and (row.waiting or {}).get("fan_out"))


def reopen(row: StepRun, now: datetime) -> None:
    """Let the step wait again for the branches and items that did not succeed.

    Whatever else began after the step is superseded. In the caller's transaction, which holds
    the run's row.
    """
    fan_out = FanOut.objects.select_for_update().get(id=(row.waiting or {})["fan_out"])
    known: dict[str, str | int] = {
        "run": row.run_id,
        "fan_out": fan_out.id,
        "after": row.sequence,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SUPERSEDE, known)
        cursor.execute(_AGAIN, [fan_out.id])
    later = StepRun.objects.filter(run=row.run_id, superseded=False, lane="")
    later.filter(sequence__gt=row.sequence).update(superseded=True)
    _begin(fan_out, row)
    _wait(row, now)


def _begin(fan_out: FanOut, row: StepRun) -> None:
    """Ask for as many as may run at once, in their order."""
    at_once = (row.input or {}).get("max_concurrency", CONCURRENCY)
    concurrency = fan_out.total if row.kind == "parallel" else int(at_once)
    ready = Lane.objects.filter(fan_out=fan_out, status=LaneStatus.READY).order_by("index")
    first = list(ready[:concurrency])
    Lane.objects.filter(id__in=[lane.id for lane in first]).update(status=LaneStatus.QUEUED)
    fan_out.succeeded = Lane.objects.filter(fan_out=fan_out, status=LaneStatus.SUCCEEDED).count()
    fan_out.failed = 0
    fan_out.started = first[-1].index + 1 if first else fan_out.total
    fan_out.closed = False
    fan_out.save(update_fields=["succeeded", "failed", "started", "closed"])
    for lane in first:
        ask_for(row.run_id, lane.id)


def _wait(row: StepRun, now: datetime) -> None:
    waiting = dict(row.waiting or {})
    limit = moment_of(waiting.get("limit"))
    if limit is not None:
        waiting["limit"] = (now + (limit - row.started_at)).isoformat()
    row.status = StepStatus.WAITING
    row.waiting = waiting
    row.error = row.output = row.finished_at = None
    row.save(update_fields=["status", "waiting", "error", "output", "finished_at"])
