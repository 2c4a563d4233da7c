"""Text → syntax tree, by the grammar of FHIRPath. https://hl7.org/fhirpath/N1/grammar.html"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fhir.fhirpath.errors import SyntaxRefused
from fhir.fhirpath.quantities import CALENDAR, Quantity
from fhir.fhirpath.temporal import Temporal

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*[\s\S]*?\*/)
    | (?P<moment>@(?:T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?
        |\d{4}(?:-\d\d(?:-\d\d)?)?(?:T(?:\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:\d\d)?)?)?))
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<text>'(?:[^'\\]|\\.)*')
    | (?P<variable>%(?:[A-Za-z_][\w-]*|`(?:[^`\\]|\\.)+`|'(?:[^'\\]|\\.)+'))
    | (?P<special>\$(?:this|index|total))
    | (?P<name>[A-Za-z_]\w*)
    | (?P<quoted>`(?:[^`\\]|\\.)+`)
    | (?P<sign><=|>=|!=|!~|[-+*/&|=~<>()\[\]{},.])""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
# From the loosest to the tightest.
_LEVELS: Final = (
    ("implies",),
    ("or", "xor"),
    ("and",),
    ("in", "contains"),
    ("=", "~", "!=", "!~"),
    ("<=", "<", ">", ">="),
    ("|",),
    ("is", "as"),
    ("+", "-", "&"),
    ("*", "/", "div", "mod"),
)
_TYPES: Final = _LEVELS.index(("is", "as"))
_DEEPEST: Final = 64


@dataclass(frozen=True, slots=True)
class Literal:
    """A value as it stands; None is the empty collection `{}`."""

    value: object


@dataclass(frozen=True, slots=True)
class Variable:
    """`%name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Special:
    """`$this`, `$index` or `$total`, without the sign."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """`base.name`; without a base, of the focus."""

    base: "Tree | None"
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`base.name(arguments)`; without a base, on the focus."""

    base: "Tree | None"
    name: str
    arguments: tuple["Tree", ...]


@dataclass(frozen=True, slots=True)
class Index:
    """`base[index]`."""

    base: "Tree"
    index: "Tree"


@dataclass(frozen=True, slots=True)
class Sign:
    """`-operand` or `+operand`."""

    sign: str
    operand: "Tree"


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`; the right side of `is` and `as` is the name of a type."""

    operator: str
    left: "Tree"
    right: "Tree"


Tree = Literal | Variable | Special | Member | Call | Index | Sign | Binary


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


def parse(text: str) -> Tree:
    """Return the syntax tree of an expression; raise SyntaxRefused."""
    return _Parser(text).whole()


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise SyntaxRefused(position + 1)
        if found.lastgroup != "space":
            yield _Token(found.lastgroup, found[0], position + 1)
        position = found.end()


class _Parser:
    """Recursive descent over the tokens, to a limited depth."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._end = len(text) + 1
        self._at = self._depth = 0

    def whole(self) -> Tree:
        """Return the tree of all tokens."""
        tree = self._level(0)
        if self._at < len(self._tokens):
            raise self._error()
        return tree

    def _error(self) -> SyntaxRefused:
        ended = self._at >= len(self._tokens)
        return SyntaxRefused(self._end if ended else self._tokens[self._at].column)

    def _peek(self) -> str:
        """Return the next sign or word, an empty text where there is another kind of token."""
        if self._at >= len(self._tokens) or self._tokens[self._at].kind not in {"sign", "name"}:
            return ""
        return self._tokens[self._at].text

    def _take(self) -> _Token:
        if self._at >= len(self._tokens):
            raise self._error()
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, sign: str) -> None:
        if self._peek() != sign:
            raise self._error()
        self._at += 1

    def _level(self, level: int) -> Tree:
        if level == len(_LEVELS):
            return self._polarity()
        left = self._level(level + 1)
        while self._peek() in _LEVELS[level]:
            operator = self._take().text
            right = self._type() if level == _TYPES else self._level(level + 1)
            left = Binary(operator, left, right)
        return left

    def _type(self) -> Tree:
        found: Tree = Member(None, self._name())
        while self._peek() == ".":
            self._at += 1
            found = Member(found, self._name())
        return found

    def _name(self) -> str:
        token = self._take()
        if token.kind not in {"name", "quoted"}:
            self._at -= 1
            raise self._error()
        return token.text if token.kind == "name" else _unescaped(token.text[1:-1])

    def _polarity(self) -> Tree:
        if self._peek() in {"-", "+"}:
            sign = self._take().text
            self._enter()
            operand = self._polarity()
            self._depth -= 1
            return Sign(sign, operand)
        tree = self._term()
        while self._peek() in {".", "["}:
            if self._take().text == ".":
                tree = self._invocation(tree)
            else:
                tree = Index(tree, self._inner("]"))
        return tree

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise RecursionError

    def _inner(self, end: str) -> Tree:
        self._enter()
        tree = self._level(0)
        self._depth -= 1
        self._expect(end)
        return tree

    def _term(self) -> Tree:
        token = self._take()
        if token.kind == "sign" and token.text == "(":
            return self._inner(")")
        if token.kind == "sign" and token.text == "{":
            self._expect("}")
            return Literal(None)
        if token.kind == "name" and token.text in {"true", "false"}:
            return Literal(token.text == "true")
        leaf = self._leaf(token)
        if leaf is None:
            self._at -= 1
            return self._invocation(None)
        return leaf

    def _leaf(self, token: _Token) -> Tree | None:
        """Return what one token means by itself, None where it begins an invocation."""
        match token.kind:
            case "number":
                return self._number(token.text)
            case "text":
                return Literal(_unescaped(token.text[1:-1]))
            case "moment":
                return Literal(self._moment(token.text))
            case "variable":
                name = token.text[1:]
                return Variable(_unescaped(name[1:-1]) if name[0] in "`'" else name)
            case "special":
                return Special(token.text[1:])
        return None

    def _number(self, text: str) -> Tree:
        value = Decimal(text) if "." in text else int(text)
        following = self._tokens[self._at] if self._at < len(self._tokens) else None
        if following is not None and following.kind == "text":
            self._at += 1
            return Literal(Quantity(Decimal(text), _unescaped(following.text[1:-1])))
        if following is not None and following.kind == "name" and following.text in CALENDAR:
            self._at += 1
            return Literal(Quantity(Decimal(text), CALENDAR[following.text], is_calendar=True))
        return Literal(value)

    def _moment(self, text: str) -> Temporal:
        found = Temporal.read(text[1:], is_literal=True)
        if found is None:
            self._at -= 1
            raise self._error()
        return found

    def _invocation(self, base: Tree | None) -> Tree:
        if self._at < len(self._tokens) and self._tokens[self._at].kind == "special":
            return Special(self._take().text[1:])
        is_quoted = self._at < len(self._tokens) and self._tokens[self._at].kind == "quoted"
        name = self._name()
        if is_quoted or self._peek() != "(":
            return Member(base, name)
        self._at += 1
        arguments: list[Tree] = []
        self._enter()
        while self._peek() != ")":
            if arguments:
                self._expect(",")
            arguments.append(self._level(0))
        self._depth -= 1
        self._at += 1
        return Call(base, name, tuple(arguments))


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_unescape, text) if "\\" in text else text


def _unescape(found: re.Match[str]) -> str:
    letter = found[1]
    return chr(int(letter[1:], 16)) if len(letter) > 1 else _ESCAPES.get(letter, letter)
