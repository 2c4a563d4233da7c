"""Functions on numbers, and on the precision of values. https://hl7.org/fhirpath/N1/#math"""

import math
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from fhir.fhirpath.equality import single
from fhir.fhirpath.errors import OverBudget
from fhir.fhirpath.functions.boundaries import boundary, precision
from fhir.fhirpath.functions.function import Function, eager, number, whole
from fhir.fhirpath.operators import calculate
from fhir.fhirpath.quantities import Quantity
from fhir.fhirpath.scope import Items, Scope


def _on_number(name: str, work: Callable[[Any], Any]) -> Function:
    def apply(items: Items, scope: Scope) -> Items:
        value = single(items)
        if isinstance(value, Quantity):
            result = calculate(lambda: work(value.value))
            return [Quantity(Decimal(one), value.unit, value.is_calendar) for one in result]
        given = number(items, name)
        return [] if given is None else calculate(lambda: work(given))

    return eager(apply)


def _with_number(name: str, work: Callable[[Any, Any], Any]) -> Function:
    def apply(items: Items, scope: Scope, other: Items) -> Items:
        one, another = number(items, name), number(other, name)
        return [] if one is None or another is None else calculate(lambda: work(one, another))

    return eager(apply, 1)


def _power(base: Decimal | int, exponent: Decimal | int) -> Decimal | int | None:
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        if base.bit_length() * exponent > 4096:
            raise OverBudget
        return int(base**exponent)
    if base < 0 and exponent != int(exponent):
        return None
    return Decimal(base) ** Decimal(exponent)


def _rounded(items: Items, scope: Scope, digits: Items | None = None) -> Items:
    value = number(items, "round")
    places = whole(digits, "round") if digits is not None else 0
    if value is None or places is None or not 0 <= places <= 28:
        return []
    step = Decimal(1).scaleb(-places)
    return calculate(lambda: Decimal(value).quantize(step, ROUND_HALF_UP))


def _bound(high: bool) -> Function:
    def apply(items: Items, scope: Scope, digits: Items | None = None) -> Items:
        value = single(items)
        places = whole(digits, "boundary") if digits is not None else None
        if value is None:
            return []
        return calculate(lambda: boundary(value, places, high=high))

    return eager(apply, 0, 1)


def _precision(items: Items, scope: Scope) -> Items:
    value = single(items)
    return [] if value is None else calculate(lambda: precision(value))


def _comparable(items: Items, scope: Scope, other: Items) -> Items:
    one, another = single(items), single(other)
    if isinstance(one, Quantity) and isinstance(another, Quantity):
        return [one.compare(another) is not None]
    return []


def _sqrt(value: Decimal | int) -> Decimal | None:
    return None if value < 0 else Decimal(value).sqrt()


NUMBERS: Final[Mapping[str, Function]] = {
    "abs": _on_number("abs", abs),
    "ceiling": _on_number("ceiling", math.ceil),
    "comparable": eager(_comparable, 1),
    "exp": _on_number("exp", lambda value: Decimal(value).exp()),
    "floor": _on_number("floor", math.floor),
    "highBoundary": _bound(True),
    "ln": _on_number("ln", lambda value: Decimal(value).ln()),
    "log": _with_number("log", lambda a, b: Decimal(a).ln() / Decimal(b).ln()),
    "lowBoundary": _bound(False),
    "power": _with_number("power", _power),
    "precision": eager(_precision),
    "round": eager(_rounded, 0, 1),
    "sqrt": _on_number("sqrt", _sqrt),
    "truncate": _on_number("truncate", math.trunc),
}
