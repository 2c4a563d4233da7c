"""What events say of runs: ids, counts and times."""

from datetime import datetime

from healthcloud.events.services import Happening
from workflows.models import Run, StepRun
from workflows.state import StepError


def facts(run: Run) -> dict[str, object]:
    """Return what events say of a run."""
    return {"run_id": run.id, "workflow_id": run.slug, "version": run.number}


def timed(run: Run) -> dict[str, object]:
    """Return what events say of a run that ended."""
    began = run.started_at or run.created_at
    ended = run.finished_at or began
    milliseconds = max(0, round((ended - began).total_seconds() * 1000))
    return facts(run) | {"duration_ms": milliseconds, "trigger": run.trigger_kind}


def ending(run: Run) -> Happening:
    """Return the event that says how a run ended."""
    payload = timed(run)
    if run.error is not None:
        payload |= {"code": run.error["code"]}
        payload |= {"step_id": run.error["step"]} if run.error.get("step") else {}
    return f"workflow.{run.status}", payload, run.finished_at or run.created_at


def step_ended(run: Run, row: StepRun, error: StepError | None, now: datetime) -> Happening:
    """Return the event that says how an attempt of a step ended."""
    payload = facts(run) | {
        "step_id": row.step,
        "kind": row.kind,
        "attempt": row.attempt,
        "duration_ms": max(0, round((now - row.started_at).total_seconds() * 1000)),
    }
    payload.pop("version")
    if row.iteration:
        payload["iteration"] = row.iteration
    if error is None:
        return "workflow.step.completed", payload, now
    return "workflow.step.failed", payload | {"code": error.code}, now


def waiting(run: Run, row: StepRun, now: datetime) -> Happening:
    """Return the event that says what a run waits for."""
    wait = row.waiting or {}
    reasons = {"task": "task", "signal": "signal", "event": "event", "child": "workflow"}
    reason = next((word for name, word in reasons.items() if wait.get(name)), "timer")
    payload = facts(run) | {"step_id": row.step, "reason": reason}
    if wait.get("task"):
        payload["task_id"] = wait["task"]
    return "workflow.waiting", payload, now
