"""Numbers as laboratories report them: exact, bounded on one side, or a range.

`>100,000` is the interval from 100,000 upward, `5-10` the interval between. Comparing an interval
with a threshold is three-valued: unknown where the interval lies on both sides.
"""

from dataclasses import dataclass
from decimal import Decimal

INFINITY = Decimal("Infinity")

Truth = bool | None
"""True, false or unknown (None)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """All that is known of a number: it lies between `low` and `high`, both included."""

    low: Decimal
    high: Decimal

    def __post_init__(self) -> None:
        if self.low.is_nan() or self.high.is_nan() or self.low > self.high:
            raise ValueError(f"not an interval: {self.low}..{self.high}")

    @classmethod
    def exactly(cls, value: Decimal | int | str) -> "Interval":
        """Return the interval that holds one number."""
        number = Decimal(value)
        return cls(number, number)

    def at_least(self, threshold: Decimal) -> Truth:
        """Return whether the number is `threshold` or more."""
        return True if self.low >= threshold else False if self.high < threshold else None

    def more_than(self, threshold: Decimal) -> Truth:
        """Return whether the number is more than `threshold`."""
        return True if self.low > threshold else False if self.high <= threshold else None

    def equals(self, threshold: Decimal) -> Truth:
        """Return whether the number is `threshold`."""
        if self.low == self.high:
            return self.low == threshold
        return None if self.low <= threshold <= self.high else False
