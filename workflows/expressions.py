"""Expressions: FHIRPath over a run's data, and the `{{ }}` templates that hold them.

`"{{ input.patient_id }}"` alone keeps the type of the value; inside text it is interpolated. Names
begin at `input`, `steps`, `item`, `trigger`, `run` or `env`; inside `where(…)` and the like, where
FHIRPath names begin at the item, the same roots are `%input`, `%steps` and so on. A plain path
(`steps.labs.output.resources`) gives the JSON value at its end, lists included; other expressions
give null for an empty result, the value for one, a list for several.

Pure; nothing is ever evaluated as Python. Each evaluation has a budget of work and of size.
FHIRPath: https://hl7.org/fhirpath/N1/
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache, wraps
from typing import Any, Final

from antlr4 import CommonTokenStream, InputStream
from antlr4.error.ErrorListener import ErrorListener
from antlr4.tree.Tree import ParseTreeWalker
from fhirpathpy.engine import do_eval
from fhirpathpy.engine.invocations import invocation_registry
from fhirpathpy.engine.invocations.constants import constants
from fhirpathpy.engine.nodes import FP_Quantity, FP_Type
from fhirpathpy.engine.util import get_data
from fhirpathpy.parser.ASTPathListener import ASTPathListener
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

ROOTS: Final = ("input", "steps", "item", "trigger", "run", "env")
MAX_LENGTH: Final = 4_000
MAX_WORK: Final = 200_000  # evaluated nodes of the syntax tree
MAX_SECONDS: Final = 1.0
MAX_TEXT: Final = 1_048_576
_MAX_INTEGER_BITS: Final = 256
# Regular expressions can take exponential time, `power` builds huge numbers, `trace` prints.
_REFUSED: Final = frozenset({"matches", "replaceMatches", "power", "trace"})
_PLAIN_PATH: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d+\])*")
_PLAIN_STEP: Final = re.compile(r"([A-Za-z_]\w*)|\[(\d+)\]")
# Functions whose arguments are evaluated for each item: names in them don't begin at the roots.
_ITERATING: Final = frozenset({"where", "select", "all", "exists", "repeat", "aggregate"})
_GUARDS: Final = frozenset({"exists", "coalesce", "empty", "iif"})

Json = Any  # any JSON value
Roots = Mapping[str, Json]
Quote = Callable[[str], str]


class ExpressionError(ValueError):
    """An expression that can't be parsed or evaluated; `code` tells which."""

    def __init__(self, code: str, message: str, expression: str) -> None:
        super().__init__(f"{message} in `{expression}`")
        self.code = code
        self.expression = expression


class _OverBudget(Exception):  # never leaves this module
    pass


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that an expression reads: `("steps", "labs", "output")`.

    `guarded` when the expression itself copes with its absence (`exists()`, `coalesce()` …).
    """

    path: tuple[str, ...]
    guarded: bool


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression, ready to be evaluated many times."""

    text: str
    references: tuple[Reference, ...]
    plain: tuple[str | int, ...] | None
    tree: Any = field(repr=False, compare=False)

    def evaluate(self, roots: Roots) -> Json:
        """Return the value: null, one JSON value, or a list; raise ExpressionError."""
        if self.plain is not None:
            found, value = _walk(roots, self.plain)
            if found:
                return value
        results = self._results(roots)
        if len(results) > 1:
            return results
        return results[0] if results else None

    def holds(self, roots: Roots) -> bool:
        """Return the value as a condition: empty counts as false; other types are errors."""
        value = self.evaluate(roots)
        if value is None or value == []:
            return False
        if isinstance(value, bool):
            return value
        kind = type(value).__name__
        raise ExpressionError(
            "not_boolean", f"A condition must be true or false, not {kind}", self.text
        )

    def _results(self, roots: Roots) -> list[Json]:
        _work.begin()
        constants.reset()
        context = {
            "dataRoot": [dict(roots)],
            "vars": {**roots, "context": dict(roots), "ucum": "http://unitsofmeasure.org"},
            "model": None,
            "userInvocationTable": _INVOCATIONS,
        }
        try:
            results = do_eval(context, context["dataRoot"], self.tree)
            return [
                _to_json(result) for result in (results if isinstance(results, list) else [results])
            ]
        except _OverBudget:
            raise ExpressionError("too_much_work", "Too much work or data", self.text) from None
        except RecursionError:
            raise ExpressionError("too_much_work", "Nested too deeply", self.text) from None
        except Exception as error:  # the library raises bare exceptions; each is a typed error here
            reason = str(error).split("\n")[0][:200] or type(error).__name__
            raise ExpressionError(
                "evaluation_failed", f"Can't evaluate: {reason}", self.text
            ) from error


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Expression:
    """Return the parsed expression; raise ExpressionError `syntax`, `too_long`, `unknown_name`."""
    stripped = text.strip()
    if not stripped:
        raise ExpressionError("syntax", "Empty expression", text)
    if len(stripped) > MAX_LENGTH:
        raise ExpressionError("too_long", f"Over {MAX_LENGTH} characters", stripped[:80] + "…")
    try:
        tree = _parse_tree(stripped)
    except RecursionError:
        raise ExpressionError("too_long", "Nested too deeply", stripped[:80]) from None
    references = tuple(_references(tree, guarded=False))
    for name in _function_names(tree):
        if name not in _INVOCATIONS:
            raise ExpressionError("unknown_name", f"There is no function {name}()", stripped)
    return Expression(stripped, references, _plain_path(stripped), tree)


