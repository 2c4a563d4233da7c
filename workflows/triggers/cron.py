"""Cron expressions in a time zone: the moments at which a schedule falls due. Pure.

Five fields (minute, hour, day of month, month, day of week) with lists, ranges, steps and names,
or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. As in cron, a day matches when either
day field does, if both are restricted.

Summer time: a local time that does not exist (the clock jumps over it) falls due at the moment
of the jump, once; one that exists twice falls due the first time only, unless the hour field is
`*`, which means every hour that passes. https://man7.org/linux/man-pages/man5/crontab.5.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from healthcloud.numbers import number_of

_NAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS: Final = [
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
]
_DAYS: Final = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: Final[tuple[tuple[str, int, int, list[str]], ...]] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_LOOK_AHEAD_DAYS: Final = 366 * 8  # a 29 February may be eight years away


class CronError(ValueError):
    """Not a cron expression; the message names the field."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    every_hour: bool

    def matches(self, day: date) -> bool:
        """Return whether the schedule has moments on this day."""
        if day.month not in self.months:
            return False
        by_day = day.day in self.days
        by_weekday = (day.isoweekday() % 7) in self.weekdays
        if self.any_day or self.any_weekday:
            return by_day and by_weekday
        return by_day or by_weekday


@lru_cache(maxsize=1024)
def parse_cron(text: str) -> Cron:
    """Read an expression; raise CronError."""
    fields = _NAMES.get(text.strip().lower(), text).split()
    if len(fields) != len(_FIELDS):
        raise CronError("A cron expression has five fields: minute hour day month weekday.")
    values = [_field(field, *spec) for field, spec in zip(fields, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = values
    cron = Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(day % 7 for day in weekdays),
        any_day=fields[2].startswith("*"),
        any_weekday=fields[4].startswith("*"),
        every_hour=fields[1].startswith("*"),
    )
    if next(_days(cron, date(2024, 1, 1)), None) is None:
        raise CronError("The schedule has no day at all: no such day in that month.")
    return cron


def next_after(cron: Cron, moment: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment of the schedule after `moment`, in UTC."""
    local = moment.astimezone(zone)
    for day in _days(cron, local.date() - timedelta(days=1)):
        for due in _moments(cron, day, zone):
            if due > moment:
                return due
    raise CronError("The schedule has no further moment.")


def _days(cron: Cron, first: date) -> Iterator[date]:
    for ahead in range(_LOOK_AHEAD_DAYS):
        day = first + timedelta(days=ahead)
        if cron.matches(day):
            yield day


def _moments(cron: Cron, day: date, zone: ZoneInfo) -> list[datetime]:
    """Return the moments of one local day in UTC, in order, each once."""
    found: set[datetime] = set()
    for hour in cron.hours:
        for minute in cron.minutes:
            local = datetime.combine(day, time(hour, minute))
            first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
            exists = first.astimezone(zone).replace(tzinfo=None) == local
            if not exists:
                found.add(_jump(local, zone))
                continue
            found.add(first)
            if cron.every_hour:
                found.add(local.replace(tzinfo=zone, fold=1).astimezone(UTC))
    return sorted(found)


def _jump(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment at which the clock jumps over a local time that does not exist."""
    before = local.replace(tzinfo=zone, fold=0).utcoffset() or timedelta(0)
    after = local.replace(tzinfo=zone, fold=1).utcoffset() or timedelta(0)
    low = (local - max(before, after)).replace(tzinfo=UTC) - timedelta(hours=3)
    high = low + timedelta(hours=9)
    start = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == start:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def _field(text: str, name: str, least: int, most: int, names: list[str]) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        found |= _part(part, name, least, most, names)
    return found


def _part(part: str, name: str, least: int, most: int, names: list[str]) -> set[int]:
    body, slash, step_text = part.partition("/")
    step = _number(step_text, name, 1, most, []) if slash else 1
    if body == "*":
        low, high = least, most
    elif "-" in body:
        low_text, _, high_text = body.partition("-")
        low = _number(low_text, name, least, most, names)
        high = _number(high_text, name, least, most, names)
    else:
        low = _number(body, name, least, most, names)
        high = most if slash else low
    if low > high:
        raise CronError(f"In the {name}, `{part[:20]}` runs backwards.")
    return set(range(low, high + 1, step))


def _number(text: str, name: str, least: int, most: int, names: list[str]) -> int:
    word = text.lower()
    if word in names:
        return names.index(word) + least
    number = number_of(word)
    if number is None or not least <= number <= most:
        raise CronError(f"The {name} `{text[:20]}` is not from {least} to {most}.")
    return number
