"""Parses the FHIRPath of search parameters: unions of paths with a few functions.

https://hl7.org/fhir/R4/searchparameter.html#expression
"""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[%$]?[A-Za-z_][A-Za-z0-9_]*)|(?P<text>'[^']*')|(?P<mark>\d+|.))"
)


class UnsupportedExpressionError(ValueError):
    """A search parameter's expression uses what a search path cannot say."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path.

    `kind` is child, as, equals, resolves, extension, has_extension or index; `name` its
    argument; `literal` the value of `where(name = literal)`.
    """

    kind: str
    name: str
    literal: str | bool = ""


Branch = tuple[Step, ...]


def parse_expression(expression: str) -> tuple[Branch, ...]:
    """Answer the branches of the union, each a sequence of steps.

    Raises UnsupportedExpressionError.
    """
    parser = _Parser(expression)
    branches = [parser.branch()]
    while parser.accept("|"):
        branches.append(parser.branch())
    parser.end()
    return tuple(branches)


class _Parser:
    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = [match[0].strip() for match in _TOKEN.finditer(expression.strip())]
        self._at = 0

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
            f"Cannot compile {self._expression!r} at {self.peek() or 'its end'!r}."
        )

    def end(self) -> None:
        if self.peek():
            self.fail()

    def branch(self) -> Branch:
        if self.accept("("):
            steps = self.branch()
            self.expect(")")
        else:
            steps = (self.step(),)
        while True:
            if self.accept("."):
                steps += (self.step(),)
            elif self.accept("["):
                steps += (Step("index", self.take()),)
                self.expect("]")
            elif self.accept("as"):
                steps += (Step("as", self.take()),)
            else:
                return steps

    def step(self) -> Step:
        name = self.take()
        if not re.match(r"[A-Za-z_$%]", name):
            self.fail()
        if not self.accept("("):
            return Step("child", name)
        step = self.function(name)
        self.expect(")")
        return step

    def function(self, name: str) -> Step:
        if name in {"as", "ofType", "is"}:
            return Step("as", self.take())
        if name in {"extension", "hasExtension"}:
            kind = "extension" if name == "extension" else "has_extension"
            return Step(kind, self.take().strip("'"))
        if name != "where":
            self.fail()
        return self.condition()

    def condition(self) -> Step:
        subject = self.take()
        if subject == "resolve":
            self.expect("(")
            self.expect(")")
            self.expect("is")
            return Step("resolves", self.take())
        if subject == "hasExtension":
            self.expect("(")
            step = self.function(subject)
            self.expect(")")
            return step
        self.expect("=")
        literal = self.take()
        if literal in {"true", "false"}:
            return Step("equals", subject, literal == "true")
        return Step("equals", subject, literal.strip("'"))
