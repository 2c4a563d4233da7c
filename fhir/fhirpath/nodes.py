"""Elements of resources as FHIRPath sees them, and JSON without a type. /R4/fhirpath.html

An element knows its FHIR type, so that `value` finds `valueQuantity` and a date is a Date. JSON
that is no part of a resource has objects whose members are found by their names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import zip_longest
from typing import Any, Final

import orjson

from fhir.definitions import is_resource_type, structure
from fhir.fhirpath.quantities import CALENDAR, OF_UCUM, Quantity
from fhir.fhirpath.scope import Item, Items
from fhir.fhirpath.temporal import Kind, Temporal
from fhir.search.units import UCUM

Home = tuple[str, str]
"""A structure and the path in it below which children are found."""

_INLINE: Final = frozenset({"BackboneElement", "Element"})
_TEMPORAL: Final[dict[str, Kind]] = {
    "date": "Date",
    "dateTime": "DateTime",
    "instant": "DateTime",
    "time": "Time",
}
_UNTYPED: Final[Home] = ("", "")
QUANTITIES: Final = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "Money"})


@dataclass(slots=True, eq=False)
class Node:
    """An element: its JSON value, what stands beside a primitive, its type and where it is."""

    value: Any
    shadow: Any = None
    kind: str = ""
    home: Home = _UNTYPED
    parent: "Node | None" = None

    @property
    def is_primitive(self) -> bool:
        """Say whether this is an element of a primitive type."""
        return is_primitive(self.kind)


def node_of(resource: dict[str, Any], parent: "Node | None" = None) -> Node:
    """Return a resource as a node; one without a known type, and any other object, is untyped."""
    kind = resource.get("resourceType")
    if isinstance(kind, str) and is_resource_type(kind):
        return Node(resource, None, kind, (kind, ""), parent)
    return Node(resource, None, parent=parent)


def items_of(value: Any) -> Items:  # noqa: ANN401  # any JSON value
    """Return a JSON value as a collection: lists are flattened, nulls are left out."""
    if isinstance(value, list):
        return [item for one in value for item in items_of(one)]
    if value is None:
        return []
    return [node_of(value) if isinstance(value, dict) else value]


@cache
def is_primitive(kind: str) -> bool:
    """Say whether this is the name of a primitive type."""
    found = structure(kind) if kind else None
    return found is not None and found.kind == "primitive-type"


@cache
def ancestors(kind: str) -> tuple[str, ...]:
    """Return a type and those that it specializes."""
    found = structure(kind)
    if found is None:
        return (kind,)
    return (kind, *ancestors(found.base)) if found.base else (kind,)


@cache
def _keys(home: Home) -> dict[str, tuple[tuple[str, str, str, Home], ...]]:
    """Map the names of children to their (JSON name, that of the shadow, type, home below)."""
    found = structure(home[0])
    return {
        element.name: tuple(
            (key, f"_{key}", kind, _below(home, element.content_of, element.path, kind))
            for key, kind in element.json_names()
        )
        for element in (found.children(home[1]) if found else ())
    }


def _below(home: Home, content_of: str | None, path: str, kind: str) -> Home:
    if content_of is not None:
        return home[0], content_of
    return (home[0], path) if kind in _INLINE else (kind, "")


def knows(item: Item, name: str, *, exactly: bool = True) -> bool:
    """Say whether the type of an item has an element of a name, or of a JSON name."""
    if not isinstance(item, Node) or not item.home[0] or name in _keys(item.home):
        return True
    return not exactly and (name == "resourceType" or name in _json_names(item.home))


@cache
def _json_names(home: Home) -> frozenset[str]:
    return frozenset(key for keys in _keys(home).values() for key, *_ in keys)


def children(item: Item, name: str, *, is_lenient: bool = True) -> Items:
    """Return the children of a name; leniently `valueQuantity` is a name, too."""
    if not isinstance(item, Node):
        return []
    owner = item.value if isinstance(item.value, dict) else item.shadow
    if not isinstance(owner, dict):
        return []
    if not item.home[0]:
        return items_of(owner.get(name))
    found: Items = []
    for key, beside, kind, home in _keys(item.home).get(name, ()):
        value, shadow = owner.get(key), owner.get(beside)
        if value is not None or shadow is not None:
            found += _values(item, value, shadow, kind, home)
    if not found and is_lenient and name in owner and not knows(item, name):
        return _by_json_name(item, owner, name)
    return found


def _by_json_name(item: Node, owner: dict[str, Any], name: str) -> Items:
    for keys in _keys(item.home).values():
        for key, beside, kind, home in keys:
            if key == name:
                return _values(item, owner[key], owner.get(beside), kind, home)
    return items_of(owner[name]) if name == "resourceType" else []


def all_children(item: Item) -> Iterator[Item]:
    """Yield the children of all names."""
    if not isinstance(item, Node):
        return
    if item.home[0]:
        for name in _keys(item.home):
            yield from children(item, name)
    elif isinstance(item.value, dict):
        for value in item.value.values():
            yield from items_of(value)


def _values(item: Node, value: object, shadow: object, kind: str, home: Home) -> Items:
    """Return an element's values as nodes, each with what stands beside it."""
    if not isinstance(value, list) and not isinstance(shadow, list):
        return [_made(item, value, shadow, kind, home)]
    values = value if isinstance(value, list) else ()
    shadows = shadow if isinstance(shadow, list) else ()
    return [
        _made(item, one, beside, kind, home)
        for one, beside in zip_longest(values, shadows)
        if one is not None or beside is not None
    ]


