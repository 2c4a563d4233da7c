"""The FHIRPath of patches: expressions that find elements together with their places.

https://hl7.org/fhirpath/N1/ without arithmetic, variables and regular expressions; what is missing
is refused by name. The work of an evaluation is bounded.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from fhir.patches.functions import FUNCTIONS, Function
from fhir.patches.operators import OPERATORS
from fhir.patches.places import Place
from fhir.patches.scope import Expression, Item, Items, Scope
from fhir.patches.values import Digits, InvalidPatch, PatchFailed

MAX_TEXT: Final = 2000
_MAX_DEPTH: Final = 32
_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<name>[A-Za-z_]\w*) | `(?P<quoted>[^`]+)` | '(?P<string>(?:[^'\\]|\\.)*)'
        | (?P<number>\d+(?:\.\d+)?) | @(?P<date>[\dT:.+Z-]+) | (?P<variable>[$%]\w+)
        | (?P<sign><=|>=|!=|!~|[=~<>|()\[\].,{}-])
    )""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
# From the loosest to the tightest.
_LEVELS: Final = (
    ("implies",),
    ("or", "xor"),
    ("and",),
    ("=", "~", "!=", "!~"),
    ("<=", ">=", "<", ">"),
    ("|",),
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression: its kind, its text and where it begins."""

    kind: str
    text: str
    column: int


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed expression; `head` and `name` are its parts where it ends with an element's name."""

    text: str
    whole: Expression
    head: Expression | None
    name: str

    def find(self, resource: Place) -> list[Place]:
        """Return the elements at this path."""
        return self._places(self.whole, resource)

    def find_list(self, resource: Place) -> tuple[Place, str]:
        """Return the element that has the list, and the list's name."""
        if self.head is None:
            raise PatchFailed(f"`{self.text[:80]}` must end with the name of a list.")
        owners = self._places(self.head, resource)
        if len(owners) != 1:
            raise PatchFailed(f"`{self.text[:80]}` finds {_how_many(owners)} with this list.")
        return owners[0], self.name

    def find_one(self, resource: Place) -> Place:
        """Return the one element at this path; raise PatchFailed for none or several."""
        found = self.find(resource)
        if len(found) != 1:
            raise PatchFailed(f"`{self.text[:80]}` finds {_how_many(found)}; it must find one.")
        return found[0]

    def _places(self, expression: Expression, resource: Place) -> list[Place]:
        found = expression([resource], Scope(resource))
        if not all(isinstance(item, Place) for item in found):
            raise PatchFailed(f"`{self.text[:80]}` finds no element but a value.")
        return [item for item in found if isinstance(item, Place)]


def _how_many(found: list[Place]) -> str:
    return f"{len(found)} elements" if found else "no element"


def parse_path(text: str) -> Path:
    """Return the expression of a path; raise InvalidPatch with the character at fault."""
    if len(text) > MAX_TEXT:
        raise InvalidPatch(f"A path may have {MAX_TEXT} characters.")
    tokens = list(_tokens(text))
    whole = _Parser(tokens, text).parse()
    if len(tokens) > 1 and tokens[-1].kind == "name" and tokens[-2].text == ".":
        return Path(text, whole, _Parser(tokens[:-2], text).parse(), tokens[-1].text)
    if len(tokens) == 1 and tokens[0].kind == "name":
        return Path(text, whole, lambda focus, scope: focus, tokens[0].text)
    return Path(text, whole, None, "")


