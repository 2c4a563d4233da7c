"""`emit`: publish an event; the output is `{"event_id", "type"}`."""

from typing import Any

from healthcloud.events.models import Event
from healthcloud.events.services import compose
from workflows.availability import may_emit
from workflows.steps.errors import InvalidArgument
from workflows.steps.registry import Call, Tells, register


def composed(call: Call) -> Event:
    """Return the event of a step, not published yet; raises InvalidArgument, InvalidPayload."""
    payload = call.arguments.get("payload") or {}
    if not isinstance(payload, dict):
        raise InvalidArgument("with.payload must be an object of ids and facts")
    type_ = call.arguments["type"]
    if not may_emit(type_):
        raise InvalidArgument(f"`{type_}` is published by the platform only")
    severity = call.arguments.get("severity")
    return compose(type_, {**payload, "run_id": call.run.id}, call.now, call.actor, severity)


def output_of(event: Event) -> dict[str, Any]:
    """Return the output of the step that published an event."""
    return {"event_id": event.event_id, "type": event.type}


register("emit", Tells(composed, output_of))
