"""What an expression reads: the names that begin at a root, and the functions it calls."""

from collections.abc import Iterator
from typing import Final

from fhir.fhirpath.functions import FUNCTIONS
from fhir.fhirpath.syntax import Binary, Call, Index, Member, Sign, Tree, Variable

# Functions whose arguments are evaluated for each item: names in them don't begin at the roots.
_ITERATING: Final = frozenset({"where", "select", "all", "exists", "repeat", "aggregate", "sort"})
_GUARDS: Final = frozenset({"exists", "coalesce", "empty", "iif"})

Found = tuple[tuple[str, ...], bool]


def unknown_functions(tree: Tree) -> list[str]:
    """Return the functions that an expression calls and that don't exist here."""
    return [call.name for call in _calls(tree) if call.name not in FUNCTIONS]


def variables(tree: Tree) -> Iterator[str]:
    """Yield the names of the variables that an expression reads."""
    if isinstance(tree, Variable):
        yield tree.name
    for branch in _branches(tree):
        yield from variables(branch)


def references(tree: Tree, *, guarded: bool = False) -> Iterator[Found]:
    """Yield the names that begin at a root, as far as they are plain members.

    The flag says whether the expression itself copes with the name's absence.
    """
    chain = _member_chain(tree)
    if chain is not None:
        yield chain, guarded
    elif isinstance(tree, Call):
        yield from _of_call(tree, guarded)
    else:
        for branch in _branches(tree):
            yield from references(branch, guarded=guarded)


def _of_call(call: Call, guarded: bool) -> Iterator[Found]:
    copes = guarded or call.name in _GUARDS
    if call.base is not None:
        yield from references(call.base, guarded=copes)
    style = FUNCTIONS[call.name].style if call.name in FUNCTIONS else ""
    if call.name not in _ITERATING and style != "type":
        for argument in call.arguments:
            yield from references(argument, guarded=copes)


def _branches(tree: Tree) -> tuple[Tree, ...]:
    match tree:
        case Member(base, _):
            return () if base is None else (base,)
        case Call(base, _, arguments):
            return arguments if base is None else (base, *arguments)
        case Index(base, index):
            return base, index
        case Sign(_, operand):
            return (operand,)
        case Binary(operator, left, right):
            return (left,) if operator in {"is", "as"} else (left, right)
    return ()


def _calls(tree: Tree) -> Iterator[Call]:
    if isinstance(tree, Call):
        yield tree
    for branch in _branches(tree):
        yield from _calls(branch)


def _member_chain(tree: Tree) -> tuple[str, ...] | None:
    if not isinstance(tree, Member):
        return None
    if tree.base is None:
        return (tree.name,)
    above = _member_chain(tree.base)
    return None if above is None else (*above, tree.name)
