"""`lowBoundary`, `highBoundary` and `precision`: what a value may mean by its digits.

https://build.fhir.org/ig/HL7/FHIRPath/#boundary-functions
"""

import calendar
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

from fhir.fhirpath.quantities import Quantity
from fhir.fhirpath.temporal import Temporal

# By the digits that a precision counts: year, month, day, hour, minute, second, milliseconds.
_DATE: Final = {4: 1, 6: 2, 8: 3, 10: 4, 12: 5, 14: 6, 17: 7}
_TIME: Final = {2: 1, 4: 2, 6: 3, 9: 4}
_LEAST_DIGITS: Final = 0
_MOST_DIGITS: Final = 28


def precision(value: object) -> int | None:
    """Return how many digits a value has."""
    match value:
        case bool():
            return None
        case int():
            return 0
        case Decimal():
            return max(0, -int(value.as_tuple().exponent))
        case Temporal():
            return sum(character.isdecimal() for character in _bare(value))
    return None


def _bare(value: Temporal) -> str:
    text = str(value)
    day, mark, clock = text.partition("T")
    return day + mark + clock.split("Z")[0].split("+")[0].split("-")[0]


def boundary(value: object, digits: int | None, *, high: bool) -> Any:  # noqa: ANN401  # of the value's type
    """Return the end of what a value may mean, to a number of digits."""
    match value:
        case bool():
            return None
        case int() | Decimal():
            return _number(Decimal(value), digits, high=high)
        case Quantity():
            bound = _number(value.value, digits, high=high)
            return None if bound is None else Quantity(bound, value.unit, value.is_calendar)
        case Temporal():
            return _moment(value, digits, high=high)
    return None


def _number(value: Decimal, digits: int | None, *, high: bool) -> Decimal | None:
    places = 8 if digits is None else digits
    if not _LEAST_DIGITS <= places <= _MOST_DIGITS:
        return None
    half = Decimal(5).scaleb(-max(0, -int(value.as_tuple().exponent)) - 1)
    bound = value + half if high else value - half
    return bound.quantize(Decimal(1).scaleb(-places), ROUND_CEILING if high else ROUND_FLOOR)


def _moment(value: Temporal, digits: int | None, *, high: bool) -> Temporal | None:
    is_time = value.kind == "Time"
    known = _TIME if is_time else _DATE
    whole = {"Time": 9, "Date": 8, "DateTime": 17}[value.kind]
    count = known.get(whole if digits is None else digits)
    if count is None:
        return None
    parts = _filled(value, high=high)
    most = 3 if is_time else 6
    if count <= most:
        parts = parts[:count]
        if count == most:
            parts = (*parts[:-1], Decimal(int(parts[-1])))
    zone = value.zone
    if value.kind != "Time" and zone is None and count > 3:
        zone = -720 if high else 840
    if value.kind == "Date" and count <= 3:
        return Temporal("Date", parts)
    return Temporal("Time" if is_time else "DateTime", parts, zone if count > 3 else None)


def _filled(value: Temporal, *, high: bool) -> tuple[int | Decimal, ...]:
    """Return all parts of a moment, with the first or last of those that are missing."""
    parts = list(value.parts)
    ends: list[int | Decimal] = [23, 59, Decimal("59.999")] if high else [0, 0, Decimal("0.000")]
    if value.kind != "Time":
        if len(parts) < 2:
            parts.append(12 if high else 1)
        if len(parts) < 3:
            last = calendar.monthrange(int(parts[0]), int(parts[1]))[1]
            parts.append(last if high else 1)
    first = 0 if value.kind == "Time" else 3
    parts += ends[len(parts) - first :]
    seconds = Decimal(parts[-1])
    if seconds == int(seconds) and -int(seconds.as_tuple().exponent) == 0:
        parts[-1] = seconds + (Decimal("0.999") if high else Decimal("0.000"))
    return tuple(parts)
