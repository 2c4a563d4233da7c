"""Parses the FHIRPath of search parameters: unions of paths with a few functions.

https://hl7.org/fhir/R4/searchparameter.html#expression
"""

import re
from dataclasses import dataclass
from typing import Final

MAX_LENGTH: Final = 4000
MAX_DEPTH: Final = 8
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<name>[%$]?[A-Za-z_][A-Za-z0-9_]*)|(?P<quoted>`[^`]*`)|(?P<text>'(?:[^'\\]|\\.)*')"
    r"|(?P<number>\d+(?:\.\d+)?)|(?P<mark>!=|!~|<=|>=|.))",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_TYPES: Final = frozenset({"as", "ofType"})
_QUESTIONS: Final = frozenset({"exists", "empty", "not", "resolve"})


class UnsupportedExpressionError(ValueError):
    """A search parameter's expression uses what a search path cannot say."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path.

    `kind` is child, as, equals, resolves, extension, has_extension, index or where; `name` its
    argument; `literal` the value of `where(name = literal)`; `test` any other condition.
    """

    kind: str
    name: str
    literal: str | bool = ""
    test: "Test | None" = None


Branch = tuple[Step, ...]
Literal = str | bool | int | float


@dataclass(frozen=True, slots=True)
class Test:
    """A condition: `all`, `any` or `not` of others, or what is asked of the values of paths.

    `kind` is then holds (a bare path: it has a value, which is not false), exists, =, != or
    resolves, and `literal` what the values are compared with.
    """

    kind: str
    parts: tuple["Test", ...] = ()
    branches: tuple[Branch, ...] = ()
    literal: Literal = ""


def parse_expression(expression: str) -> tuple[Branch, ...]:
    """Answer the branches of the union, each a sequence of steps.

    Raises UnsupportedExpressionError.
    """
    parser = _Parser(expression)
    branches = parser.union()
    parser.end()
    return branches


def parse_test(expression: str) -> Test | None:
    """Answer the condition that a whole expression is, None where it is a path.

    Raises UnsupportedExpressionError.
    """
    parser = _Parser(expression)
    test = parser.test()
    parser.end()
    return None if test.kind == "holds" else test


def unquoted(text: str) -> str:
    """Answer the text of a string literal or of a delimited name."""
    return _ESCAPE.sub(
        lambda found: chr(int(found[1], 16)) if found[1] else _ESCAPED.get(found[2], found[2]),
        text[1:-1],
    )


class _Parser:
    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens: list[str] = []
        self._at = 0
        self._depth = 0
        if len(expression) > MAX_LENGTH:
            raise UnsupportedExpressionError(f"An expression has at most {MAX_LENGTH} characters.")
        text = expression.strip()
        self._tokens = [match[0].strip() for match in _TOKEN.finditer(text)]

    # --- tokens ---------------------------------------------------------------------------------

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def accept(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self._at += 1
        return True

    def take(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def expect(self, token: str) -> None:
        if not self.accept(token):
            self.fail()

    def fail(self) -> None:
        raise UnsupportedExpressionError(
            f"Cannot compile {self._expression[:200]!r} at {self.peek() or 'its end'!r}."
        )

    def end(self) -> None:
        if self.peek():
            self.fail()

    def deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnsupportedExpressionError(f"The expression is nested deeper than {MAX_DEPTH}.")

    def name(self) -> str:
        token = self.take()
        if token.startswith("`") and len(token) > 2:
            return unquoted(token)
        if not re.match(r"[A-Za-z_$%]", token):
            self._at -= 1
            self.fail()
        return token

    def string(self) -> str:
        token = self.take()
        if len(token) < 2 or token[0] != "'":
            self._at -= 1
            self.fail()
        return unquoted(token)

    def type_name(self) -> str:
        """A type, with or without `FHIR.` before it."""
        name = self.name()
        return self.name() if name in {"FHIR", "System"} and self.accept(".") else name

    # --- paths ----------------------------------------------------------------------------------

    def union(self) -> tuple[Branch, ...]:
        branches = self.branch()
        while self.accept("|"):
            branches += self.branch()
        return branches

    def branch(self) -> tuple[Branch, ...]:
        if self.accept("("):
            self.deeper()
            branches = self.union()
            self.expect(")")
            self._depth -= 1
        else:
            branches = ((self.step(),),)
        while True:
            if self.accept("."):
                if self._asks_next():
                    self._at -= 1
                    return branches
                branches = _with(branches, self.step())
            elif self.accept("["):
                branches = _with(branches, Step("index", self.index()))
            elif self.accept("as"):
                branches = _with(branches, Step("as", self.type_name()))
            else:
                return branches

    def _asks_next(self) -> bool:
        """Whether what follows is no step but a question about the path: exists() and the like."""
        following = self._tokens[self._at : self._at + 2]
        return len(following) == 2 and following[0] in _QUESTIONS and following[1] == "("

    def index(self) -> str:
        token = self.take()
        if not token.isdecimal() or len(token) > 4:
            self._at -= 1
            self.fail()
        self.expect("]")
        return token

    def step(self) -> Step:
        name = self.name()
        if not self.accept("("):
            return Step("child", name)
        step = self.function(name)
        self.expect(")")
        return step

    def function(self, name: str) -> Step:
        if name in _TYPES:
            return Step("as", self.type_name())
        if name in {"extension", "hasExtension"}:
            kind = "extension" if name == "extension" else "has_extension"
            return Step(kind, self.string())
        if name == "first":
            return Step("index", "0")
        if name != "where":
            self._at -= 2
            self.fail()
        self.deeper()
        step = _as_step(self.test())
        self._depth -= 1
        return step

    # --- conditions -----------------------------------------------------------------------------

    def test(self) -> Test:
        parts = [self.conjunction()]
        while self.accept("or"):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else Test("any", tuple(parts))

    def conjunction(self) -> Test:
        parts = [self.comparison()]
        while self.accept("and"):
            parts.append(self.comparison())
        return parts[0] if len(parts) == 1 else Test("all", tuple(parts))

    def comparison(self) -> Test:
        grouped = self.grouped()
        if grouped is not None:
            return grouped
        if self.peek() in {"resolve", "hasExtension"}:
            branches: tuple[Branch, ...] = ((Step("child", "$this"),),)
            return self.asked(branches, self.take())
        return self.compared(self.union())

    def grouped(self) -> Test | None:
        """A condition in parentheses; a path in parentheses is no such thing."""
        if self.peek() != "(":
            return None
        start, depth = self._at, self._depth
        self.deeper()
        try:
            self.expect("(")
            test = self.test()
            self.expect(")")
        except UnsupportedExpressionError:
            test = Test("holds")
        self._depth = depth
        if test.kind == "holds":
            self._at = start
            return None
        return self.negations(test)

    def compared(self, branches: tuple[Branch, ...]) -> Test:
        if self.accept("."):
            return self.asked(branches, self.take())
        for operator in ("=", "!="):
            if self.accept(operator):
                return Test(operator, branches=branches, literal=self.literal())
        return Test("holds", branches=branches)

    def asked(self, branches: tuple[Branch, ...], name: str) -> Test:
        """`exists()`, `exists(condition)`, `empty()`, `not()`, `resolve() is Type` of a path."""
        self.expect("(")
        if name == "resolve":
            self.expect(")")
            return self.resolved(branches)
        if name == "hasExtension":
            branches = _with(branches, Step("extension", self.string()))
        elif name == "exists" and self.peek() != ")":
            branches = _with(branches, self.function("where"))
        self.expect(")")
        if name == "not":
            return self.negations(Test("=", branches=branches, literal=False))
        found = Test("exists", branches=branches)
        return self.negations(Test("not", (found,)) if name == "empty" else found)

    def resolved(self, branches: tuple[Branch, ...]) -> Test:
        if self.accept("."):
            self.expect("is")
            self.expect("(")
            kind = self.type_name()
            self.expect(")")
        else:
            self.expect("is")
            kind = self.type_name()
        return self.negations(Test("resolves", branches=branches, literal=kind))

    def negations(self, test: Test) -> Test:
        while self.peek() == "." and self._tokens[self._at + 1 : self._at + 3] == ["not", "("]:
            self._at += 3
            self.expect(")")
            test = Test("not", (test,))
        return test

    def literal(self) -> Literal:
        word = self.take()
        if word in {"true", "false"}:
            return word == "true"
        if word.isdecimal():
            return int(word)
        if word[:1].isdecimal():
            return float(word)
        self._at -= 1
        return self.string()


def _with(branches: tuple[Branch, ...], step: Step) -> tuple[Branch, ...]:
    return tuple((*branch, step) for branch in branches)


def _as_step(test: Test) -> Step:
    """Answer the step of a condition; the common ones have kinds of their own."""
    path = test.branches[0] if len(test.branches) == 1 else ()
    name = path[0].name if len(path) == 1 and path[0].kind == "child" else ""
    if test.kind == "resolves" and name == "$this":
        return Step("resolves", str(test.literal))
    if test.kind == "=" and name and isinstance(test.literal, str | bool):
        return Step("equals", name, test.literal)
    kinds = [step.kind for step in path]
    if test.kind == "exists" and kinds == ["child", "extension"] and path[0].name == "$this":
        return Step("has_extension", path[1].name)
    return Step("where", "", test=test)
