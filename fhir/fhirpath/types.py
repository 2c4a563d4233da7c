"""`is`, `as`, `ofType` and `type()`. https://hl7.org/fhirpath/N1/#types-and-reflection"""

from decimal import Decimal
from typing import Final

from fhir.definitions import structure
from fhir.fhirpath.errors import EvaluationFailed
from fhir.fhirpath.nodes import Node, ancestors
from fhir.fhirpath.quantities import Quantity
from fhir.fhirpath.scope import Item
from fhir.fhirpath.syntax import Member, Tree
from fhir.fhirpath.temporal import Temporal

_SYSTEM: Final = frozenset(
    ("Any", "Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time", "Quantity")
)
_SPACES: Final = frozenset({"FHIR", "System"})


def type_named(tree: Tree) -> tuple[str, str]:
    """Return (namespace or nothing, name) of the type that a tree names."""
    if isinstance(tree, Member) and tree.base is None:
        return "", tree.name
    if isinstance(tree, Member) and isinstance(tree.base, Member) and tree.base.base is None:
        return tree.base.name, tree.name
    raise EvaluationFailed("A type is named here, such as `Quantity` or `FHIR.Quantity`.")


def check_type(space: str, name: str) -> None:
    """Raise EvaluationFailed for a type that does not exist."""
    if space:
        is_known = space in _SPACES
    else:
        is_known = name in _SYSTEM or structure(name) is not None or name == "SimpleQuantity"
    if not is_known:
        raise EvaluationFailed(f"There is no type `{f'{space}.' if space else ''}{name[:60]}`.")


def is_of_type(item: Item, space: str, name: str, *, exactly: bool = False) -> bool:
    """Say whether an item is of a type or of one that specializes it.

    `exactly` leaves the latter out for primitives: a code is a string, and `as string` none.
    """
    if isinstance(item, Node):
        if space == "System":
            return name == "Any"
        if not item.kind:
            return name in {"Any", "Element"}
        if exactly and item.is_primitive:
            return item.kind == name
        return name in ancestors(item.kind)
    return space != "FHIR" and name in {system_type(item), "Any"}


def system_type(value: Item) -> str:
    """Return the name of FHIRPath's own type of a value."""
    match value:
        case bool():
            return "Boolean"
        case int():
            return "Integer"
        case Decimal() | float():
            return "Decimal"
        case Temporal():
            return value.kind
        case Quantity():
            return "Quantity"
    return "String"


def described(item: Item) -> Node:
    """Return what `type()` says of an item."""
    if isinstance(item, Node):
        return Node({"namespace": "FHIR", "name": item.kind or "Element"})
    return Node({"namespace": "System", "name": system_type(item)})
