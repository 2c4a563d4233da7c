"""`wait`: for a duration, until a time, for a signal, or for an event."""

from datetime import datetime, timedelta

from healthcloud.events import listeners
from workflows.engine import Waiting
from workflows.models import EventWait
from workflows.reading import parse_duration, parse_moment
from workflows.steps.errors import InvalidArgument
from workflows.steps.registry import Call, Wait, Waits, register
from workflows.triggers.names import LISTENER


def begin(call: Call) -> Wait:
    """Return what the step waits for."""
    arguments = call.arguments
    limit = arguments.get("timeout")
    until = None if limit is None else call.now + duration(limit, "timeout")
    if "event" in arguments:
        return Wait(Waiting(until=until, event=await_event(call)))
    if "signal" in arguments:
        return Wait(Waiting(until=until, signal=str(arguments["signal"])))
    if "duration" in arguments:
        return Wait(Waiting(until=call.now + duration(arguments["duration"], "duration")))
    return Wait(Waiting(until=_moment(arguments["until"])))


def await_event(call: Call) -> str:
    """Listen for an event from now on; return the name of the signal that it becomes."""
    where = call.arguments.get("where") or {}
    if not isinstance(where, dict):
        raise InvalidArgument("with.where must be an object of the payload's members")
    row = EventWait.objects.create(
        project_id=call.run.project_id,
        run=call.run,
        lane=call.lane,
        pattern=str(call.arguments["event"]),
        where=where,
    )
    listeners.attach(LISTENER, "")
    return row.id


def duration(value: object, name: str) -> timedelta:
    """Return the duration that a resolved argument means; raise InvalidArgument."""
    found = parse_duration(value) if isinstance(value, str) else None
    if found is None or found > timedelta(days=3660):
        raise InvalidArgument(f"with.{name} must be a duration such as 30s, 5m, 2h, 3d or PT5M")
    return found


def _moment(value: object) -> datetime:
    moment = parse_moment(value) if isinstance(value, str) else None
    if moment is None:
        raise InvalidArgument("with.until must be an ISO 8601 time with its zone")
    return moment


register("wait", Waits(begin))
