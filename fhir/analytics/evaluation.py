"""Compiles the FHIRPath subset to functions on lists of JSON values.

A value that came from a choice element is `Typed`, since its type is in the name of the element.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, DivisionByZero, InvalidOperation
from typing import Any, Final

from fhir.analytics.errors import InvalidView
from fhir.analytics.syntax import Call, Constant, Index, Literal, Member, Node, Operation

Values = list[Any]


@dataclass(frozen=True, slots=True)
class Typed:
    """A value of a choice element and its FHIR type as the name has it: `Quantity`, `String`."""

    type: str
    value: Any


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression sees besides its focus."""

    resource: Mapping[str, Any]
    row_index: int = 0
    this: Any = None
    index: int = 0


Expression = Callable[[Values, Scope], Values]
_TEXTS: Final = (
    *("base64Binary", "canonical", "code", "date", "dateTime", "id", "instant", "markdown"),
    *("oid", "string", "time", "uri", "url", "uuid"),
)


def plain(value: Any) -> Any:  # noqa: ANN401  # JSON
    """Return a value without the type that it came with."""
    return value.value if isinstance(value, Typed) else value


def compile_node(node: Node, constants: Mapping[str, Any], where: str) -> Expression:
    """Return the function that evaluates a tree; raise InvalidView for what is unknown."""
    match node:
        case Literal(value):
            return lambda focus, scope: [value]
        case Constant(name):
            return _constant(name, constants, where)
        case Member(base, name):
            return _member(_base(base, constants, where), name)
        case Index(base, index):
            return _index(
                compile_node(base, constants, where), compile_node(index, constants, where)
            )
        case Operation(operator, left, right):
            return _operation(operator, left, right, constants, where)
    return _call(node, constants, where)


def _base(node: Node | None, constants: Mapping[str, Any], where: str) -> Expression:
    if node is None:
        return lambda focus, scope: focus
    return compile_node(node, constants, where)


def _constant(name: str, constants: Mapping[str, Any], where: str) -> Expression:
    if name == "rowIndex":
        return lambda focus, scope: [scope.row_index]
    if name in {"resource", "rootResource", "context"}:
        return lambda focus, scope: [scope.resource]
    if name not in constants:
        known = ", ".join(sorted(constants)) or "none"
        raise InvalidView(
            f"The constant `%{name}` is not defined; there are: {known}.", param=where
        )
    value = constants[name]
    return lambda focus, scope: [value]


def _member(base: Expression, name: str) -> Expression:
    if name == "$this":
        return lambda focus, scope: [scope.this] if scope.this is not None else focus
    if name == "$index":
        return lambda focus, scope: [scope.index]

    def read(focus: Values, scope: Scope) -> Values:
        found: Values = []
        for item in base(focus, scope):
            found += children(plain(item), name)
        return found

    return read


def children(item: Any, name: str) -> Values:  # noqa: ANN401  # JSON
    """Return the values of an element by its name, choice elements included."""
    if not isinstance(item, dict):
        return []
    if name in item:
        value = item[name]
        return value if isinstance(value, list) else [value]
    if item.get("resourceType") == name:
        return [item]
    size = len(name)
    for key, value in item.items():
        if key.startswith(name) and key[size : size + 1].isupper():
            kind = key[size:]
            return [Typed(kind, v) for v in (value if isinstance(value, list) else [value])]
    return []


def _index(base: Expression, index: Expression) -> Expression:
    def read(focus: Values, scope: Scope) -> Values:
        at = index(focus, scope)
        found = base(focus, scope)
        position = plain(at[0]) if at else -1
        if not isinstance(position, int) or not 0 <= position < len(found):
            return []
        return [found[position]]

    return read


# --- operators --------------------------------------------------------------------------------


def truth(values: Values, what: str) -> bool | None:
    """Return a boolean, None for nothing; raise InvalidView for what is no boolean."""
    if not values:
        return None
    value = plain(values[0])
    if len(values) > 1 or not isinstance(value, bool):
        raise InvalidView(f"`{what}` must be a boolean, and is not.", param=what)
    return value


def _operation(
    operator: str, left: Node, right: Node, constants: Mapping[str, Any], where: str
) -> Expression:
    first = compile_node(left, constants, where)
    if operator in {"is", "as"}:
        kind = type_named(right, where)
        return _is(first, kind) if operator == "is" else _of_type(first, kind)
    second = compile_node(right, constants, where)
    if operator in _LOGIC:
        logic = _LOGIC[operator]

        def decide(focus: Values, scope: Scope) -> Values:
            known = logic(truth(first(focus, scope), where), truth(second(focus, scope), where))
            return [] if known is None else [known]

        return decide
    apply = _OPERATORS[operator]
    return lambda focus, scope: apply(
        [plain(v) for v in first(focus, scope)], [plain(v) for v in second(focus, scope)]
    )


def _and(a: bool | None, b: bool | None) -> bool | None:
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def _or(a: bool | None, b: bool | None) -> bool | None:
    if a or b:
        return True
    return None if a is None or b is None else False


