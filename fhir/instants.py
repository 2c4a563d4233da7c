"""Partial dates as ranges of instants. https://hl7.org/fhir/R4/search.html#date"""

from datetime import UTC, datetime, timedelta

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)

_SECOND = timedelta(seconds=1)
_YEAR, _MONTH, _DAY = len("2020"), len("2020-02"), len("2020-02-29")


def date_range(text: str) -> tuple[datetime, datetime]:
    """Answer the instants [low, high) that a FHIR date, dateTime or instant stands for.

    The precision of the text is the length of the range: a year, a month, a day, a minute
    (which searches may use), a second, or a fraction of one down to the microsecond. Without
    a zone the text is read as UTC. Raises ValueError when it is no date.
    """
    try:
        length = len(text)
        if length > _DAY:
            return _time_range(text)
        if length == _DAY:
            low = datetime.fromisoformat(text).replace(tzinfo=UTC)
            return low, low + timedelta(days=1)
        return _partial_range(text, length)
    except OverflowError:
        return _at_the_edge(text)


def _at_the_edge(text: str) -> tuple[datetime, datetime]:
    """Answer the range of a text at the end of the calendar, as far as it can be written."""
    if text.startswith("0001"):
        return EARLIEST, EARLIEST + _SECOND
    if len(text) == _DAY:
        return datetime.fromisoformat(text).replace(tzinfo=UTC), LATEST
    return LATEST.replace(microsecond=0), LATEST


def _partial_range(text: str, length: int) -> tuple[datetime, datetime]:
    if not text.replace("-", "", 1).isdecimal():
        raise ValueError(f"{text!r} is not a FHIR date.")
    year = int(text[:_YEAR])
    if length == _YEAR:
        low = datetime(year, 1, 1, tzinfo=UTC)
        return low, LATEST if year == LATEST.year else low.replace(year=year + 1)
    if length != _MONTH or text[_YEAR] != "-":
        raise ValueError(f"{text!r} is not a FHIR date.")
    low = datetime(year, int(text[_YEAR + 1 :]), 1, tzinfo=UTC)
    if low.month < LATEST.month:
        return low, low.replace(month=low.month + 1)
    return low, LATEST if year == LATEST.year else low.replace(year=year + 1, month=1)


def _time_range(text: str) -> tuple[datetime, datetime]:
    if text[_DAY] != "T":
        raise ValueError(f"{text!r} is not a FHIR dateTime.")
    body, leap = (text[:17] + "59" + text[19:], True) if text[17:19] == "60" else (text, False)
    low = datetime.fromisoformat(body)
    if low.tzinfo is not UTC:
        low = low.replace(tzinfo=UTC) if low.tzinfo is None else low.astimezone(UTC)
    if leap:
        low += _SECOND
    return low, low + _precision(text)


def _precision(text: str) -> timedelta:
    if text[16:17] != ":":
        return timedelta(minutes=1)
    if text[19:20] != ".":
        return _SECOND
    digits = 0
    while text[20 + digits : 21 + digits].isdecimal():
        digits += 1
    return timedelta(microseconds=10 ** max(0, 6 - digits))
