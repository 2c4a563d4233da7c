"""What `agent`, `connector` and `model` steps share: calling a deployed asset in two phases."""

from typing import Any

from assets import invocation
from assets.invocation import Prepared
from healthcloud.errors import HealthCloudError, InternalError
from workflows.steps.errors import InvalidArgument
from workflows.steps.registry import Call, Outside


def invoking(kind: str) -> Outside:
    """Return the effect that invokes the asset which the argument named `kind` names.

    The output is what the asset answers, with `resources` (references of what was written) and
    for an agent `agent_run_id` beside it.
    """

    def execute(call: Call) -> Prepared:
        data = call.arguments.get("input") or {}
        if not isinstance(data, dict):
            raise InvalidArgument("with.input must be an object")
        return invocation.execute(
            deployment=str(call.arguments[kind]),
            action=call.arguments.get("action"),
            input=data,
            actor=call.actor,
            now=call.now,
            idempotency_key=call.key,
            scope=call.scope,
            trigger="workflow",
            parent={"run_id": call.run.id, "step_id": call.step.id},
        )

    def commit(call: Call, prepared: Prepared) -> dict[str, Any]:
        outcome = invocation.commit(prepared, actor=call.actor, now=call.now)
        extra: dict[str, Any] = {"resources": list(outcome.resources)}
        if outcome.run_id is not None:
            extra["agent_run_id"] = outcome.run_id
        return {**extra, **outcome.output}

    def abandon(call: Call, prepared: Prepared, error: Exception) -> None:
        reason = (
            error if isinstance(error, HealthCloudError) else InternalError(type(error).__name__)
        )
        invocation.abandon(prepared, reason, now=call.now)

    return Outside(execute, commit, abandon)
