"""FHIRPath, parsed strictly and evaluated within a budget: what is ours around fhirpathpy. Pure.

The library's own `parse` takes `1 +` and ignores what follows an end; and nothing in it bounds
the work or the size of values. Here a syntax error is an error, each evaluated node of the tree
counts, and results that grow without measure end the evaluation.
FHIRPath: https://hl7.org/fhirpath/N1/
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import wraps
from typing import Any, Final, cast

from antlr4 import CommonTokenStream, InputStream  # type: ignore[import-untyped]
from antlr4.error.ErrorListener import ErrorListener  # type: ignore[import-untyped]
from antlr4.tree.Tree import ParseTreeWalker  # type: ignore[import-untyped]
from fhirpathpy.engine import do_eval
from fhirpathpy.engine.invocations import invocation_registry
from fhirpathpy.engine.invocations.constants import constants
from fhirpathpy.engine.nodes import FP_Quantity, FP_Type
from fhirpathpy.engine.util import get_data
from fhirpathpy.parser.ASTPathListener import ASTPathListener
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

MAX_WORK: Final = 200_000  # evaluated nodes of the syntax tree
MAX_SECONDS: Final = 1.0
MAX_TEXT: Final = 1_048_576
_MAX_INTEGER_BITS: Final = 256
# Regular expressions can take exponential time, `power` builds huge numbers, `trace` prints.
_REFUSED: Final = frozenset({"matches", "replaceMatches", "power", "trace"})
# Functions whose arguments are evaluated for each item: names in them don't begin at the roots.
_ITERATING: Final = frozenset({"where", "select", "all", "exists", "repeat", "aggregate"})
_GUARDS: Final = frozenset({"exists", "coalesce", "empty", "iif"})

Value = Any  # any JSON value, or a value of the library's
Library = Callable[..., Any]  # a function of the library, which has no types


class SyntaxRefused(ValueError):
    """Not FHIRPath; `column` counts from 1."""

    def __init__(self, column: int) -> None:
        super().__init__(f"Not FHIRPath at character {column}")
        self.column = column


class OverBudget(Exception):
    """The evaluation takes more work, time or space than it may."""


class Tree(dict[str, Any]):
    """A node of the syntax tree; the evaluator reads its type, and that is counted."""

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401  # a member of a foreign tree
        if key == "type":
            _work.spend()
        return super().__getitem__(key)

    @property
    def kind(self) -> str:
        """Return the node's type without counting."""
        return str(super().get("type", ""))

    @property
    def branches(self) -> "list[Tree]":
        """Return the nodes below."""
        return cast("list[Tree]", super().get("children", []))


class _Work(threading.local):
    """What is left of the budget of the evaluation that this thread does."""

    left = MAX_WORK
    until = 0.0

    def begin(self) -> None:
        self.left = MAX_WORK
        self.until = time.monotonic() + MAX_SECONDS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0 or (self.left % 256 == 0 and time.monotonic() > self.until):
            raise OverBudget


_work = _Work()


class _StrictListener(ErrorListener):  # type: ignore[misc]  # antlr4 is untyped
    def syntaxError(  # noqa: N802  # the library's name
        self,
        recognizer: object,
        symbol: object,
        line: int,
        column: int,
        message: str,
        error: object,
    ) -> None:
        raise SyntaxRefused(column + 1)


def parse(text: str) -> Tree:
    """Return the syntax tree of an expression; raise SyntaxRefused."""
    lexer = FHIRPathLexer(InputStream(text))
    parser = FHIRPathParser(CommonTokenStream(lexer))
    for recognizer in (lexer, parser):
        recognizer.removeErrorListeners()
        recognizer.addErrorListener(_StrictListener())
    builder = cast("Library", ASTPathListener)()
    entire = cast("Library", parser.entireExpression)()
    ParseTreeWalker().walk(builder, entire.expression())
    return _counted(builder.parentStack[0]["children"][0])


def evaluate(tree: Tree, roots: Mapping[str, Value]) -> list[Value]:
    """Return the resulting collection as JSON; raise OverBudget, or what the library does."""
    _work.begin()
    cast("Library", constants.reset)()
    context = {
        "dataRoot": [dict(roots)],
        "vars": {**roots, "context": dict(roots), "ucum": "http://unitsofmeasure.org"},
        "model": None,
        "userInvocationTable": _INVOCATIONS,
    }
    results = cast("Library", do_eval)(context, context["dataRoot"], tree)
    return [_to_json(result) for result in (results if isinstance(results, list) else [results])]