# --- templates --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Template:
    """Text with expressions in it: constant parts and parsed expressions in turn."""

    parts: tuple[str | Expression, ...]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """Return the expressions in order."""
        return tuple(part for part in self.parts if isinstance(part, Expression))

    def resolve(self, roots: Roots, quote: Quote | None = None) -> Json:
        """Return the value of a lone expression, or text with each expression's value in it.

        `quote` is applied to each interpolated value (not to a lone one), to keep it one value
        where the text is a query.
        """
        if len(self.parts) == 1 and isinstance(self.parts[0], Expression):
            return self.parts[0].evaluate(roots)
        texts = [
            part if isinstance(part, str) else _as_text(part, part.evaluate(roots), quote)
            for part in self.parts
        ]
        text = "".join(texts)
        if len(text) > MAX_TEXT:
            raise ExpressionError("too_much_work", "The text gets too long", text[:80] + "…")
        return text


@lru_cache(maxsize=4096)
def parse_template(text: str) -> Template:
    """Split text at `{{ … }}`, minding quotes inside; raise ExpressionError."""
    parts: list[str | Expression] = []
    position = 0
    while (opened := text.find("{{", position)) >= 0:
        if opened > position:
            parts.append(text[position:opened])
        closed = _closing(text, opened + 2)
        parts.append(parse_expression(text[opened + 2 : closed]))
        position = closed + 2
    if position < len(text) or not parts:
        parts.append(text[position:])
    return Template(tuple(parts))


def resolve(value: Json, roots: Roots, quote: Quote | None = None) -> Json:
    """Return `value` with each template in it, at any depth, resolved; raise ExpressionError."""
    if isinstance(value, str):
        return parse_template(value).resolve(roots, quote) if "{{" in value else value
    if isinstance(value, Mapping):
        return {key: resolve(member, roots, quote) for key, member in value.items()}
    if isinstance(value, list):
        return [resolve(member, roots, quote) for member in value]
    return value


def find_templates(value: Json, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield `(field, text)` for each text with a template in it, at any depth."""
    if isinstance(value, str):
        if "{{" in value:
            yield at, value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from find_templates(member, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from find_templates(member, f"{at}[{index}]")


def _closing(text: str, start: int) -> int:
    quote = ""
    position = start
    while position < len(text):
        character = text[position]
        if quote:
            if character == "\\":
                position += 1
            elif character == quote:
                quote = ""
        elif character in "'`\"":
            quote = character
        elif text.startswith("}}", position):
            return position
        position += 1
    raise ExpressionError("syntax", "A `{{` without its `}}`", text[start - 2 :][:80])


def _as_text(expression: Expression, value: Json, quote: Quote | None) -> str:
    match value:
        case None:
            text = ""
        case bool():
            text = "true" if value else "false"
        case str() | int() | float():
            text = str(value)
        case list() if all(isinstance(member, str | int | float) for member in value):
            text = ",".join(str(member) for member in value)
        case _:
            raise ExpressionError("not_text", "This value can't stand inside text", expression.text)
    return quote(text) if quote else text


# --- parsing ----------------------------------------------------------------------------------


class _Node(dict[str, Any]):
    """A node of the syntax tree that counts how often it is evaluated."""

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401  # a node of a foreign tree
        if key == "type":
            _work.spend()
        return super().__getitem__(key)


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
            raise _OverBudget


_work = _Work()


class _StrictListener(ErrorListener):  # type: ignore[misc]  # antlr4 is untyped
    def __init__(self, text: str) -> None:
        self.text = text

    def syntaxError(  # noqa: N802  # the library's name
        self,
        recognizer: object,
        symbol: object,
        line: int,
        column: int,
        message: str,
        error: object,
    ) -> None:
        raise ExpressionError("syntax", f"Not FHIRPath at character {column + 1}", self.text)


def _parse_tree(text: str) -> _Node:
    """Parse strictly: the library's own `parse` takes `1 +` and ignores what follows an end."""
    listener = _StrictListener(text)
    lexer = FHIRPathLexer(InputStream(text))
    lexer.removeErrorListeners()
    lexer.addErrorListener(listener)
    parser = FHIRPathParser(CommonTokenStream(lexer))
    parser.removeErrorListeners()
    parser.addErrorListener(listener)
    entire = parser.entireExpression()
    builder = ASTPathListener()
    ParseTreeWalker().walk(builder, entire.expression())
    return _counted(builder.parentStack[0]["children"][0])


def _counted(node: Mapping[str, Any]) -> _Node:
    copy = _Node(node)
    if "children" in copy:
        copy["children"] = [_counted(child) for child in node["children"]]
    return copy


def _plain_path(text: str) -> tuple[str | int, ...] | None:
    if not _PLAIN_PATH.fullmatch(text) or text.split(".")[0].split("[")[0] not in ROOTS:
        return None
    return tuple(name or int(index) for name, index in _PLAIN_STEP.findall(text))


def _walk(roots: Roots, path: tuple[str | int, ...]) -> tuple[bool, Json]:
    """Follow a plain path; `(False, …)` when a list on the way needs FHIRPath's flattening."""
    value: Json = roots
    for name in path:
        if isinstance(name, int):
            if not isinstance(value, list):
                return False, None
            value = value[name] if name < len(value) else None
        elif isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list):
            return False, None
        else:
            return True, None
        if value is None:
            return True, None
    return True, value


