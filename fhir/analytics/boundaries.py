"""lowBoundary() and highBoundary(): the ends of what a value of its precision may mean.

https://build.fhir.org/ig/HL7/FHIRPath/#lowboundaryprecision-integer-decimal--date--datetime--time
"""

import calendar
from decimal import Decimal


def boundary(value: object, kind: str, *, high: bool) -> object:
    """Return the boundary of a number or of a date, dateTime or time; None for other values."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal):
        return _number(Decimal(value), high=high)
    if not isinstance(value, str):
        return None
    if kind == "time" or value[2:3] == ":":
        return _time(value, high=high)
    if kind in {"dateTime", "instant"} or "T" in value:
        return _date_time(value, high=high)
    return _date(value, high=high)


def _number(value: Decimal, *, high: bool) -> Decimal:
    exponent = value.as_tuple().exponent
    half = Decimal(5).scaleb((exponent if isinstance(exponent, int) else 0) - 1)
    return value + half if high else value - half


def _date(value: str, *, high: bool) -> str:
    if len(value) == 4:
        value += "-12" if high else "-01"
    if len(value) == 7:
        last = calendar.monthrange(int(value[:4]), int(value[5:7]))[1] if high else 1
        value += f"-{last:02d}"
    return value


def _time(value: str, *, high: bool) -> str:
    missing = {5: ":59.999" if high else ":00.000", 8: ".999" if high else ".000"}
    if len(value) == 2:
        return value + (":59:59.999" if high else ":00:00.000")
    return value + missing.get(len(value), "")


def _date_time(value: str, *, high: bool) -> str:
    day, _, rest = value.partition("T")
    day = _date(day, high=high)
    clock, zone = _split_zone(rest)
    clock = _time(clock, high=high) if clock else ("23:59:59.999" if high else "00:00:00.000")
    return f"{day}T{clock}{zone or ('-12:00' if high else '+14:00')}"


def _split_zone(text: str) -> tuple[str, str]:
    if text.endswith("Z"):
        return text[:-1], "Z"
    for mark in ("+", "-"):
        clock, found, zone = text.partition(mark)
        if found:
            return clock, mark + zone
    return text, ""
