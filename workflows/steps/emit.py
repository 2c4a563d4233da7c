"""`emit`: publish an event; the output is `{"event_id", "type"}`."""

from typing import Any

from healthcloud.events.services import publish
from workflows.availability import may_emit
from workflows.steps.errors import InvalidArgument
from workflows.steps.registry import Call, register


def emit(call: Call) -> dict[str, Any]:
    """Publish an event of the workflow's own, in the step's transaction."""
    payload = call.arguments.get("payload") or {}
    if not isinstance(payload, dict):
        raise InvalidArgument("with.payload must be an object of ids and facts")
    type_ = call.arguments["type"]
    if not may_emit(type_):
        raise InvalidArgument(f"`{type_}` is published by the platform only")
    event = publish(
        type=type_,
        payload={**payload, "run_id": call.run.id},
        actor=call.actor,
        now=call.now,
        severity=call.arguments.get("severity"),
    )
    return {"event_id": event.event_id, "type": type_}


register("emit", emit)
