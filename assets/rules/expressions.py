"""The expression language of rule packs: typed, three-valued, over named findings.

    nitrite and (leukocyte_esterase or blood)
    age >= 18 and age <= 70
    at_least(2, urgency, frequency, suprapubic_pain)
    dipstick.positive and not catheter          (a rule of a used pack)

Operators, loosest first: `or`, `and`, `not`, a comparison (`>= > <= < = !=`) of a number finding
with a number; functions `any(…)`, `all(…)`, `at_least(n, …)`; literals `true`, `false`. There is
no way to ask whether a finding is known, so that results are monotone: see `kleene`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

from assets.rules import kleene
from assets.rules.intervals import Interval, Truth

Kind = Literal["boolean", "number"]
Value = bool | Interval | None
Lookup = Callable[[str], Value]

MAX_LENGTH = 4000
MAX_DEPTH = 40

TOKENS = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)?)"
    r"|(?P<operator>>=|<=|!=|[><=(),]))"
)
COMPARISONS: dict[str, Callable[[Interval, Decimal], Truth]] = {
    ">=": lambda number, limit: number.at_least(limit),
    ">": lambda number, limit: number.more_than(limit),
    "<": lambda number, limit: kleene.negate(number.at_least(limit)),
    "<=": lambda number, limit: kleene.negate(number.more_than(limit)),
    "=": lambda number, limit: number.equals(limit),
    "!=": lambda number, limit: kleene.negate(number.equals(limit)),
}
RESERVED = frozenset({"and", "or", "not", "true", "false", "any", "all", "at_least"})


class ExpressionError(ValueError):
    """An expression that does not parse or type-check; the message says where."""


class Outcome(NamedTuple):
    """A truth value, the names that decided it, and the unknown names that could."""

    value: Truth
    support: frozenset[str]
    missing: frozenset[str]


NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Constant:
    """`true` or `false`."""

    value: bool

    def evaluate(self, lookup: Lookup) -> Outcome:
        return Outcome(self.value, NOTHING, NOTHING)


@dataclass(frozen=True, slots=True)
class Name:
    """A boolean finding, definition or rule."""

    name: str

    def evaluate(self, lookup: Lookup) -> Outcome:
        value = lookup(self.name)
        truth = value if isinstance(value, bool) else None
        return _named(self.name, truth)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A number finding against a threshold."""

    name: str
    operator: str
    limit: Decimal

    def evaluate(self, lookup: Lookup) -> Outcome:
        value = lookup(self.name)
        if not isinstance(value, Interval):
            return _named(self.name, None)
        return _named(self.name, COMPARISONS[self.operator](value, self.limit))


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    part: "Expression"

    def evaluate(self, lookup: Lookup) -> Outcome:
        value, support, missing = self.part.evaluate(lookup)
        return Outcome(kleene.negate(value), support, missing)


@dataclass(frozen=True, slots=True)
class Junction:
    """`and`, `or` or `at_least`: how many of the parts must be true."""

    needed: int
    parts: "tuple[Expression, ...]"

    def evaluate(self, lookup: Lookup) -> Outcome:
        outcomes = [part.evaluate(lookup) for part in self.parts]
        value = kleene.at_least(self.needed, (outcome.value for outcome in outcomes))
        support = _union(o.support for o in outcomes if value is None or o.value is value)
        missing = _union(o.missing for o in outcomes) if value is None else NOTHING
        return Outcome(value, support, missing)


Expression = Constant | Name | Comparison | Not | Junction