def unknown_functions(tree: Tree) -> list[str]:
    """Return the functions that an expression calls and that don't exist here."""
    called = [_called_function(node) or "" for node in _find(tree, "FunctionInvocation")]
    return [name for name in called if name not in _INVOCATIONS]


def references(tree: Tree, *, guarded: bool = False) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield the names that begin at a root, as far as they are plain members.

    The flag says whether the expression itself copes with the name's absence.
    """
    chain = _member_chain(tree)
    if chain is not None:
        yield chain, guarded
        return
    inner = tree.branches
    function = _called_function(tree)
    if tree.kind == "InvocationExpression":
        function = _called_function(inner[1])
        yield from references(inner[0], guarded=guarded or function in _GUARDS)
        if function is not None:
            yield from _parameter_references(inner[1], function, guarded=guarded)
    elif function is not None:
        yield from _parameter_references(tree, function, guarded=guarded)
    else:
        for node in inner:
            yield from references(node, guarded=guarded)


def _parameter_references(
    tree: Tree, function: str, *, guarded: bool
) -> Iterator[tuple[tuple[str, ...], bool]]:
    if function in _ITERATING:
        return
    for parameters in _find(tree, "ParamList"):
        for node in parameters.branches:
            yield from references(node, guarded=guarded or function in _GUARDS)


def _counted(node: Mapping[str, Any]) -> Tree:
    copy = Tree(node)
    if "children" in copy:
        copy["children"] = [_counted(child) for child in node["children"]]
    return copy


def _member_chain(tree: Tree) -> tuple[str, ...] | None:
    inner = tree.branches
    if tree.kind in {"TermExpression", "InvocationTerm"} and len(inner) == 1:
        return _member_chain(inner[0])
    if tree.kind == "MemberInvocation":
        return (str(inner[0].get("text", "")).strip("`"),)
    if tree.kind == "InvocationExpression" and inner[1].kind == "MemberInvocation":
        left = _member_chain(inner[0])
        name = str(inner[1].branches[0]["text"]).strip("`")
        return None if left is None else (*left, name)
    return None


def _called_function(tree: Tree) -> str | None:
    while tree.kind in {"TermExpression", "InvocationTerm"}:
        tree = tree.branches[0]
    if tree.kind != "FunctionInvocation":
        return None
    return str(tree.branches[0].branches[0]["text"])


def _find(tree: Tree, kind: str) -> Iterator[Tree]:
    if tree.kind == kind:
        yield tree
    for node in tree.branches:
        yield from _find(node, kind)


def _bounded(name: str, function: Library) -> Library:
    @wraps(function)
    def call(context: object, *arguments: Value) -> Value:
        _check_growth(name, arguments)
        result = function(context, *arguments)
        too_long = isinstance(result, str) and len(result) > MAX_TEXT
        too_big = isinstance(result, int) and result.bit_length() > _MAX_INTEGER_BITS
        if too_long or too_big:
            raise OverBudget
        return result

    return call


def _check_growth(name: str, arguments: tuple[Value, ...]) -> None:
    """Refuse before the call what one call could blow up: many parts times a long separator."""
    if name not in {"replace", "join"}:
        return
    lengths = [len(a) for a in arguments if isinstance(a, str)]
    parts = [a for a in arguments if isinstance(a, list)]
    data = cast("Library", get_data)
    longest = max((len(str(data(m))) for part in parts for m in part), default=0)
    count = max((len(part) for part in parts), default=0)
    if max(longest, count, 1) * max([*lengths, 1]) > 4 * MAX_TEXT:
        raise OverBudget


_INVOCATIONS: Final[dict[str, dict[str, Any]]] = {
    name: {**entry, "fn": _bounded(name, entry["fn"])}
    for name, entry in cast("dict[str, dict[str, Any]]", invocation_registry).items()
    if name not in _REFUSED
}


def _to_json(value: Value) -> Value:
    value = cast("Library", get_data)(value)
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case FP_Quantity():
            return {"value": _to_json(value.value), "unit": value.unit}
        case FP_Type():
            return str(value)
        case Mapping():
            return {key: _to_json(member) for key, member in value.items()}
        case list():
            return [_to_json(member) for member in value]
        case _:
            return value
