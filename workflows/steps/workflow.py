"""`workflow`: run another workflow and wait for its end.

The output is `{"run_id", "status", "output"}`. The child run starts in the step's transaction, so
there is exactly one for each attempt; canceling the run cancels the child.
"""

from workflows import runs
from workflows.engine import Waiting
from workflows.steps.errors import InvalidArgument
from workflows.steps.registry import Call, Wait, Waits, register


def begin(call: Call) -> Wait:
    """Start the child run and wait for it."""
    data = call.arguments.get("input") or {}
    if not isinstance(data, dict):
        raise InvalidArgument("with.input must be an object")
    child = runs.start(
        actor=call.actor,
        workflow=str(call.arguments["workflow"]),
        input=data,
        now=call.now,
        trigger="workflow",
        cause=runs.Cause(
            run_id=call.run.id,
            lane_id=call.lane,
            depth=call.run.depth + 1,
            facts={"run_id": call.run.id, "step_id": call.step.id},
        ),
    )
    return Wait(Waiting(child=child.id))


register("workflow", Waits(begin))
