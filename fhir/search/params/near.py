"""`near`: places within a distance. https://hl7.org/fhir/R4/location.html#positional"""

from decimal import Decimal
from math import degrees, isfinite
from typing import Final

from fhir.search.clause import Clause, any_of
from fhir.search.context import SearchContext
from fhir.search.errors import SearchRefused
from fhir.search.request import ParameterCriterion
from fhir.search.units import canonical_unit, canonical_value
from fhir.search.values import split_unescaped

# The mean radius of the earth in meters (IUGG).
EARTH: Final = 6_371_008.8
# Where a search names no distance, R4 leaves it to the server.
DEFAULT: Final = "10"
_HAVERSINE: Final = (
    "2 * %s::float8 * asin(least(1, sqrt("
    "power(sin(radians(v.low - %s::float8) / 2), 2)"
    " + cos(radians(v.low)) * cos(radians(%s::float8))"
    " * power(sin(radians(v.high - %s::float8) / 2), 2))))"
)


def condition(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition for `latitude|longitude|distance|unit`: kilometers without a unit."""
    matches = any_of([_match(value, criterion.parameter.code) for value in criterion.values])
    return context.parameter_rows(alias, "quantity", criterion, matches)


def _match(value: str, code: str) -> Clause:
    parts = [part.strip() for part in split_unescaped(value, "|")]
    if not 2 <= len(parts) <= 4:
        raise _refusal(value, code)
    try:
        latitude, longitude = float(parts[0]), float(parts[1])
        distance = Decimal(parts[2] if len(parts) > 2 and parts[2] else DEFAULT)
    except (ValueError, ArithmeticError):
        raise _refusal(value, code) from None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180 and distance.is_finite()):
        raise _refusal(value, code)
    meters = _meters(distance, parts[3] if len(parts) > 3 and parts[3] else "km", code)
    return _within(latitude, longitude, meters)


def _within(latitude: float, longitude: float, meters: float) -> Clause:
    """Return the condition: a band of latitudes, which the index serves, and the distance."""
    band = degrees(meters / EARTH)
    sql = f"v.low >= %s::float8 AND v.low <= %s::float8 AND {_HAVERSINE} <= %s::float8"
    return Clause(
        sql,
        (latitude - band, latitude + band, EARTH, latitude, latitude, longitude, meters),
    )


def _meters(distance: Decimal, unit: str, code: str) -> float:
    if canonical_unit(unit).dimension != "m1":
        raise SearchRefused(f"`{unit[:40]}` is no UCUM unit of length.", param=code)
    meters = canonical_value(distance, unit)
    if not isfinite(meters) or meters < 0:
        raise SearchRefused("A distance is a number of 0 or more.", param=code)
    return meters


def _refusal(value: str, code: str) -> SearchRefused:
    return SearchRefused(
        f"`{value[:60]}` is no place: write `{code}=latitude|longitude|distance|unit`.",
        param=code,
    )
