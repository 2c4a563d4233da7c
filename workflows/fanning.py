"""Branches and items: how many run at once, how many must end well, what they give. Pure."""

from typing import Final

from workflows.definition import Step
from workflows.state import FanOut, FanOutState, Frame, Json, Record, StepError

MAX_ITEMS: Final = 10_000
CONCURRENCY: Final = 10
_MAX_ERRORS: Final = 20


def begin_fan_out(step: Step, attempt: int, arguments: Json, frame: Frame) -> FanOut | Record:
    """Return what begins the branches of a `parallel` or the items of a `map`."""
    if step.kind == "parallel":
        return _branches(step, attempt, arguments, frame)
    items = arguments.get("items")
    if items is None:
        items = []
    if not isinstance(items, list):
        error = StepError("not_a_list", f"`items` is not a list but {type(items).__name__}.")
        return Record(step, attempt, "failed", error=error, iteration=frame.iteration)
    if len(items) > MAX_ITEMS:
        message = f"The list has {len(items)} items; a map takes at most {MAX_ITEMS}."
        error = StepError("too_many_items", message, remedy="Search in pages, or split the list.")
        return Record(step, attempt, "failed", error=error, iteration=frame.iteration)
    given = {**arguments, "items": len(items)}
    if not items:
        output = fan_out_output(step, FanOutState(0))
        return Record(
            step, attempt, "succeeded", input=given, output=output, iteration=frame.iteration
        )
    return FanOut(
        step=step,
        attempt=attempt,
        input=given,
        items=tuple(items),
        concurrency=int(arguments.get("max_concurrency", CONCURRENCY)),
        needed=None,
        tolerated=_tolerated(arguments.get("tolerate", 0), len(items)),
        iteration=frame.iteration,
    )


def _branches(step: Step, attempt: int, arguments: Json, frame: Frame) -> FanOut:
    count = len(step.branches)
    join = arguments.get("join", "all")
    needed = {"all": count, "any": 1}.get(join) or int(join)
    return FanOut(
        step=step,
        attempt=attempt,
        input=arguments,
        items=(frame.item,) * count,
        concurrency=count,
        needed=needed,
        tolerated=count - needed,
        iteration=frame.iteration,
    )


def _tolerated(value: object, count: int) -> int:
    if isinstance(value, str):
        return count * int(value.rstrip("%")) // 100
    return int(str(value))


def fan_out_output(step: Step, fan_out: FanOutState) -> Json:
    """Return the output of a step whose branches or items are over, in their order."""
    counts = {
        "total": fan_out.total,
        "succeeded": fan_out.succeeded,
        "failed": fan_out.failed,
    }
    ordered = sorted(fan_out.results, key=lambda result: result["index"])
    errors = [
        {"index": result["index"], "error": result["error"]}
        for result in ordered
        if result["status"] == "failed"
    ]
    if step.kind == "map":
        return {"results": [r["output"] for r in ordered], "errors": errors, **counts}
    branches = [
        {
            "name": step.branches[result["index"]].name,
            "status": result["status"],
            "output": result["output"],
        }
        for result in ordered
    ]
    return {"branches": branches, "errors": errors, **counts}


def fan_out_error(step: Step, fan_out: FanOutState) -> StepError:
    """Return why a step failed whose branches or items did, naming the first of them."""
    failed = [result for result in fan_out.results if result["status"] == "failed"]
    failed.sort(key=lambda result: result["index"])
    what, code = ("Item", "item_failed") if step.kind == "map" else ("Branch", "branch_failed")
    details = [{"index": r["index"], "error": r["error"]} for r in failed[:_MAX_ERRORS]]
    if not failed:
        return StepError(code, f"{fan_out.failed} failed.")
    first = failed[0]
    error = first["error"] or {}
    message = (
        f"{what} {first['index']} failed at step `{error.get('step')}`: {error.get('message')}"
        f" ({fan_out.failed} of {fan_out.total} failed, {fan_out.tolerated} tolerated.)"
    )
    return StepError(code, message, details=details)
