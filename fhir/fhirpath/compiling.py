"""Syntax tree → functions on collections."""

from collections.abc import Sequence
from typing import Final

from fhir.fhirpath.equality import single, truth, type_text
from fhir.fhirpath.errors import EvaluationFailed, Unsupported
from fhir.fhirpath.functions import FUNCTIONS, Function
from fhir.fhirpath.nodes import Node, ancestors, children, knows
from fhir.fhirpath.operators import LOGIC, OPERATORS, negative
from fhir.fhirpath.scope import Items, Run, Scope
from fhir.fhirpath.syntax import (
    Binary,
    Call,
    Index,
    Literal,
    Member,
    Sign,
    Special,
    Tree,
    Variable,
)
from fhir.fhirpath.types import check_type, is_of_type, type_named

_CONSTANTS: Final = {
    "ucum": "http://unitsofmeasure.org",
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
}
_URLS: Final = {
    "vs-": "http://hl7.org/fhir/ValueSet/",
    "ext-": "http://hl7.org/fhir/StructureDefinition/",
}


def compile_tree(tree: Tree) -> Run:
    """Return the function that evaluates a tree; raise Unsupported for what is not there."""
    match tree:
        case Literal(value):
            return _constant([] if value is None else [value])
        case Variable(name):
            return _variable(name)
        case Special(name):
            return _special(name)
        case Member(base, name):
            return _member(base, name)
        case Index(base, index):
            return _index(compile_tree(base), compile_tree(index))
        case Sign(sign, operand):
            return _signed(sign, compile_tree(operand))
        case Binary(operator, left, right):
            return _binary(operator, left, right)
    return _call(tree)


def _constant(items: Items) -> Run:
    return lambda focus, scope: items


def _variable(name: str) -> Run:
    if name in _CONSTANTS:
        return _constant([_CONSTANTS[name]])
    for prefix, url in _URLS.items():
        if name.startswith(prefix):
            return _constant([url + name[len(prefix) :]])

    def read(focus: Items, scope: Scope) -> Items:
        if name not in scope.variables:
            raise EvaluationFailed(f"There is no variable %{name[:60]}.")
        value = scope.variables[name]
        return value if isinstance(value, list) else [value]

    return read


def _special(name: str) -> Run:
    if name == "this":
        return lambda focus, scope: scope.this
    if name == "index":
        return lambda focus, scope: [scope.index]
    return lambda focus, scope: scope.total


def _member(base: Tree | None, name: str) -> Run:
    if base is None:
        return _first_member(name)
    inner = compile_tree(base)

    def read(focus: Items, scope: Scope) -> Items:
        return _below(inner(focus, scope), name, scope)

    return read


def _first_member(name: str) -> Run:
    """Return what reads a name at the beginning: of an element, or of the type of the focus."""
    may_be_type = name[:1].isupper()

    def read(focus: Items, scope: Scope) -> Items:
        if not may_be_type:
            return _below(focus, name, scope)
        named = [i for i in focus if isinstance(i, Node) and name in ancestors(i.kind)]
        return named or _below(focus, name, scope)

    return read


def _below(items: Items, name: str, scope: Scope) -> Items:
    """Return the children of a name; raise where the scope says so and no item may have any."""
    found: Items = []
    is_lenient = scope.names != "exact"
    for item in items:
        found += children(item, name, is_lenient=is_lenient)
    scope.budget.spend(1 + len(found))
    if found or not items or scope.names == "any":
        return found
    if not any(knows(item, name, exactly=not is_lenient) for item in items):
        raise EvaluationFailed(f"A {type_text(items[0])} has no element `{name[:60]}`.")
    return found


def _index(base: Run, index: Run) -> Run:
    def read(focus: Items, scope: Scope) -> Items:
        found = base(focus, scope)
        at = single(index(scope.this, scope))
        if isinstance(at, bool) or not isinstance(at, int):
            if at is None:
                return []
            raise EvaluationFailed("An index is a whole number.")
        return found[at : at + 1] if at >= 0 else []

    return read


def _signed(sign: str, operand: Run) -> Run:
    if sign == "+":
        return operand
    return lambda focus, scope: negative(operand(focus, scope))


def _binary(operator: str, left: Tree, right: Tree) -> Run:
    first = compile_tree(left)
    if operator in {"is", "as"}:
        return _typed(operator, first, right)
    second = compile_tree(right)
    if operator in LOGIC:
        return _logic(operator, first, second)
    work = OPERATORS[operator]

    def apply(focus: Items, scope: Scope) -> Items:
        a, b = first(focus, scope), second(focus, scope)
        scope.budget.spend(1 + len(a) + len(b))
        return work(a, b, scope)

    return apply


def _logic(operator: str, first: Run, second: Run) -> Run:
    decide, ending = LOGIC[operator]

    def apply(focus: Items, scope: Scope) -> Items:
        scope.budget.spend()
        left = truth(first(focus, scope))
        if left is not None and left is ending:
            return [operator != "and"]
        known = decide(left, truth(second(focus, scope)))
        return [] if known is None else [known]

    return apply


def _typed(operator: str, first: Run, right: Tree) -> Run:
    space, name = type_named(right)

    def apply(focus: Items, scope: Scope) -> Items:
        check_type(space, name)
        items = first(focus, scope)
        if len(items) > 1:
            raise EvaluationFailed(f"`{operator}` takes one item, not {len(items)}.")
        if operator == "is":
            return [is_of_type(item, space, name) for item in items]
        return [item for item in items if is_of_type(item, space, name, exactly=True)]

    return apply


def _call(tree: Call) -> Run:
    function = FUNCTIONS.get(tree.name)
    if function is None:
        raise Unsupported(f"There is no function {tree.name[:60]}()")
    if not function.fewest <= len(tree.arguments) <= function.most:
        raise EvaluationFailed(f"{tree.name}() does not take {len(tree.arguments)} arguments.")
    base = compile_tree(tree.base) if tree.base is not None else None
    if function.style == "type" and tree.arguments:
        return _with_type(function, base, tree.arguments[0])
    if function.style == "sort":
        return _lazy(function, base, [_sort_key(argument) for argument in tree.arguments])
    arguments = [compile_tree(argument) for argument in tree.arguments]
    if function.style == "lazy":
        return _lazy(function, base, arguments)
    return _eager(function, base, arguments)


def _sort_key(tree: Tree) -> tuple[Run, bool]:
    """Return what a collection is sorted by, and whether the order descends."""
    if isinstance(tree, Sign) and tree.sign == "-":
        return compile_tree(tree.operand), True
    return compile_tree(tree), False


def _with_type(function: Function, base: Run | None, argument: Tree) -> Run:
    space, name = type_named(argument)

    def apply(focus: Items, scope: Scope) -> Items:
        items = focus if base is None else base(focus, scope)
        check_type(space, name)
        scope.budget.spend(1 + len(items))
        return function.work(items, scope, space, name)

    return apply


def _lazy(function: Function, base: Run | None, arguments: Sequence[object]) -> Run:
    def apply(focus: Items, scope: Scope) -> Items:
        items = focus if base is None else base(focus, scope)
        found = function.work(items, scope, *arguments)
        scope.budget.spend(1 + len(found))
        return found

    return apply


def _eager(function: Function, base: Run | None, arguments: list[Run]) -> Run:
    def apply(focus: Items, scope: Scope) -> Items:
        items = focus if base is None else base(focus, scope)
        given = [argument(scope.this, scope) for argument in arguments]
        scope.budget.spend(1 + len(items))
        found = function.work(items, scope, *given)
        scope.budget.spend(len(found))
        return found

    return apply
