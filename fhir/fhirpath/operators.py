"""Operators. https://hl7.org/fhirpath/N1/#operations"""

from collections.abc import Callable, Mapping
from decimal import Decimal, DecimalException, localcontext
from typing import Any, Final

from fhir.fhirpath.equality import (
    CONTEXT,
    alike,
    are_equivalent,
    distinct,
    equal,
    equals,
    is_number,
    order_of,
    single,
    type_text,
)
from fhir.fhirpath.errors import EvaluationFailed, OverBudget
from fhir.fhirpath.nodes import calendar_unit
from fhir.fhirpath.quantities import Quantity
from fhir.fhirpath.scope import MAX_INTEGER_BITS, MAX_TEXT, Item, Items, Scope
from fhir.fhirpath.temporal import Temporal


def _comparison(test: Callable[[int], bool]) -> "Operator":
    def compare(left: Items, right: Items, scope: Scope) -> Items:
        order = order_of(left, right)
        return [] if order is None else [test(order)]

    return compare


# --- arithmetic -------------------------------------------------------------------------------


def calculate(work: Callable[[], Any]) -> Items:
    """Return the result of a calculation, nothing where it has none; raise OverBudget."""
    try:
        with localcontext(CONTEXT):
            result = work()
    except (DecimalException, ZeroDivisionError, ValueError, OverflowError):
        return []
    if result is None or (isinstance(result, Decimal) and not _is_in_range(result)):
        return []
    if isinstance(result, int) and result.bit_length() > MAX_INTEGER_BITS:
        raise OverBudget
    if isinstance(result, str) and len(result) > MAX_TEXT:
        raise OverBudget
    return [result]


def _is_in_range(value: Decimal) -> bool:
    return value.is_finite() and abs(value.adjusted()) <= _MOST_DIGITS


def _operands(left: Items, right: Items) -> tuple[Item, Item] | None:
    if not left or not right:
        return None
    a, b = single(left), single(right)
    return None if a is None or b is None else (a, b)


def _arithmetic(work: Callable[[Item, Item], Any]) -> "Operator":
    def apply(left: Items, right: Items, scope: Scope) -> Items:
        operands = _operands(left, right)
        return [] if operands is None else calculate(lambda: work(*operands))

    return apply


def _plus(a: Item, b: Item) -> Item:
    match a, b:
        case str(), str():
            return a + b
        case Temporal(), Quantity():
            return _moved(a, b, 1)
        case Quantity(), Quantity():
            return a.plus(b)
    return _numbers("+", a, b)


def _minus(a: Item, b: Item) -> Item:
    match a, b:
        case Temporal(), Quantity():
            return _moved(a, b, -1)
        case Quantity(), Quantity():
            return a.plus(b, -1)
    return _numbers("-", a, b)


def _moved(moment: Temporal, by: Quantity, sign: int) -> Temporal | None:
    unit = calendar_unit(by)
    if unit is None:
        raise EvaluationFailed(f"'{by.unit}' is no unit of the calendar to move a moment by.")
    value = by.value if by.is_calendar or unit == "millisecond" else Decimal(int(by.value))
    return moment.plus(sign * value, unit)


def _times(a: Item, b: Item) -> Item:
    match _factors(a, b):
        case Quantity() as one, Quantity() as other:
            return one.times(other)
    return _numbers("*", a, b)


def _over(a: Item, b: Item) -> Item:
    match _factors(a, b):
        case Quantity() as one, Quantity() as other:
            return one.over(other)
    return _numbers("/", a, b)


def _factors(a: Item, b: Item) -> tuple[Item, Item]:
    return alike(a, b) if isinstance(a, Quantity) or isinstance(b, Quantity) else (a, b)


_WORK: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: Decimal(a) / Decimal(b),
    "div": lambda a, b: int(Decimal(a) / Decimal(b)),
    "mod": lambda a, b: _remainder(a, b),
}


def _remainder(a: Item, b: Item) -> Item:
    rest = Decimal(a) % Decimal(b)
    return int(rest) if isinstance(a, int) and isinstance(b, int) else rest


def _numbers(sign: str, a: Item, b: Item) -> Item:
    if not is_number(a) or not is_number(b):
        raise EvaluationFailed(f"`{sign}` can't take {type_text(a)} and {type_text(b)}.")
    return _WORK[sign](a, b)


def _whole(sign: str) -> "Operator":
    return _arithmetic(lambda a, b: _numbers(sign, a, b))


def _joined(left: Items, right: Items, scope: Scope) -> Items:
    texts = [single(left), single(right)]
    if any(text is not None and not isinstance(text, str) for text in texts):
        raise EvaluationFailed("`&` takes texts only.")
    return calculate(lambda: "".join(text or "" for text in texts))


def negative(items: Items) -> Items:
    """Return a number or quantity with the other sign."""
    value = single(items)
    if value is None:
        return []
    if isinstance(value, Quantity):
        return [Quantity(-value.value, value.unit, value.is_calendar)]
    if not is_number(value):
        raise EvaluationFailed(f"A {type_text(value)} has no sign.")
    return [-value]


def _within(one: Items, several: Items) -> Items:
    if not one:
        return []
    if len(one) > 1:
        raise EvaluationFailed("One value is needed here, not several.")
    return [any(equal(one[0], item) for item in several)]


def _known(value: bool | None, *, negated: bool = False) -> Items:
    return [] if value is None else [value is not negated]


_MOST_DIGITS: Final = 400
Operator = Callable[[Items, Items, Scope], Items]
OPERATORS: Final[Mapping[str, Operator]] = {
    "=": lambda a, b, scope: _known(equals(a, b)),
    "!=": lambda a, b, scope: _known(equals(a, b), negated=True),
    "~": lambda a, b, scope: [are_equivalent(a, b)],
    "!~": lambda a, b, scope: [not are_equivalent(a, b)],
    "<": _comparison(lambda order: order < 0),
    "<=": _comparison(lambda order: order <= 0),
    ">": _comparison(lambda order: order > 0),
    ">=": _comparison(lambda order: order >= 0),
    "+": _arithmetic(_plus),
    "-": _arithmetic(_minus),
    "*": _arithmetic(_times),
    "/": _arithmetic(_over),
    "div": _whole("div"),
    "mod": _whole("mod"),
    "&": _joined,
    "|": lambda a, b, scope: distinct([*a, *b]),
    "in": lambda a, b, scope: _within(a, b),
    "contains": lambda a, b, scope: _within(b, a),
}


def both(a: bool | None, b: bool | None) -> bool | None:
    """The `and` of three values."""
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def either(a: bool | None, b: bool | None) -> bool | None:
    """The `or` of three values."""
    if a or b:
        return True
    return None if a is None or b is None else False


def one_of_two(a: bool | None, b: bool | None) -> bool | None:
    """The `xor` of three values."""
    return None if a is None or b is None else a is not b


def implied(a: bool | None, b: bool | None) -> bool | None:
    """The `implies` of three values."""
    return either(None if a is None else not a, b)


Logic = Callable[[bool | None, bool | None], bool | None]
# With it the value of the left side that decides alone.
LOGIC: Final[Mapping[str, tuple[Logic, bool | None]]] = {
    "and": (both, False),
    "or": (either, True),
    "xor": (one_of_two, None),
    "implies": (implied, False),
}
