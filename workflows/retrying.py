"""Repeating: a run goes on from the step that failed, or a new one starts with edited input.

What finished before is reused, also the branches and items of the failed step that ended well,
unless the step is named. The version may be a newer one if nothing before that step differs.
Steps whose effects were compensated, and those whose data was dropped, are repeated too.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Max, Min, Q, QuerySet

from healthcloud.actors import Actor
from healthcloud.errors import BadRequest, Conflict
from healthcloud.events.services import publish
from workflows import published, queries
from workflows.due import ask
from workflows.models import Lane, Run, RunStatus, StepRun, StepStatus, WorkflowVersion
from workflows.reopening import can_reopen, reopen
from workflows.runs import locked, note, start
from workflows.telling import facts

Rows = QuerySet[StepRun]


class CannotRetry(Conflict):
    """The run can't be repeated as asked."""


@transaction.atomic
def retry(
    *,
    run_id: str,
    actor: Actor,
    now: datetime,
    from_step: str | None = None,
    version: int | None = None,
) -> Run:
    """Run the failed step again, or `from_step` and all after it; finished ones are reused.

    Of a failed `map` or `parallel` only what did not succeed is repeated, or all of it where
    `from_step` names it. The run stays on its version unless another is named, which must not
    differ before that step.
    Raises RunNotFound, CannotRetry, VersionNotFound, BadRequest.
    """
    run = locked(run_id)
    if run.status not in {RunStatus.FAILED, RunStatus.CANCELED}:
        raise CannotRetry(f"Run `{run.id}` is {run.status}; only failed or canceled runs restart.")
    rows = StepRun.objects.filter(run=run, superseded=False)
    first = _first_to_repeat(run, rows, from_step)
    if first is not None and version is not None:
        first = _move(run, rows, first, queries.version(run.workflow, version))
    if first is not None:
        whole = from_step is not None or version is not None
        _repeat(rows, first, now, whole=whole)
    run.deadline_at = published.deadline(run.version_id, now)
    run.status = RunStatus.QUEUED
    run.restarts += 1
    run.error = run.output = run.finished_at = None
    run.save()
    ask(run)
    payload = facts(run) | {"trigger": "retry"}
    publish(type="workflow.started", payload=payload, actor=actor, now=now)
    note("workflow.retry", run, actor, now, from_step=from_step)
    return run


@transaction.atomic
def rerun(
    *, run_id: str, actor: Actor, now: datetime, input: Mapping[str, Any] | None = None
) -> Run:
    """Start a new run of the same workflow, with the same input or an edited one."""
    earlier = queries.run(run_id)
    return start(
        actor=actor,
        workflow=earlier.slug,
        input=earlier.input if input is None else input,
        metadata={**earlier.metadata, "rerun_of": earlier.id},
        now=now,
        trigger="rerun",
    )


def _first_to_repeat(run: Run, rows: Rows, from_step: str | None) -> int | None:
    """Return the sequence number of the first row to repeat; None when nothing ran."""
    main = rows.filter(lane="")
    if from_step is not None:
        first = rows.filter(step=from_step).order_by("sequence").first()
        if first is None:
            raise BadRequest(f"The run did not come to a step `{from_step}`.", param="from_step")
        if first.lane:
            around = Lane.objects.get(id=first.lane).path
            name = around.rpartition("/")[2]
            raise BadRequest(
                f"`{from_step}` stands in a branch or item of `{name}`: repeat from that.",
                param="from_step",
            )
        found: int | None = first.sequence
    else:
        failed = (run.error or {}).get("step")
        ended = (StepStatus.FAILED, StepStatus.CANCELED)
        blamed = main.filter(step=failed) if failed else main.filter(status__in=ended)
        found = blamed.aggregate(last=Max("sequence"))["last"]
    return None if found is None else min([found, *_undone(rows, found)])


def _repeat(rows: Rows, first: int, now: datetime, *, whole: bool) -> None:
    """Supersede what is repeated; a failed `map` or `parallel` goes on, if not repeated `whole`."""
    row = None if whole else rows.filter(sequence=first, lane="").first()
    if row is not None and can_reopen(row) and not _gone_inside(rows, row):
        reopen(row, now)
    else:
        rows.filter(sequence__gte=first).update(superseded=True)


def _gone_inside(rows: Rows, row: StepRun) -> bool:
    """Tell whether effects or data of branches or items that ended well are gone."""
    inside = rows.filter(path__startswith=f"{row.path}/")
    return inside.filter(Q(sensitive=True) | Q(path__contains="/compensate/")).exists()


def _undone(rows: Rows, before: int) -> list[int]:
    """Return the rows before a place whose effects or data are gone: they are repeated too."""
    compensations = rows.filter(path__contains="/compensate/").values_list("path", flat=True)
    paths = {path.partition("/compensate/")[0] for path in compensations}
    effects = rows.filter(path__in=paths)
    several = effects.exclude(lane="", iteration="").values_list("path", flat=True)
    around = {path.partition("/")[0] for path in several}  # a step is repeated with all in it
    begun = effects.filter(lane="", iteration="") | rows.filter(path__in=around)
    undone = begun.aggregate(first=Min("sequence"))["first"]
    secret = rows.filter(sensitive=True, sequence__lt=before)
    dropped = secret.aggregate(first=Min("sequence"))["first"]
    return [sequence for sequence in (undone, dropped) if sequence is not None]


def _move(run: Run, rows: Rows, first: int, version: WorkflowVersion) -> int:
    """Put the run on another version that is the same up to the step to repeat."""
    row = rows.filter(sequence=first).order_by("id")[0]
    top = row.path.partition("/")[0]
    old, new = run.version.definition["steps"], version.definition["steps"]
    place = next((n for n, step in enumerate(old) if step["id"] == top), None)
    same = place is not None and old[:place] == new[:place] and len(new) > place
    if not same or place is None or new[place]["id"] != top:
        raise CannotRetry(
            f"Version {version.number} differs from version {run.number} before step `{top}`:"
            " what ran before can't be reused. Start a new run instead.",
        )
    run.version, run.number = version, version.number
    begun = rows.filter(lane="", path=top).aggregate(first=Min("sequence"))["first"]
    return int(min(first, begun) if begun is not None else first)