def _made(item: Node, value: object, shadow: object, kind: str, home: Home) -> Node:
    if kind == "Resource" and isinstance(value, dict):
        return node_of(value, item)
    return Node(value, shadow, kind, home, item)


# --- values of FHIRPath's own types -----------------------------------------------------------


def system(item: Item) -> Item:
    """Return a value of FHIRPath's own types where an item is one; None for a value that is absent.

    https://hl7.org/fhir/R4/fhirpath.html#types
    """
    if isinstance(item, float):
        return Decimal(repr(item))
    if not isinstance(item, Node):
        return item
    if item.kind in QUANTITIES:
        return _quantity(item)
    if not item.is_primitive:
        return item
    value = item.value
    if isinstance(value, float) or (item.kind == "decimal" and isinstance(value, int)):
        return Decimal(repr(value))
    kind = _TEMPORAL.get(item.kind)
    if kind is not None and isinstance(value, str):
        return Temporal.read(value, kind=kind) or value
    return None if isinstance(value, dict | list) else value


def _quantity(item: Node) -> Item:
    found = item.value
    value = found.get("value") if isinstance(found, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return item
    if item.kind == "Money":
        return Quantity(Decimal(str(value)), str(found.get("currency", "1")))
    code = found.get("code") if found.get("system") == UCUM else None
    unit = code or found.get("unit") or found.get("code")
    return Quantity(Decimal(str(value)), unit if isinstance(unit, str) else "1")


def as_temporal(value: Item, like: Temporal) -> Item:
    """Return a text as the kind of value it is compared with, where it is one."""
    if not isinstance(value, str):
        return value
    return Temporal.read(value, kind="Time" if like.kind == "Time" else None) or value


def key_of(item: Item) -> object:
    """Return what equal items have in common, for sets."""
    value = system(item)
    match value:
        case bool():
            return ("Boolean", value)
        case int() | Decimal():
            return ("number", value)
        case Temporal():
            return (value.kind, value.precision, value.zone is None, value._in_utc())
        case Quantity():
            return value.canonical()
        case Node():
            return _dumped([value.value, value.shadow])
        case None:
            return ("absent", _dumped(item.shadow if isinstance(item, Node) else None))
    return value


def _dumped(value: object) -> object:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a number of more than 64 bits, half a surrogate pair
        return repr(value)


def calendar_unit(quantity: Quantity) -> str | None:
    """Return the word of the calendar by which a moment may be moved, None for other units."""
    return CALENDAR.get(quantity.unit) or OF_UCUM.get(quantity.unit)


def to_json(item: Item) -> Any:  # noqa: ANN401  # any JSON value
    """Return an item as JSON."""
    match item:
        case Node():
            return item.value
        case Decimal():
            return int(item) if item == item.to_integral_value() else float(item)
        case Quantity():
            return {"value": to_json(item.value), "unit": item.unit}
        case Temporal():
            return str(item)
    return item
