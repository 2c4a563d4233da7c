"""`toX()` and `convertsToX()`. https://hl7.org/fhirpath/N1/#conversion"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from fhir.fhirpath.equality import single, to_text
from fhir.fhirpath.functions.function import Function, eager, text
from fhir.fhirpath.quantities import CALENDAR, Quantity
from fhir.fhirpath.scope import Item, Items, Scope
from fhir.fhirpath.temporal import Temporal

_TRUE: Final = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0", "0.0"})
_INTEGER: Final = re.compile(r"[+-]?\d{1,77}", re.ASCII)
_DECIMAL: Final = re.compile(r"[+-]?\d{1,77}(\.\d{1,77})?", re.ASCII)
_QUANTITY: Final = re.compile(
    r"(?P<value>[+-]?\d{1,77}(?:\.\d{1,77})?)\s*(?:'(?P<unit>[^']+)'|(?P<word>[a-zA-Z]+))?",
    re.ASCII,
)

Convert = Callable[[Item], Item]


def _boolean(value: Item) -> Item:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | Decimal):
        return {0: False, 1: True}.get(int(value)) if value in (0, 1) else None
    known = value.lower() if isinstance(value, str) else ""
    return True if known in _TRUE else False if known in _FALSE else None


def _integer(value: Item) -> Item:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else None


def _decimal(value: Item) -> Item:
    if isinstance(value, int | Decimal):
        return Decimal(value)
    return Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


def _date(value: Item) -> Item:
    if isinstance(value, str):
        value = Temporal.read(value)
    if not isinstance(value, Temporal) or value.kind == "Time":
        return None
    return value if value.kind == "Date" else Temporal("Date", value.parts[:3])


def _date_time(value: Item) -> Item:
    if isinstance(value, str):
        return Temporal.read(value, kind="DateTime")
    if not isinstance(value, Temporal) or value.kind == "Time":
        return None
    return value if value.kind == "DateTime" else Temporal("DateTime", value.parts)


def _time(value: Item) -> Item:
    if isinstance(value, str):
        return Temporal.read(value, kind="Time")
    return value if isinstance(value, Temporal) and value.kind == "Time" else None


def _quantity(value: Item) -> Item:
    if isinstance(value, Quantity):
        return value
    if isinstance(value, bool):
        return Quantity(Decimal(1 if value else 0))
    if isinstance(value, int | Decimal):
        return Quantity(Decimal(value))
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if found is None or (found["word"] and found["word"] not in CALENDAR):
        return None
    if found["word"]:
        return Quantity(Decimal(found["value"]), CALENDAR[found["word"]], is_calendar=True)
    return Quantity(Decimal(found["value"]), found["unit"] or "1")


_KINDS: Final[Mapping[str, Convert]] = {
    "Boolean": _boolean,
    "Date": _date,
    "DateTime": _date_time,
    "Decimal": _decimal,
    "Integer": _integer,
    "String": lambda value: to_text(value),
    "Time": _time,
}


def _to(convert: Convert) -> Function:
    def apply(items: Items, scope: Scope) -> Items:
        value = single(items)
        found = None if value is None else convert(value)
        return [] if found is None else [found]

    return eager(apply)


def _converts(convert: Convert) -> Function:
    def apply(items: Items, scope: Scope) -> Items:
        value = single(items)
        return [] if value is None else [convert(value) is not None]

    return eager(apply)


def _in_unit(items: Items, unit: Items | None) -> Quantity | None:
    found = _quantity(single(items))
    wanted = text(unit, "toQuantity") if unit is not None else None
    if found is None or wanted is None or found.unit == wanted:
        return found if isinstance(found, Quantity) else None
    zero = Quantity(Decimal(0), CALENDAR.get(wanted, wanted), wanted in CALENDAR)
    return zero.plus(found)


def _to_quantity(items: Items, scope: Scope, unit: Items | None = None) -> Items:
    found = _in_unit(items, unit)
    return [] if found is None else [found]


def _converts_to_quantity(items: Items, scope: Scope, unit: Items | None = None) -> Items:
    return [] if single(items) is None else [_in_unit(items, unit) is not None]


CONVERSIONS: Final[Mapping[str, Function]] = {
    **{f"to{name}": _to(convert) for name, convert in _KINDS.items()},
    **{f"convertsTo{name}": _converts(convert) for name, convert in _KINDS.items()},
    "toQuantity": eager(_to_quantity, 0, 1),
    "convertsToQuantity": eager(_converts_to_quantity, 0, 1),
}
