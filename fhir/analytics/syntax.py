"""The grammar of the FHIRPath subset: text to a tree. https://hl7.org/fhirpath/N1/"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fhir.analytics.errors import InvalidView

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<text>'(?:[^'\\]|\\.)*')|(?P<date>@T?\d[\d\-T:.Z+]*)"
    r"|(?P<constant>%(?:[A-Za-z_]\w*|`[^`]+`))|(?P<name>\$?[A-Za-z_]\w*|`[^`]+`)"
    r"|(?P<mark><=|>=|!=|!~|[-+*/=<>~&|.,()\[\]]))"
)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_LEVELS: Final = (
    ("implies",),
    ("or", "xor"),
    ("and",),
    ("in", "contains"),
    ("=", "!=", "~", "!~"),
    ("<", ">", "<=", ">="),
    ("|",),
    ("is", "as"),
    ("+", "-", "&"),
    ("*", "/", "div", "mod"),
)
_LONGEST: Final = 2_000
_DEEPEST: Final = 40


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as it stands."""

    value: object


@dataclass(frozen=True, slots=True)
class Constant:
    """`%name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """`base.name`; without a base, of the focus."""

    base: "Node | None"
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`base.name(arguments)`."""

    base: "Node | None"
    name: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Index:
    """`base[index]`."""

    base: "Node"
    index: "Node"


@dataclass(frozen=True, slots=True)
class Operation:
    """`left operator right`."""

    operator: str
    left: "Node"
    right: "Node"


Node = Literal | Constant | Member | Call | Index | Operation


def parse(text: object, where: str) -> Node:
    """Return the tree of an expression; raise InvalidView that names its place."""
    if not isinstance(text, str) or not text.strip():
        raise InvalidView("A path is a FHIRPath expression, as text.", param=where)
    if len(text) > _LONGEST:
        raise InvalidView(f"A path has at most {_LONGEST} characters.", param=where)
    return _Parser(text, where).whole()


class _Parser:
    def __init__(self, text: str, where: str) -> None:
        self._text, self._where, self._at, self._depth = text, where, 0, 0
        self._tokens = self._read()

    def _read(self) -> list[tuple[str, str]]:
        tokens, position = [], 0
        text = self._text.rstrip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise self._error(f"unexpected `{text[position:][:20]}`")
            kind = str(found.lastgroup)
            tokens.append((kind, found[kind]))
            position = found.end()
        return tokens

    def whole(self) -> Node:
        tree = self._level(0)
        if self._at < len(self._tokens):
            raise self._error(f"unexpected `{self._tokens[self._at][1]}`")
        return tree

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        left = self._level(level + 1)
        while self._peek() in _LEVELS[level]:
            operator = self._take()
            left = Operation(operator, left, self._level(level + 1))
        return left

    def _unary(self) -> Node:
        if self._peek() in {"-", "+"}:
            sign = self._take()
            operand = self._unary()
            return operand if sign == "+" else Operation("-", Literal(0), operand)
        return self._postfix(self._primary())

    def _postfix(self, base: Node) -> Node:
        while self._peek() in {".", "["}:
            is_index = self._take() == "["
            base = Index(base, self._inner("]")) if is_index else self._named(base)
        return base

    def _primary(self) -> Node:
        if self._at >= len(self._tokens):
            raise self._error("it ends too early")
        kind, text = self._tokens[self._at]
        if kind == "mark":
            if text != "(":
                raise self._error(f"unexpected `{text}`")
            self._at += 1
            return self._inner(")")
        if kind == "name" and text not in {"true", "false"}:
            return self._named(None)
        self._at += 1
        return _leaf(kind, text)

    def _named(self, base: Node | None) -> Node:
        kind, name = self._tokens[self._at] if self._at < len(self._tokens) else ("", "")
        if kind != "name":
            raise self._error("a name is missing")
        self._at += 1
        name = name.strip("`")
        if self._peek() != "(":
            return Member(base, name)
        self._at += 1
        arguments: list[Node] = []
        if self._peek() == ")":
            self._at += 1
            return Call(base, name, ())
        while True:
            self._enter()
            arguments.append(self._level(0))
            self._depth -= 1
            mark = self._take() if self._at < len(self._tokens) else ""
            if mark == ")":
                return Call(base, name, tuple(arguments))
            if mark != ",":
                raise self._error("`)` is missing")

    def _inner(self, end: str) -> Node:
        self._enter()
        tree = self._level(0)
        self._depth -= 1
        if self._peek() != end:
            raise self._error(f"`{end}` is missing")
        self._at += 1
        return tree

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error("it is nested too deeply")

    def _peek(self) -> str:
        if self._at >= len(self._tokens) or self._tokens[self._at][0] not in {"mark", "name"}:
            return ""
        return self._tokens[self._at][1]

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _error(self, reason: str) -> InvalidView:
        return InvalidView(f"`{self._text[:120]}` is no FHIRPath: {reason}.", param=self._where)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text)


def _leaf(kind: str, text: str) -> Node:
    match kind:
        case "name":
            return Literal(text == "true")
        case "number":
            return Literal(Decimal(text) if "." in text else int(text))
        case "text":
            return Literal(_unescaped(text[1:-1]))
        case "date":
            return Literal(text[1:].removeprefix("T"))
    return Constant(text[1:].strip("`"))
