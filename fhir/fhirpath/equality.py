"""What is equal, equivalent, less or greater. https://hl7.org/fhirpath/N1/#equality"""

from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Final

from fhir.fhirpath.errors import EvaluationFailed
from fhir.fhirpath.nodes import Node, all_children, as_temporal, key_of, system
from fhir.fhirpath.quantities import Quantity
from fhir.fhirpath.scope import Item, Items
from fhir.fhirpath.temporal import Temporal

CONTEXT: Final = Context(prec=28)
_NUMBERS: Final = (int, Decimal)


def single(items: Items) -> Item:
    """Return the one item as a value, None where there is none; raise for several."""
    if not items:
        return None
    if len(items) > 1:
        raise EvaluationFailed(f"One value is needed here, not {len(items)}.")
    return system(items[0])


def truth(items: Items) -> bool | None:
    """Return a collection as a boolean: one item that is none is true, nothing is None.

    https://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections
    """
    if not items:
        return None
    value = single(items)
    return value if isinstance(value, bool) else True


# --- equality ---------------------------------------------------------------------------------


def equal(one: Item, other: Item) -> bool | None:
    """Say whether two items are equal, None where that can't be known."""
    a, b = alike(system(one), system(other))
    if isinstance(a, Temporal) and isinstance(b, Temporal):
        if (a.kind == "Time") != (b.kind == "Time"):
            return False
        order = a.compare(b)
        return None if order is None else order == 0
    if isinstance(a, Quantity) and isinstance(b, Quantity):
        order = a.compare(b)
        return None if order is None else order == 0
    return key_of(a if a is not None else one) == key_of(b if b is not None else other)


def alike(a: Item, b: Item) -> tuple[Item, Item]:
    """Return two values, converted where one kind is understood as the other."""
    if isinstance(a, Temporal):
        return a, as_temporal(b, a)
    if isinstance(b, Temporal):
        return as_temporal(a, b), b
    if isinstance(a, Quantity) and is_number(b):
        return a, Quantity(Decimal(b))
    if isinstance(b, Quantity) and is_number(a):
        return Quantity(Decimal(a)), b
    return a, b


def is_number(value: Item) -> bool:
    """Say whether a value is an Integer or a Decimal."""
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


def equals(left: Items, right: Items) -> bool | None:
    """Say whether two collections are equal, in their order."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    found = [equal(a, b) for a, b in zip(left, right, strict=True)]
    if False in found:
        return False
    return None if None in found else True


def equivalent(one: Item, other: Item) -> bool:
    """Say whether two items are the same for practical purposes."""
    a, b = alike(system(one), system(other))
    match a, b:
        case str(), str():
            return " ".join(a.lower().split()) == " ".join(b.lower().split())
        case Temporal(), Temporal():
            return a.kind == b.kind and a.compare(b) == 0
        case Quantity(), Quantity():
            return _equivalent_quantities(a, b)
        case Node(), Node():
            return are_equivalent(_told(a), _told(b)) if a.kind == b.kind else False
    if is_number(a) and is_number(b):
        return _rounded(Decimal(a), Decimal(b))
    return bool(equal(one, other))


def _told(node: Node) -> Items:
    """Return what counts in an equivalence of complex elements: all children but the id."""
    hidden = node.value.get("id") if isinstance(node.value, dict) else None
    return [child for child in all_children(node) if hidden is None or to_text(child) != hidden]


def _equivalent_quantities(a: Quantity, b: Quantity) -> bool:
    mine, others = a.canonical(loosely=True), b.canonical(loosely=True)
    if mine[0] != others[0]:
        return False
    step = max(_step(a, mine[1]), _step(b, others[1]))
    return abs(mine[1] - others[1]) <= step / 2 if a.unit != b.unit else mine[1] == others[1]


def _step(quantity: Quantity, canonical: Fraction) -> Fraction:
    """Return what one in the last digit of a quantity is in base units."""
    exponent = int(quantity.value.as_tuple().exponent)
    digit = Fraction(10) ** exponent
    return digit * abs(canonical / Fraction(quantity.value)) if quantity.value else digit


def _rounded(a: Decimal, b: Decimal) -> bool:
    exponents = [int(value.normalize().as_tuple().exponent) for value in (a, b)]
    step = Decimal(1).scaleb(min(0, max(exponents)))
    with localcontext(CONTEXT):
        return a.quantize(step) == b.quantize(step)


def are_equivalent(left: Items, right: Items) -> bool:
    """Say whether two collections are equivalent, in any order."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for item in left:
        for index, other in enumerate(rest):
            if equivalent(item, other):
                del rest[index]
                break
        else:
            return False
    return True


# --- comparison -------------------------------------------------------------------------------


def order_of(left: Items, right: Items) -> int | None:
    if not left or not right:
        return None
    a, b = alike(single(left), single(right))
    match a, b:
        case (None, _) | (_, None):
            return None
        case str(), str():
            return int(a > b) - int(a < b)
        case Temporal(), Temporal() if (a.kind == "Time") == (b.kind == "Time"):
            return a.compare(b)
        case Quantity(), Quantity():
            return a.compare(b)
    if is_number(a) and is_number(b):
        return int(a > b) - int(a < b)
    raise EvaluationFailed(f"{type_text(a)} and {type_text(b)} have no order.")


def compare_items(one: Item, other: Item) -> int:
    """Return -1, 0 or 1 for sorting; raise EvaluationFailed for what has no order."""
    return order_of([one], [other]) or 0


def type_text(value: Item) -> str:
    """Return the type of a value, for messages."""
    if isinstance(value, Temporal):
        return value.kind
    if isinstance(value, Node):
        return value.kind or "object"
    names = {bool: "Boolean", int: "Integer", Decimal: "Decimal", str: "String"}
    return names.get(type(value), type(value).__name__)


def to_text(item: Item) -> str | None:
    """Return a value of a simple type as text, None for others."""
    value = system(item)
    match value:
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value:f}"
        case int() | str() | Temporal() | Quantity():
            return str(value)
    return None


# --- collections ------------------------------------------------------------------------------


def distinct(items: Items) -> Items:
    """Return each item once, in the order of the first."""
    found: dict[object, Item] = {}
    for item in items:
        found.setdefault(key_of(item), item)
    return list(found.values())