def _xor(a: bool | None, b: bool | None) -> bool | None:
    return None if a is None or b is None else a is not b


_LOGIC: Final[Mapping[str, Callable[[bool | None, bool | None], bool | None]]] = {
    "and": _and,
    "or": _or,
    "xor": _xor,
    "implies": lambda a, b: _or(None if a is None else not a, b),
}


def _equal(a: Values, b: Values) -> Values:
    return [a == b] if a and b else []


def _unequal(a: Values, b: Values) -> Values:
    return [a != b] if a and b else []


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Values, Values], Values]:
    def compare(a: Values, b: Values) -> Values:
        if len(a) != 1 or len(b) != 1:
            return []
        try:
            return [test(a[0], b[0])]
        except TypeError:
            return []

    return compare


def _calculate(work: Callable[[Any, Any], Any]) -> Callable[[Values, Values], Values]:
    def calculate(a: Values, b: Values) -> Values:
        if len(a) != 1 or len(b) != 1:
            return []
        try:
            return [work(a[0], b[0])]
        except (TypeError, DivisionByZero, InvalidOperation, ZeroDivisionError):
            return []

    return calculate


def _union(a: Values, b: Values) -> Values:
    found: Values = []
    for value in [*a, *b]:
        if value not in found:
            found.append(value)
    return found


_OPERATORS: Final[Mapping[str, Callable[[Values, Values], Values]]] = {
    "=": _equal,
    "!=": _unequal,
    "~": lambda a, b: [a == b],
    "!~": lambda a, b: [a != b],
    "<": _compare(lambda a, b: bool(a < b)),
    ">": _compare(lambda a, b: bool(a > b)),
    "<=": _compare(lambda a, b: bool(a <= b)),
    ">=": _compare(lambda a, b: bool(a >= b)),
    "+": _calculate(lambda a, b: a + b),
    "-": _calculate(lambda a, b: a - b),
    "*": _calculate(lambda a, b: a * b),
    "/": _calculate(lambda a, b: Decimal(a) / Decimal(b)),
    "div": _calculate(lambda a, b: int(Decimal(a) / Decimal(b))),
    "mod": _calculate(lambda a, b: Decimal(a) % Decimal(b)),
    "&": lambda a, b: ["".join(str(v) for v in [*a[:1], *b[:1]])],
    "|": _union,
    "in": lambda a, b: [a[0] in b] if a else [],
    "contains": lambda a, b: [b[0] in a] if b else [],
}


# --- types ------------------------------------------------------------------------------------


def type_named(node: Node, where: str) -> str:
    """Return the type that an argument names: `Quantity`, `FHIR.Quantity`, `System.String`."""
    if isinstance(node, Member):
        return node.name
    raise InvalidView("A type is named here, such as `Quantity`.", param=where)


def _of_type(base: Expression, kind: str) -> Expression:
    return lambda focus, scope: [v for v in base(focus, scope) if is_of_type(v, kind)]


def _is(base: Expression, kind: str) -> Expression:
    return lambda focus, scope: [is_of_type(v, kind) for v in base(focus, scope)[:1]]


def is_of_type(value: Any, kind: str) -> bool:  # noqa: ANN401  # JSON
    """Tell whether a value is of a FHIR type, as far as the JSON says."""
    wanted = kind[:1].upper() + kind[1:]
    if isinstance(value, Typed):
        return value.type == wanted
    if isinstance(value, bool):
        return wanted == "Boolean"
    if isinstance(value, int):
        return wanted in {"Integer", "PositiveInt", "UnsignedInt", "Decimal"}
    if isinstance(value, Decimal):
        return wanted == "Decimal"
    if isinstance(value, str):
        return kind[:1].lower() + kind[1:] in _TEXTS
    return not isinstance(value, dict) or value.get("resourceType", kind) == kind


# --- functions --------------------------------------------------------------------------------


def _call(node: Call, constants: Mapping[str, Any], where: str) -> Expression:
    from fhir.analytics.functions import FUNCTIONS, Site

    base = _base(node.base, constants, where)
    maker = FUNCTIONS.get(node.name)
    if maker is None:
        raise InvalidView(f"There is no function `{node.name}()` here.", param=where)
    compiled = tuple(
        argument if node.name in TYPE_FUNCTIONS else compile_node(argument, constants, where)
        for argument in node.arguments
    )
    return maker(Site(base, compiled, where))


TYPE_FUNCTIONS: Final = frozenset({"ofType", "as", "is", "getReferenceKey"})


def each(base: Expression, test: Expression, what: str) -> Callable[[Values, Scope], Values]:
    """Return the function that keeps the items for which a criterion is true."""

    def keep(focus: Values, scope: Scope) -> Values:
        return [
            item
            for number, item in enumerate(base(focus, scope))
            if truth(test([item], replace(scope, this=item, index=number)), what)
        ]

    return keep
