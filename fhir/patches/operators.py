"""Operators of the FHIRPath of patches, on collections. https://hl7.org/fhirpath/N1/#operations"""

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from fhir.patches.places import Place
from fhir.patches.scope import Item, Items
from fhir.patches.values import Digits, Json, PatchFailed, is_equal

Operator = Callable[[Items, Items], Items]


def plain(item: Item) -> Json:
    """Return the JSON value of an item."""
    return item.value if isinstance(item, Place) else item


def truth(items: Items) -> bool | None:
    """Return what a collection says as a condition; None for an empty one."""
    if not items:
        return None
    if len(items) > 1:
        raise PatchFailed("A condition in the path has several values.")
    value = plain(items[0])
    return value if isinstance(value, bool) else True


def _known(value: bool | None) -> Items:
    return [] if value is None else [value]


def _and(left: Items, right: Items) -> Items:
    one, other = truth(left), truth(right)
    if one is False or other is False:
        return [False]
    return [] if one is None or other is None else [True]


def _or(left: Items, right: Items) -> Items:
    one, other = truth(left), truth(right)
    if one or other:
        return [True]
    return [] if one is None or other is None else [False]


def _xor(left: Items, right: Items) -> Items:
    one, other = truth(left), truth(right)
    return [] if one is None or other is None else [one is not other]


def _implies(left: Items, right: Items) -> Items:
    one, other = truth(left), truth(right)
    if one is False or other:
        return [True]
    return [] if one is None or other is None else [False]


def _equal(left: Items, right: Items) -> Items:
    if not left or not right:
        return []
    same = len(left) == len(right) and all(
        is_equal(plain(one), plain(other)) for one, other in zip(left, right, strict=True)
    )
    return [same]


def _alike(left: Items, right: Items) -> Items:
    """Compare as `~` does: in any order, text without case and with one kind of space."""
    ones, others = [_folded(plain(i)) for i in left], [_folded(plain(i)) for i in right]
    same = len(ones) == len(others) and all(
        any(is_equal(one, other) for other in others) for one in ones
    )
    return [same]


def _folded(value: Json) -> Json:
    return " ".join(value.casefold().split()) if isinstance(value, str) else value


def _not(compare: Operator) -> Operator:
    def negated(left: Items, right: Items) -> Items:
        found = truth(compare(left, right))
        return _known(None if found is None else not found)

    return negated


def _ordered(compare: Callable[[Any, Any], bool]) -> Operator:
    def ordered(left: Items, right: Items) -> Items:
        if not left or not right:
            return []
        if len(left) > 1 or len(right) > 1:
            raise PatchFailed("A comparison in the path has several values on one side.")
        one, other = _comparable(left[0]), _comparable(right[0])
        if isinstance(one, str) is not isinstance(other, str):
            raise PatchFailed(
                "A comparison in the path has text on one side and a number opposite."
            )
        return [bool(compare(one, other))]

    return ordered


def _comparable(item: Item) -> str | Decimal:
    value = plain(item)
    if isinstance(value, str):
        return value
    if isinstance(value, Digits):
        return Decimal(value.text)
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise PatchFailed("A comparison in the path is neither of text nor of numbers.")


def _union(left: Items, right: Items) -> Items:
    found: Items = []
    for item in [*left, *right]:
        if not any(item is other or is_equal(plain(item), plain(other)) for other in found):
            found.append(item)
    return found


OPERATORS: Final[Mapping[str, Operator]] = {
    "and": _and,
    "or": _or,
    "xor": _xor,
    "implies": _implies,
    "=": _equal,
    "!=": _not(_equal),
    "~": _alike,
    "!~": _not(_alike),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "|": _union,
}
