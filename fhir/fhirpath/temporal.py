"""Date, DateTime and Time with their precision. https://hl7.org/fhirpath/N1/#date"""

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal, Self

Kind = Literal["Date", "DateTime", "Time"]

_DATE: Final = r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?"
_TIME: Final = r"(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?"
_MOMENT: Final = re.compile(rf"{_DATE}(?:T(?:{_TIME})?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)
_CLOCK: Final = re.compile(rf"T?{_TIME}", re.ASCII)
# The smallest and greatest values of the parts: year, month, day, hour, minute, second.
_LEAST: Final = (1, 1, 1, 0, 0, 0)
_MOST: Final = (9999, 12, 31, 23, 59, 60)
_SECONDS: Final = {"week": 604800, "day": 86400, "hour": 3600, "minute": 60, "second": 1}
# Seconds of the unit of each precision from the day on.
_UNITS: Final = (86400, 3600, 60, 1)


@dataclass(frozen=True, slots=True)
class Temporal:
    """A value as far as it was given: `parts` are year, month … or hour, minute, second.

    Seconds are a Decimal with their fraction; `zone` is the offset in minutes.
    """

    kind: Kind
    parts: tuple[int | Decimal, ...]
    zone: int | None = None
    text: str = ""

    @classmethod
    def read(cls, text: str, *, is_literal: bool = False, kind: Kind | None = None) -> Self | None:
        """Return the value of a text, None where it is none; a literal's Time begins with T."""
        clock = _CLOCK.fullmatch(text)
        if clock is not None and (text[0] == "T" if is_literal else kind == "Time"):
            parts = _parts(clock.groups(), 3)
            return cls("Time", parts, None, text.removeprefix("T")) if parts is not None else None
        found = _MOMENT.fullmatch(text)
        if found is None or kind == "Time":
            return None
        parts = _parts(found.groups()[:6], 0)
        if parts is None or not _is_day(parts):
            return None
        is_date = "T" not in text and kind != "DateTime"
        made: Kind = "Date" if is_date else "DateTime"
        return cls(made, parts, _zone(found[7]), text.removesuffix("T"))

    def __str__(self) -> str:
        return self.text or self._written()

    @property
    def precision(self) -> int:
        """Return how many parts there are; fractions of seconds are no part of their own."""
        return len(self.parts)

    def _written(self) -> str:
        texts = [_two(part) for part in self.parts]
        if self.kind == "Time":
            return ":".join(texts)
        day = "-".join([f"{self.parts[0]:04d}", *texts[1:3]])
        if self.precision <= 3:
            return day
        return f"{day}T{':'.join(texts[3:])}{zone_text(self.zone)}"

    def compare(self, other: "Temporal") -> int | None:
        """Return -1, 0 or 1, None where the precision (or a missing zone) leaves it open."""
        mine, others = self.parts, other.parts
        if (self.zone is None) != (other.zone is None):
            if min(self.precision, other.precision) > 3 and self._may_be_equal(other):
                return None
        elif self.zone is not None and self.zone != other.zone:
            mine, others = self._in_utc(), other._in_utc()
        for one, another in zip(mine, others, strict=False):
            if one != another:
                return -1 if one < another else 1
        return 0 if len(mine) == len(others) else None

    def _may_be_equal(self, other: "Temporal") -> bool:
        """Say whether two values of which one has no zone lie within a day and a bit."""
        days = [date(*map(int, [*one.parts, 1, 1][:3])).toordinal() for one in (self, other)]
        return abs(days[0] - days[1]) <= 1

    def _in_utc(self) -> tuple[int | Decimal, ...]:
        if self.precision <= 3 or not self.zone:
            return self.parts
        whole = [int(part) for part in self.parts[:5]]
        try:
            moved = datetime(*whole) - timedelta(minutes=self.zone)  # type: ignore[arg-type]  # noqa: DTZ001  # in UTC by construction
        except OverflowError:
            return self.parts
        parts = (moved.year, moved.month, moved.day, moved.hour, moved.minute)
        return (*parts[: self.precision], *self.parts[5:])

    def plus(self, amount: Decimal, unit: str) -> "Temporal | None":
        """Return the value moved by calendar units, None where it leaves the calendar."""
        try:
            if unit in {"year", "month"} and self.kind != "Time":
                months = int(amount) * (12 if unit == "year" else 1)
                return self._made(self._months_later(months))
            return self._made(self._seconds_later(amount, unit))
        except (ValueError, OverflowError):
            return None

    def _made(self, parts: tuple[int | Decimal, ...]) -> "Temporal":
        return Temporal(self.kind, parts, self.zone)

    def _months_later(self, months: int) -> tuple[int | Decimal, ...]:
        year = int(self.parts[0])
        if self.precision == 1:
            return self._checked_year(year + int(Decimal(months) / 12))
        total = year * 12 + int(self.parts[1]) - 1 + months
        year, month = total // 12, total % 12 + 1
        if not 1 <= year <= 9999:
            raise ValueError(year)
        if self.precision == 2:
            return year, month
        day = min(int(self.parts[2]), calendar.monthrange(year, month)[1])
        return (year, month, day, *self.parts[3:])

    def _checked_year(self, year: int) -> tuple[int]:
        if not 1 <= year <= 9999:
            raise ValueError(year)
        return (year,)

    def _seconds_later(self, amount: Decimal, unit: str) -> tuple[int | Decimal, ...]:
        if unit == "millisecond":
            amount, unit = amount / 1000, "second"
        whole = amount if unit == "second" else Decimal(int(amount))
        seconds = whole * _SECONDS[unit]
        if self.kind == "Time":
            return self._clock_later(seconds)
        if self.precision < 3:
            days = int(seconds / 86400)
            return self._months_later(
                int(Decimal(days) / (365 if self.precision == 1 else 30))
                * (12 if self.precision == 1 else 1)
            )
        step = _UNITS[self.precision - 3]
        fraction = Decimal(0)
        if step > 1:
            seconds = Decimal(int(seconds / step) * step)
        else:
            seconds, fraction = _split(seconds + self.parts[5])
        whole_parts = [int(part) for part in self.parts[:5]]
        moved = datetime(*[*whole_parts, 0, 0][:5]) + timedelta(seconds=int(seconds))  # type: ignore[arg-type]  # noqa: DTZ001
        return (
            *(moved.year, moved.month, moved.day, moved.hour, moved.minute)[: self.precision],
            *([moved.second + fraction] if step == 1 else []),
        )

    def _clock_later(self, seconds: Decimal) -> tuple[int | Decimal, ...]:
        step = (3600, 60, 1)[self.precision - 1]
        if step > 1:
            seconds = Decimal(int(seconds / step) * step)
        factors = (3600, 60, 1)
        total = (
            sum(
                (Decimal(part) * factor for part, factor in zip(self.parts, factors, strict=False)),
                seconds,
            )
            % 86400
        )
        if total < 0:
            total += 86400
        hours, rest = divmod(total, 3600)
        minutes, second = divmod(rest, 60)
        return (int(hours), int(minutes), second)[: self.precision]


def _two(part: int | Decimal) -> str:
    if isinstance(part, Decimal):
        whole, _, fraction = f"{part:f}".partition(".")
        return f"{int(whole):02d}" + (f".{fraction}" if fraction else "")
    return f"{part:02d}"


def zone_text(zone: int | None) -> str:
    """Return an offset as it is written: `Z`, `+01:00`, or nothing."""
    if zone is None:
        return ""
    if zone == 0:
        return "Z"
    return f"{'-' if zone < 0 else '+'}{abs(zone) // 60:02d}:{abs(zone) % 60:02d}"


def _split(seconds: Decimal) -> tuple[Decimal, Decimal]:
    whole = seconds // 1
    if seconds < 0 and whole != seconds:
        whole -= 1
    return whole, seconds - whole


def _zone(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "Z":
        return 0
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    return -minutes if text[0] == "-" else minutes


def _parts(texts: tuple[str | None, ...], first: int) -> tuple[int | Decimal, ...] | None:
    """Return the given parts; None where one is out of its range."""
    parts: list[int | Decimal] = []
    for position, text in enumerate(texts, first):
        if text is None:
            break
        part = Decimal(text) if position == 5 else int(text)
        if not _LEAST[position] <= part < _MOST[position] + 1:
            return None
        parts.append(part)
    return tuple(parts)


def _is_day(parts: tuple[int | Decimal, ...]) -> bool:
    if len(parts) < 3:
        return True
    return int(parts[2]) <= calendar.monthrange(int(parts[0]), int(parts[1]))[1]