def _references(node: Mapping[str, Any], *, guarded: bool) -> Iterator[Reference]:
    """Yield the names that begin at a root, as long as they are plain members."""
    chain = _member_chain(node)
    if chain is not None:
        yield Reference(chain, guarded)
        return
    children = list(node.get("children", ()))
    if dict.get(node, "type") == "InvocationExpression":
        function = _called_function(children[1])
        yield from _references(children[0], guarded=guarded or function in _GUARDS)
        if function is not None:
            yield from _parameter_references(children[1], function, guarded=guarded)
        return
    function = _called_function(node)
    if function is not None:
        yield from _parameter_references(node, function, guarded=guarded)
        return
    for child in children:
        yield from _references(child, guarded=guarded)


def _parameter_references(
    node: Mapping[str, Any], function: str, *, guarded: bool
) -> Iterator[Reference]:
    if function in _ITERATING:
        return
    for parameters in _find(node, "ParamList"):
        for child in parameters.get("children", ()):
            yield from _references(child, guarded=guarded or function in _GUARDS)


def _member_chain(node: Mapping[str, Any]) -> tuple[str, ...] | None:
    kind = dict.get(node, "type")
    children = node.get("children", ())
    if kind in {"TermExpression", "InvocationTerm"} and len(children) == 1:
        return _member_chain(children[0])
    if kind == "MemberInvocation":
        return (children[0].get("text", "").strip("`"),)
    if kind == "InvocationExpression" and dict.get(children[1], "type") == "MemberInvocation":
        left = _member_chain(children[0])
        return None if left is None else (*left, children[1]["children"][0]["text"].strip("`"))
    return None


def _called_function(node: Mapping[str, Any]) -> str | None:
    while dict.get(node, "type") in {"TermExpression", "InvocationTerm"}:
        node = node["children"][0]
    if dict.get(node, "type") != "FunctionInvocation":
        return None
    name: str = node["children"][0]["children"][0]["text"]
    return name


def _function_names(tree: Mapping[str, Any]) -> Iterator[str]:
    for node in _find(tree, "FunctionInvocation"):
        yield node["children"][0]["children"][0]["text"]


def _find(node: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    if dict.get(node, "type") == kind:
        yield node
    for child in node.get("children", ()):
        yield from _find(child, kind)


# --- bounded evaluation -----------------------------------------------------------------------


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(context: object, *arguments: Any) -> Any:  # noqa: ANN401  # the library's own values
        _check_growth(name, arguments)
        result = function(context, *arguments)
        if (isinstance(result, str) and len(result) > MAX_TEXT) or (
            isinstance(result, int) and result.bit_length() > _MAX_INTEGER_BITS
        ):
            raise _OverBudget
        return result

    return call


def _check_growth(name: str, arguments: tuple[Any, ...]) -> None:
    """Refuse before the call what one call could blow up: many parts times a long separator."""
    if name not in {"replace", "join"}:
        return
    lengths = [len(a) for a in arguments if isinstance(a, str)]
    parts = [a for a in arguments if isinstance(a, list)]
    longest = max((len(str(get_data(m))) for part in parts for m in part), default=0)
    count = max((len(part) for part in parts), default=0)
    if max(longest, count, 1) * max([*lengths, 1]) > 4 * MAX_TEXT:
        raise _OverBudget


_INVOCATIONS: Final = {
    name: {**entry, "fn": _bounded(name, entry["fn"])}
    for name, entry in invocation_registry.items()
    if name not in _REFUSED
}


def _to_json(value: Any) -> Json:  # noqa: ANN401  # the library's own values
    value = get_data(value)
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
