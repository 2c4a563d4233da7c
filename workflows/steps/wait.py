"""`wait`: for a duration, until a time, or for a signal."""

from datetime import datetime, timedelta

from workflows.engine import Waiting
from workflows.reading import parse_duration
from workflows.steps.errors import InvalidArgument
from workflows.steps.registry import Call, Wait, Waits, register


def begin(call: Call) -> Wait:
    """Return what the step waits for."""
    arguments = call.arguments
    if "signal" in arguments:
        limit = arguments.get("timeout")
        until = None if limit is None else call.now + duration(limit, "timeout")
        return Wait(Waiting(until=until, signal=str(arguments["signal"])))
    if "duration" in arguments:
        return Wait(Waiting(until=call.now + duration(arguments["duration"], "duration")))
    return Wait(Waiting(until=_moment(arguments["until"])))


def duration(value: object, name: str) -> timedelta:
    """Return the duration that a resolved argument means; raise InvalidArgument."""
    found = parse_duration(value) if isinstance(value, str) else None
    if found is None or found > timedelta(days=3660):
        raise InvalidArgument(f"with.{name} must be a duration such as 30s, 5m, 2h, 3d or PT5M")
    return found


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidArgument("with.until must be an ISO 8601 time with its zone")
    return moment


register("wait", Waits(begin))
