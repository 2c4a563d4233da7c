"""The rows by which searches find a resource: dates, numbers and quantities, strings, tokens."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import inf, nextafter
from typing import Final, NamedTuple

from fhir import hashes
from fhir.search.extractors import Date, Position, Quantity, fold
from fhir.search.units import UCUM, canonical_unit, canonical_value

NO_DATE: Final = -(2**63)
FOLDED_LENGTH: Final = 256
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class DateRow(NamedTuple):
    """A range of time in microseconds since 1970, `high` exclusive."""

    param: int
    low: int
    high: int


class QuantityRow(NamedTuple):
    """A number, quantity or position; open bounds are infinite, absent units 0.

    The canonical bounds are in UCUM's base units, and `unit` is then the dimension they measure;
    with another system or none they are the bounds as they came. A position has its latitude in
    `low` and its longitude in `high`.
    """

    param: int
    low: float
    high: float
    canonical_low: float
    canonical_high: float
    unit: int = 0
    code: int = 0
    printed: int = 0


class StringRow(NamedTuple):
    """A text, folded for comparison without case and accents, and as it came."""

    param: int
    folded: str
    exact: str


@dataclass(slots=True)
class IndexRows:
    """All that is indexed of one resource; empty for a deleted one."""

    tokens: set[int] = field(default_factory=set)
    dates: list[DateRow] = field(default_factory=list)
    quantities: list[QuantityRow] = field(default_factory=list)
    strings: list[StringRow] = field(default_factory=list)
    patient: int | None = None
    date_low: int = NO_DATE
    date_high: int = NO_DATE


def microseconds(moment: datetime) -> int:
    """Return the microseconds between 1970 and a moment."""
    return (moment - _EPOCH) // _MICROSECOND


def date_row(param: int, date: Date) -> DateRow:
    """Return the row of a date."""
    return DateRow(param, microseconds(date.low), microseconds(date.high))


def number_row(param: int, low: Decimal | None, high: Decimal | None) -> QuantityRow:
    """Return the row of a number or of two that belong together."""
    bounds = _low(low), _high(high)
    return QuantityRow(param, *bounds, *bounds)


def position_row(param: int, position: Position) -> QuantityRow:
    """Return the row of a place."""
    place = position.latitude, position.longitude
    return QuantityRow(param, *place, *place)


def quantity_row(param: int, quantity: Quantity) -> QuantityRow:
    """Return the row of a quantity; `<5` reaches up to 5 without it."""
    code, system, printed = quantity.code, quantity.system, quantity.unit
    low, high = _low(quantity.low), _high(quantity.high)
    canonical_low, canonical_high = low, high
    unit = 0
    if system == UCUM and code:
        canonical_low = -inf if quantity.low is None else canonical_value(quantity.low, code)
        canonical_high = inf if quantity.high is None else canonical_value(quantity.high, code)
        unit = hashes.unit_exact(UCUM, canonical_unit(code).dimension)
    elif system and code:
        unit = hashes.unit_exact(system, code)
    bounds = (low, high, canonical_low, canonical_high)
    if quantity.is_open:
        bounds = (_above(low), _below(high), _above(canonical_low), _below(canonical_high))
    return QuantityRow(
        *(param, *bounds),
        unit=unit,
        code=hashes.unit_code(code) if code else 0,
        printed=hashes.unit_code(printed) if printed else 0,
    )


def string_row(param: int, value: str, *, fold_it: bool = True) -> StringRow:
    """Return the row of a text, without the character NUL, which PostgreSQL's can't hold."""
    exact = value.replace("\0", "")
    folded = fold(exact) if fold_it else exact
    return StringRow(param, folded[:FOLDED_LENGTH], exact)


def _low(bound: Decimal | None) -> float:
    return -inf if bound is None else float(bound)


def _high(bound: Decimal | None) -> float:
    return inf if bound is None else float(bound)


def _above(bound: float) -> float:
    return nextafter(bound, inf) if bound != -inf else bound


def _below(bound: float) -> float:
    return nextafter(bound, -inf) if bound != inf else bound