def _tokens(text: str) -> Iterator[Token]:
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise InvalidPatch(
                f"The path `{text[:80]}` is no FHIRPath at character {position + 1}."
            )
        yield Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup) + 1)
        position = found.end()


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, tokens: list[Token], text: str) -> None:
        self._tokens = tokens
        self._text = text
        self._at = 0
        self._depth = 0

    def parse(self) -> Expression:
        expression = self._level(0)
        if self._at < len(self._tokens):
            self._fail()
        return expression

    def _fail(self, reason: str = "is no FHIRPath") -> None:
        ended = self._at >= len(self._tokens)
        column = len(self._text) + 1 if ended else self._tokens[self._at].column
        raise InvalidPatch(f"The path `{self._text[:80]}` {reason} at character {column}.")

    def _next(self) -> Token:
        if self._at >= len(self._tokens):
            self._fail()
        self._at += 1
        return self._tokens[self._at - 1]

    def _peek(self) -> str:
        """Return the text of the next sign or name; strings and the end are no such thing."""
        if self._at >= len(self._tokens) or self._tokens[self._at].kind not in {"sign", "name"}:
            return ""
        return self._tokens[self._at].text

    def _expect(self, sign: str) -> None:
        if self._peek() != sign:
            self._fail()
        self._at += 1

    def _level(self, level: int) -> Expression:
        if level == len(_LEVELS):
            return self._typed()
        left = self._level(level + 1)
        while self._peek() in _LEVELS[level]:
            operator = OPERATORS[self._next().text]
            left = _binary(operator, left, self._level(level + 1))
        return left

    def _typed(self) -> Expression:
        expression = self._postfix()
        while self._peek() in {"is", "as"}:
            function = FUNCTIONS[self._next().text]
            expression = _called(expression, function, [self._type_name()])
        return expression

    def _type_name(self) -> Expression:
        names = [self._next()]
        while self._peek() == ".":
            self._at += 1
            names.append(self._next())
        return _literal([names[-1].text])

    def _postfix(self) -> Expression:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._fail("is nested too deeply")
        expression = self._term()
        while self._peek() in {".", "["}:
            if self._next().text == "[":
                expression = _called(expression, FUNCTIONS["[]"], [self._level(0)])
                self._expect("]")
            else:
                expression = self._step(expression, self._next())
        self._depth -= 1
        return expression

    def _term(self) -> Expression:
        token = self._next()
        if token.text == "(" and token.kind == "sign":
            inner = self._level(0)
            self._expect(")")
            return inner
        if token.text == "{" and token.kind == "sign":
            self._expect("}")
            return _literal([])
        if token.kind in {"string", "number", "date"}:
            return _literal([_value(token)])
        if token.kind == "variable":
            return self._variable(token)
        if token.kind in {"name", "quoted"} and token.text in {"true", "false"}:
            return _literal([token.text == "true"])
        return self._step(lambda focus, scope: focus, token, is_first=True)

    def _variable(self, token: Token) -> Expression:
        if token.text == "$this":
            return lambda focus, scope: focus
        if token.text in {"%resource", "%context", "%rootResource"}:
            return lambda focus, scope: [scope.resource]
        self._at -= 1
        self._fail(f"uses `{token.text}`, which patches here can't,")
        raise AssertionError

    def _step(self, before: Expression, token: Token, *, is_first: bool = False) -> Expression:
        if token.kind not in {"name", "quoted"}:
            self._at -= 1
            self._fail()
        if token.kind == "name" and self._peek() == "(":
            return self._call(before, token)
        return _member(before, token.text, is_first=is_first)

    def _call(self, before: Expression, token: Token) -> Expression:
        function = FUNCTIONS.get(token.text)
        if function is None:
            self._at -= 1
            self._fail(f"uses the function `{token.text[:40]}`, which patches here can't,")
        assert function is not None
        self._expect("(")
        if function.takes_type:
            arguments = [self._type_name()]
        else:
            arguments = []
            while self._peek() != ")":
                arguments.append(self._level(0))
                if self._peek() == ",":
                    self._at += 1
        self._expect(")")
        if not function.fewest <= len(arguments) <= function.most:
            self._fail(f"gives `{token.text}` {len(arguments)} arguments")
        return _called(before, function, arguments)


def _value(token: Token) -> Item:
    if token.kind == "number":
        return Digits(token.text) if "." in token.text else int(token.text)
    if token.kind == "date":
        return token.text.removesuffix("T")
    return _ESCAPE.sub(_unescape, token.text)


def _unescape(found: re.Match[str]) -> str:
    letter = found[1]
    return chr(int(letter[1:], 16)) if len(letter) > 1 else _ESCAPES.get(letter, letter)


def _literal(items: Items) -> Expression:
    return lambda focus, scope: items


def _binary(
    operator: Callable[[Items, Items], Items], left: Expression, right: Expression
) -> Expression:
    return lambda focus, scope: operator(left(focus, scope), right(focus, scope))


def _called(before: Expression, function: Function, arguments: list[Expression]) -> Expression:
    return lambda focus, scope: function.run(before(focus, scope), arguments, scope)


def _member(before: Expression, name: str, *, is_first: bool) -> Expression:
    def find(focus: Items, scope: Scope) -> Items:
        found: Items = []
        for item in before(focus, scope):
            scope.spend()
            if is_first and item is scope.resource and scope.is_named(name):
                found.append(item)
            elif isinstance(item, Place):
                found.extend(item.children(name))
        return found

    return find
