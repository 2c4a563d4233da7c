"""When a resource says that something was so, read from FHIR's partial dates."""

import calendar
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from assets.rules.intervals import Interval

CLOCK_SKEW = timedelta(days=1)

CLINICAL_TIMES: Mapping[str, tuple[str, ...]] = {
    "Observation": ("effectiveDateTime", "effectiveInstant", "effectivePeriod", "issued"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "Encounter": ("period",),
    "ServiceRequest": ("occurrenceDateTime", "occurrencePeriod", "authoredOn"),
    "DeviceUseStatement": ("timingDateTime", "timingPeriod", "recordedOn"),
    "Specimen": ("collection.collectedDateTime", "collection.collectedPeriod", "receivedTime"),
}


class Moment(NamedTuple):
    """The first and last instant that a partial date can mean, in UTC."""

    first: datetime
    last: datetime


def moment(text: object) -> Moment | None:
    """Parse a FHIR date, dateTime or instant; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        if len(text) == 4:
            return _days(date(int(text), 1, 1), date(int(text), 12, 31))
        if len(text) == 7:
            year, month = int(text[:4]), int(text[5:])
            return _days(date(year, month, 1), _last_day(year, month))
        if len(text) == 10:
            return _days(date.fromisoformat(text), date.fromisoformat(text))
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return Moment(at, at)


def clinical_moment(resource: Mapping[str, Any]) -> Moment | None:
    """Return when what `resource` states was so; the time of storing only where it is silent."""
    if resource.get("resourceType") == "Condition":
        stated = _all_moments(resource, ("onsetDateTime", "onsetPeriod", "recordedDate"))
        found = max(stated, key=lambda at: at.last, default=None)
    else:
        fields = CLINICAL_TIMES.get(str(resource.get("resourceType")), ())
        found = next(iter(_all_moments(resource, fields)), None)
    return found or moment((resource.get("meta") or {}).get("lastUpdated"))


def is_current(at: Moment, now: datetime, lookback_days: int | None) -> bool:
    """Return whether `at` lies in the look-back and not in the future."""
    if at.first > now + CLOCK_SKEW:
        return False
    return lookback_days is None or at.last >= now - timedelta(days=lookback_days)


def age_on(birth_date: object, now: datetime) -> Interval | None:
    """Return the completed years of life; a birth year alone gives two possible ages."""
    born = moment(birth_date)
    if born is None or born.first > now:
        return None
    oldest, youngest = _years(born.first.date(), now.date()), _years(born.last.date(), now.date())
    return Interval(Interval.exactly(max(youngest, 0)).low, Interval.exactly(oldest).high)


def _all_moments(resource: Mapping[str, Any], fields: Iterable[str]) -> list[Moment]:
    found = []
    for field in fields:
        value: object = resource
        for part in field.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping):
            value = value.get("start") or value.get("end")
        if (at := moment(value)) is not None:
            found.append(at)
    return found


def _days(first: date, last: date) -> Moment:
    opening = datetime(first.year, first.month, first.day, tzinfo=UTC)
    closing = datetime(last.year, last.month, last.day, 23, 59, 59, tzinfo=UTC)
    return Moment(opening, closing)


def _last_day(year: int, month: int) -> date:
    return date(year, month, calendar.monthrange(year, month)[1])


def _years(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))
