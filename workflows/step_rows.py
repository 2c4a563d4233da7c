"""The rows of a run's steps: which a worker can see, and the statements that write them."""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from django.db.models import Q, QuerySet

from healthcloud.tenancy.batch import send_later
from healthcloud.tenancy.pipeline import Statement
from workflows import lanes, stored
from workflows.lanes import Holder
from workflows.models import Run, StepRun
from workflows.state import Json, Waiting

_MAIN: Final = r"^(r\d+(\.r\d+)*)?$"  # rounds of loops, but no items: those are lanes
# The token in the row is that of who wrote last. Only who has seen that writes next, so that of
# two workers that carry the run at once one alone commits.
FENCE: Final = """
WITH held AS (
    UPDATE workflows_run
       SET token = %s, size = size + %s, started_at = coalesce(started_at, %s), resume_at = %s,
           status = %s, output = %s::jsonb, error = %s::jsonb, finished_at = %s
     WHERE id = %s AND token = %s AND restarts = %s AND NOT status = ANY(%s::text[]) RETURNING 1)
SELECT public.must_hold((SELECT count(*) FROM held))
"""
FENCE_LANE: Final = """
WITH held AS (
    UPDATE workflows_lane
       SET token = %s, size = size + %s, started_at = coalesce(started_at, %s), resume_at = %s,
           status = %s, output = %s::jsonb, error = %s::jsonb, finished_at = %s
     WHERE id = %s AND token = %s AND NOT status = ANY(%s::text[]) RETURNING 1)
SELECT public.must_hold((SELECT count(*) FROM held))
"""
# One plan for any number of rows: a list for each column.
_INSERT_MANY: Final = """
INSERT INTO workflows_steprun (project_id, id, run_id, sequence, step, path, kind, iteration, lane,
                               sensitive, attempt, status, superseded, input, output, error,
                               waiting, due_at, started_at, finished_at)
SELECT project_id, id, run_id, sequence::integer, step, path, kind, iteration, lane,
       sensitive::boolean, attempt::integer, status, superseded::boolean, input::jsonb,
       output::jsonb, error::jsonb, waiting::jsonb, due_at::timestamptz, started_at::timestamptz,
       finished_at::timestamptz
  FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
              %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
              %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
       AS rows (project_id, id, run_id, sequence, step, path, kind, iteration, lane, sensitive,
                attempt, status, superseded, input, output, error, waiting, due_at, started_at,
                finished_at)
"""
_UPDATE_STEP: Final = """
UPDATE workflows_steprun
   SET status = %s, output = %s::jsonb, error = %s::jsonb, waiting = %s::jsonb, due_at = %s,
       finished_at = %s
 WHERE id = %s
"""


def insert(rows: Sequence[StepRun]) -> None:
    """Write new rows with the next statement or the commit."""
    if rows:
        statement = inserting(rows)
        send_later(statement.sql, statement.params, prepare=True)


def inserting(rows: Sequence[StepRun]) -> Statement:
    """Return the statement that writes new rows, for who writes in one group of statements."""
    columns = zip(*(_values(row) for row in rows), strict=True)
    texts = [[None if value is None else str(value) for value in column] for column in columns]
    return Statement(_INSERT_MANY, texts, prepare=True)


def update(row: StepRun) -> None:
    """Write what changed in a row with the next statement or the commit."""
    jsons = [as_json(row.output), as_json(row.error), as_json(row.waiting)]
    send_later(
        _UPDATE_STEP, [row.status, *jsons, row.due_at, row.finished_at, row.id], prepare=True
    )


def waiting_json(waiting: Waiting) -> Json:
    """Return the JSON form of what a step waits for; what it does not wait for is left out."""
    kept: Json = {
        "until": _stamp(waiting.until),
        "signal": waiting.signal,
        "task": waiting.task,
    }
    more = {
        "event": waiting.event,
        "fan_out": waiting.fan_out,
        "child": waiting.child,
        "escalate_at": _stamp(waiting.escalate_at),
        "limit": _stamp(waiting.limit),
    }
    return kept | {name: value for name, value in more.items() if value is not None}


def waiting_of(value: Any) -> Waiting | None:  # noqa: ANN401  # JSON
    if not value:
        return None
    return Waiting(
        until=moment_of(value.get("until")),
        signal=value.get("signal"),
        task=value.get("task"),
        event=value.get("event"),
        fan_out=value.get("fan_out"),
        child=value.get("child"),
        escalate_at=moment_of(value.get("escalate_at")),
        limit=moment_of(value.get("limit")),
    )


def _stamp(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def moment_of(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def as_json(value: object) -> str | None:
    return None if value is None else json.dumps(value)


def _values(row: StepRun) -> list[object]:
    """Return a step's values in the order in which the columns are named."""
    return [
        row.project_id,
        row.id,
        row.run_id,
        row.sequence,
        row.step,
        row.path,
        row.kind,
        row.iteration,
        row.lane,
        row.sensitive,
        row.attempt,
        row.status,
        row.superseded,
        as_json(row.input),
        as_json(row.output),
        as_json(row.error),
        as_json(row.waiting),
        row.due_at,
        row.started_at,
        row.finished_at,
    ]


def visible(holder: Holder, kind: str, *, loops: bool = True) -> QuerySet[StepRun]:
    """Return the rows that a run, or one branch or item of it, can see.

    A lane sees its own rows, and those that ran around it; never those of other items. Without
    `loops` there are no rounds to look for, and an index finds the rows among ten thousand.
    """
    rows = StepRun.objects.filter(run=holder.run)
    own = lanes.inner_iteration(holder.lane, kind) if holder.lane is not None else ""
    if not own:
        return rows.filter(iteration__regex=_MAIN) if loops else rows.filter(iteration="")
    parts = own.split(".")
    around = Q(iteration__in=["", *(".".join(parts[: n + 1]) for n in range(len(parts)))])
    rounds = Q(iteration__regex=rf"^{re.escape(own)}(\.r\d+)+$")
    return rows.filter(around | rounds if loops else around)


def inside(run: Run, path: str, iteration: str) -> QuerySet[StepRun]:
    """Return the rows of all items of a map, and of what stands in them."""
    rows = StepRun.objects.filter(run=run, path__startswith=f"{path}/")
    if iteration:
        return rows.filter(iteration__startswith=f"{iteration}.")
    return rows.exclude(iteration="")


def load_outputs(rows: Iterable[StepRun]) -> None:
    """Put stored outputs back into their rows."""
    missing = {row: ref for row in rows if (ref := stored.reference_of(row.output)) is not None}
    if not missing:
        return
    values = stored.load(missing.values())
    for row, reference in missing.items():
        row.output = values.get(reference)
