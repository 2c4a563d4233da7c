"""Quantities with units of UCUM or of the calendar. https://hl7.org/fhirpath/N1/#quantity"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from fhir.search.units import canonical_unit

_WORDS: Final = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
CALENDAR: Final = {word + ending: word for word in _WORDS for ending in ("", "s")}
# From the week down a duration of the calendar is as long as its UCUM unit.
_AS_UCUM: Final = {
    "week": "wk",
    "day": "d",
    "hour": "h",
    "minute": "min",
    "second": "s",
    "millisecond": "ms",
}
OF_UCUM: Final = {code: word for word, code in _AS_UCUM.items()}
_LIKE_UCUM: Final = {**_AS_UCUM, "year": "a", "month": "mo"}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with a unit: a UCUM code, or a word of the calendar."""

    value: Decimal
    unit: str = "1"
    is_calendar: bool = False

    def __str__(self) -> str:
        if self.is_calendar:
            return f"{self.value:f} {self.unit}{'' if self.value == 1 else 's'}"
        return f"{self.value:f} '{self.unit}'"

    def canonical(self, *, loosely: bool = False) -> tuple[str, Fraction]:
        """Return (dimension, value in base units); `loosely` a year is 'a' and a month 'mo'."""
        code = self.unit
        if self.is_calendar:
            code = (_LIKE_UCUM if loosely else _AS_UCUM).get(code, f"({code})")
            if code.startswith("("):
                months = self.value * (12 if self.unit == "year" else 1)
                return "calendar month", Fraction(months)
        unit = canonical_unit(code)
        return unit.dimension, (Fraction(self.value) + unit.offset) * unit.factor

    def compare(self, other: "Quantity", *, loosely: bool = False) -> int | None:
        """Return -1, 0 or 1, None where the units don't convert into each other."""
        mine, others = self.canonical(loosely=loosely), other.canonical(loosely=loosely)
        if mine[0] != others[0]:
            return None
        return (mine[1] > others[1]) - (mine[1] < others[1])

    def plus(self, other: "Quantity", sign: int = 1) -> "Quantity | None":
        """Return the sum in the unit of the first, None where the units don't fit."""
        if (self.unit, self.is_calendar) == (other.unit, other.is_calendar):
            return Quantity(self.value + sign * other.value, self.unit, self.is_calendar)
        mine, others = self.canonical(), other.canonical()
        if mine[0] != others[0]:
            return None
        one = Quantity(Decimal(1), self.unit, self.is_calendar).canonical()[1]
        added = others[1] / one
        moved = Decimal(added.numerator) / Decimal(added.denominator)
        return Quantity(self.value + sign * moved, self.unit, self.is_calendar)

    def times(self, other: "Quantity") -> "Quantity":
        """Return the product, in a product of units."""
        return Quantity(self.value * other.value, _joined(self.unit, ".", other.unit))

    def over(self, other: "Quantity") -> "Quantity":
        """Return the quotient; equal units go away."""
        if self.unit == other.unit:
            return Quantity(self.value / other.value, "1")
        return Quantity(self.value / other.value, _joined(self.unit, "/", other.unit))


def _joined(first: str, sign: str, second: str) -> str:
    if second == "1":
        return first
    if first == "1" and sign == ".":
        return second
    if sign == "/" and any(mark in second for mark in "./"):
        second = f"({second})"
    return f"{first}{sign}{second}"