def parse(text: str, kinds: Mapping[str, Kind]) -> Expression:
    """Parse `text`; `kinds` gives the type of each name it may use.

    Raises ExpressionError with the column of the first fault.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"is longer than {MAX_LENGTH} characters")
    parser = _Parser(list(_tokens(text)), kinds)
    expression = parser.disjunction(0)
    parser.finish()
    return expression


def names(expression: Expression) -> frozenset[str]:
    """Return all names that an expression reads."""
    if isinstance(expression, Name | Comparison):
        return frozenset({expression.name})
    if isinstance(expression, Not):
        return names(expression.part)
    if isinstance(expression, Junction):
        return _union(names(part) for part in expression.parts)
    return NOTHING


def _named(name: str, truth: Truth) -> Outcome:
    only = frozenset({name})
    return Outcome(truth, only, only if truth is None else NOTHING)


def _union(sets: Iterator[frozenset[str]]) -> frozenset[str]:
    return NOTHING.union(*sets)


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = TOKENS.match(text, position)
        if match is None:
            raise ExpressionError(f"has an unexpected character at column {position + 1}")
        kind = match.lastgroup or ""
        yield _Token(kind, match.group(kind), match.start(kind) + 1)
        position = match.end()
    yield _Token("end", "the end", len(text) + 1)


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, tokens: list[_Token], kinds: Mapping[str, Kind]) -> None:
        self.tokens = tokens
        self.kinds = kinds
        self.position = 0

    @property
    def current(self) -> _Token:
        return self.tokens[self.position]

    def take(self, *texts: str) -> bool:
        if self.current.kind != "end" and self.current.text in texts:
            self.position += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.fault(f"expected {text!r}")

    def fault(self, message: str) -> ExpressionError:
        token = self.current
        return ExpressionError(f"{message} at column {token.column}, before {token.text!r}")

    def finish(self) -> None:
        if self.current.kind != "end":
            raise self.fault("expected an operator or the end")

    def disjunction(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise self.fault(f"is nested deeper than {MAX_DEPTH}")
        parts = [self.conjunction(depth)]
        while self.take("or"):
            parts.append(self.conjunction(depth))
        return parts[0] if len(parts) == 1 else Junction(1, tuple(parts))

    def conjunction(self, depth: int) -> Expression:
        parts = [self.negation(depth)]
        while self.take("and"):
            parts.append(self.negation(depth))
        return parts[0] if len(parts) == 1 else Junction(len(parts), tuple(parts))

    def negation(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise self.fault(f"is nested deeper than {MAX_DEPTH}")
        if self.take("not"):
            return Not(self.negation(depth + 1))
        return self.operand(depth)

    def operand(self, depth: int) -> Expression:
        if self.take("("):
            inner = self.disjunction(depth + 1)
            self.expect(")")
            return inner
        if self.current.kind != "name":
            raise self.fault("expected a finding")
        word = self.current.text
        if word in {"true", "false"}:
            self.position += 1
            return Constant(word == "true")
        if word in {"any", "all", "at_least"}:
            return self.function(depth)
        return self.finding()

    def function(self, depth: int) -> Expression:
        word = self.current.text
        self.position += 1
        self.expect("(")
        needed = self.count() if word == "at_least" else 1
        parts = [self.disjunction(depth + 1)]
        while self.take(","):
            parts.append(self.disjunction(depth + 1))
        self.expect(")")
        if needed > len(parts):
            raise self.fault(f"at_least({needed}) has only {len(parts)} parts")
        return Junction(len(parts) if word == "all" else needed, tuple(parts))

    def count(self) -> int:
        if self.current.kind != "number" or not self.current.text.isdecimal():
            raise self.fault("expected a whole number")
        count = int(self.current.text)
        self.position += 1
        self.expect(",")
        return count

    def finding(self) -> Expression:
        token = self.current
        kind = None if token.text in RESERVED else self.kinds.get(token.text)
        if kind is None:
            raise self.fault(f"unknown finding {token.text!r}")
        self.position += 1
        operator = self.current.text
        if self.current.kind != "operator" or operator not in COMPARISONS:
            if kind == "number":
                raise self.fault(f"{token.text!r} is a number and must be compared")
            return Name(token.text)
        if kind == "boolean":
            raise self.fault(f"{token.text!r} is not a number and can't be compared")
        self.position += 1
        if self.current.kind != "number":
            raise self.fault("expected a number")
        limit = Decimal(self.current.text)
        self.position += 1
        return Comparison(token.text, operator, limit)
