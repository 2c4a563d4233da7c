"""How a run ends, whoever ends it: what is open is closed, secrets go, others are told.

A run ends in one place, in the caller's transaction: its branches, items, tasks and child runs
are canceled, sensitive data is dropped, the run that waits for it is asked for, and the next
one that a limit held back may begin.
"""

from datetime import datetime

from healthcloud.actors import Actor
from healthcloud.events.doorbell import say_after_commit
from healthcloud.events.services import publish, publish_all
from workflows import lanes
from workflows.admission import release_next
from workflows.due import ask, ask_for
from workflows.models import FINAL, Run, RunStatus, StepRun, StoredValue
from workflows.state import Json
from workflows.telling import ending, timed


def actor_of(run: Run) -> Actor:
    """Return the run as the doer of what its steps do."""
    return Actor("workflow", run.id, f"{run.slug} v{run.number}")


def end_run(
    run: Run, status: str, now: datetime, *, output: object = None, error: Json | None = None
) -> None:
    """Write the end of a run and publish it, in the caller's transaction."""
    run.status = status
    run.output = output
    run.error = error
    run.finished_at = max(now, run.started_at or now)  # by another clock
    run.resume_at = None
    run.save(update_fields=["status", "output", "error", "finished_at", "resume_at"])
    close_open(run, now)
    wind_up(run, now, sensitive=True)
    publish_all([ending(run)], actor=actor_of(run))
    say_after_commit(run.id)


def cancel_run(run: Run, actor: Actor, now: datetime) -> None:
    """End a run whose row is locked as canceled, with all that is open in it."""
    run.status = RunStatus.CANCELED
    run.finished_at = max(now, run.started_at or now)  # by another clock
    run.resume_at = None
    run.held = False
    run.save(update_fields=["status", "finished_at", "resume_at", "held"])
    close_open(run, now)
    wind_up(run, now, sensitive=True)
    ask(run)
    publish(type="workflow.canceled", payload=timed(run), actor=actor, now=now)
    say_after_commit(run.id)


def close_open(run: Run, now: datetime, path: str = "", iteration: str = "") -> None:
    """Cancel what is open under a step, or in the whole run; child runs too."""
    for child_id in lanes.close(run, path, iteration, now):
        cancel_child(child_id, run, now)


def cancel_child(child_id: str, run: Run, now: datetime) -> None:
    """Cancel a child run that is not over."""
    child = Run.objects.select_for_update(no_key=True).filter(id=child_id).first()
    if child is not None and child.status not in FINAL:
        cancel_run(child, actor_of(run), now)


def wind_up(run: Run, now: datetime, *, sensitive: bool) -> None:
    """Do what follows the end of any run: forget, tell the parent, let the next one begin."""
    if sensitive:
        forget(run)
    if run.parent:
        ask_for(run.parent, run.parent_lane)
    if run.limit_key is not None:
        release_next(run)


def forget(run: Run) -> None:
    """Drop inputs and outputs of the sensitive steps of a run that is over."""
    StepRun.objects.filter(run=run, sensitive=True).update(input=None, output=None)
    StoredValue.objects.filter(run=run, sensitive=True).update(content=None)
