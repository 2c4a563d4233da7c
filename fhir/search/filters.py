"""`_filter`: a query as one expression. https://hl7.org/fhir/R4/search_filter.html. Pure.

As R4 says, `and` and `or` have no precedence: an expression is read from left to right.
"""

import json
import re
from typing import Final

from fhir.definitions import SearchParameter
from fhir.search.criterion import MAX_CHAIN, CriterionReader
from fhir.search.errors import SearchRefused, UnknownSearchParameter
from fhir.search.request import (
    AllCriterion,
    AnyCriterion,
    ChainCriterion,
    Criterion,
    HasCriterion,
    NotCriterion,
    ParameterCriterion,
)

MAX_TERMS: Final = 200
MAX_DEPTH: Final = 30
_TOKEN: Final = re.compile(
    r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<mark>[()\[\]])|(?P<word>[^\s()\[\]"]+))'
)
_VALUE: Final = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>[^\s)\]"][^\s)\]]*))')
_ORDERED: Final = frozenset({"gt", "lt", "ge", "le", "ap", "sa", "eb"})
# What an operator is on each type of parameter: a modifier of ours, or a prefix of the value.
_MODIFIERS: Final = {
    "string": {"eq": "equals", "ne": "differs", "co": "contains", "sw": "", "ew": "ends"},
    "uri": {"eq": "", "co": "contains", "sw": "starts", "ew": "ends"},
    "token": {"eq": "", "ss": "below", "sb": "above", "in": "in", "ni": "not-in"},
    "reference": {"eq": "", "re": ""},
    "composite": {"eq": ""},
    "special": {"eq": ""},
}
_OPERATORS: Final = frozenset(
    {"eq", "ne", "co", "sw", "ew", "pr", "po", "ss", "sb", "in", "ni", "re", *_ORDERED}
)


def read_filter(resource_type: str, text: str, reader: CriterionReader) -> Criterion:
    """Return the criterion that a `_filter` expression stands for.

    Raises SearchRefused for what is no expression, and for unknown names: an expression can't be
    understood in part.
    """
    try:
        return _Filter(resource_type, text, reader).read()
    except UnknownSearchParameter as error:
        raise SearchRefused(error.message, param="_filter") from None


class _Filter:
    def __init__(self, resource_type: str, text: str, reader: CriterionReader) -> None:
        self._type = resource_type
        self._text = text
        self._reader = reader
        self._at = 0
        self._terms = 0

    def read(self) -> Criterion:
        criterion = self.expression(self._type, 0)
        if self._text[self._at :].strip():
            raise self.refusal("expected `and`, `or` or the end")
        return criterion

    # --- words --------------------------------------------------------------------------------

    def refusal(self, what: str) -> SearchRefused:
        place = self._text[self._at : self._at + 30].strip() or "the end"
        return SearchRefused(f"`_filter` can't be read at `{place}`: {what}.", param="_filter")

    def peek(self) -> str:
        found = _TOKEN.match(self._text, self._at)
        return found[found.lastgroup or 0] if found else ""

    def take(self) -> str:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            raise self.refusal("something is missing")
        self._at = found.end()
        return found[found.lastgroup or 0]

    def expect(self, mark: str) -> None:
        if self.peek() != mark:
            raise self.refusal(f"expected `{mark}`")
        self.take()

    # --- grammar ------------------------------------------------------------------------------

    def expression(self, resource_type: str, depth: int) -> Criterion:
        if depth > MAX_DEPTH:
            raise self.refusal(f"parentheses are nested deeper than {MAX_DEPTH}")
        left = self.term(resource_type, depth)
        while self.peek() in {"and", "or"}:
            word = self.take()
            right = self.term(resource_type, depth)
            kind = AllCriterion if word == "and" else AnyCriterion
            left = kind(resource_type, (left, right))
        return left

    def term(self, resource_type: str, depth: int) -> Criterion:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise SearchRefused(f"A `_filter` may have {MAX_TERMS} terms.", param="_filter")
        if self.peek() == "not":
            self.take()
            if self.peek() != "(":
                raise self.refusal("write `not (…)`")
            return NotCriterion(resource_type, self.term(resource_type, depth))
        if self.peek() == "(":
            self.take()
            inner = self.expression(resource_type, depth + 1)
            self.expect(")")
            return inner
        return self.comparison(resource_type, self.take(), depth)

    def comparison(self, resource_type: str, path: str, depth: int) -> Criterion:
        """Read what follows a path: a filter in brackets and more path, or operator and value."""
        if path in {"(", ")", "[", "]", "and", "or"} or path.startswith('"'):
            raise self.refusal("expected the name of a search parameter")
        if self.peek() == "[":
            return self.bracketed(resource_type, path, depth)
        if path.startswith("_has:"):
            return self.has(resource_type, path, depth)
        head, dot, rest = path.partition(".")
        code, _, modifier = head.partition(":")
        parameter = self._reader.parameter(resource_type, _alias(code), f"_filter={path[:80]}")
        if dot:
            return self.chain(resource_type, parameter, modifier, rest, depth)
        if modifier:
            raise self.refusal("operators stand in for modifiers here")
        operator = self.take()
        if operator not in _OPERATORS:
            raise self.refusal(f"`{operator[:20]}` is no operator")
        return compared(resource_type, parameter, operator, self.value())

    def value(self) -> str:
        """Read a JSON string or a token; a backslash of a string is no escape of search."""
        found = _VALUE.match(self._text, self._at)
        if found is None:
            raise self.refusal("a value is missing")
        self._at = found.end()
        if found["word"]:
            return found["word"]
        try:
            text = json.loads(found["text"], strict=False)
        except ValueError:
            raise self.refusal("the string is no JSON") from None
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise self.refusal("a value can't hold NUL or half a surrogate pair")
        return str(text).replace("\\", "\\\\")

    def chain(
        self, resource_type: str, parameter: SearchParameter, modifier: str, rest: str, depth: int
    ) -> Criterion:
        """Read the comparison once for each type that the reference may lead to."""
        if depth > MAX_CHAIN:
            raise SearchRefused(f"A chain may have {MAX_CHAIN} links.", param="_filter")
        start = self._at
        alternatives: list[Criterion] = []
        unknown: UnknownSearchParameter | None = None
        end = start
        for target in self._reader.candidates(resource_type, parameter, modifier, rest):
            self._at = start
            try:
                alternatives.append(self.comparison(target, rest, depth + 1))
                end = self._at
            except UnknownSearchParameter as error:
                unknown = error
        if not alternatives and unknown is not None:
            raise unknown
        self._at = end
        return ChainCriterion(resource_type, parameter, tuple(alternatives))

    def bracketed(self, resource_type: str, path: str, depth: int) -> Criterion:
        """Read `subject[gender eq male].name co "pet"`: both of the same target."""
        head, dot, _ = path.partition(".")
        if dot:
            raise self.refusal("brackets may follow the first name of a path only")
        code, _, modifier = head.partition(":")
        parameter = self._reader.parameter(resource_type, _alias(code), f"_filter={path[:80]}")
        start = self._at
        alternatives: list[Criterion] = []
        unknown: UnknownSearchParameter | None = None
        end = start
        for target in self._reader.candidates(resource_type, parameter, modifier, "…"):
            self._at = start
            try:
                self.expect("[")
                inner = self.expression(target, depth + 1)
                self.expect("]")
                rest = self.take()
                if not rest.startswith(".") or len(rest) < 2:
                    raise self.refusal("expected `.` and a name after the brackets")
                outer = self.comparison(target, rest[1:], depth + 1)
                alternatives.append(AllCriterion(target, (inner, outer)))
                end = self._at
            except UnknownSearchParameter as error:
                unknown = error
        if not alternatives and unknown is not None:
            raise unknown
        self._at = end
        return ChainCriterion(resource_type, parameter, tuple(alternatives))

    def has(self, resource_type: str, path: str, depth: int) -> Criterion:
        """Read `_has:Observation:patient:code eq 1234-5`."""
        parts = path.split(":", 3)
        if len(parts) < 4:
            raise self.refusal("write `_has:Type:reference:parameter`")
        shell = self._reader.read(resource_type, ":".join([*parts[:3], "_id"]), "x", depth)
        if not isinstance(shell, HasCriterion):
            raise self.refusal("write `_has:Type:reference:parameter`")
        inner = self.comparison(shell.source_type, parts[3], depth + 1)
        return HasCriterion(resource_type, shell.source_type, shell.parameter, inner)


def _alias(code: str) -> str:
    """R4's examples of filters write `id` for `_id`."""
    return "_id" if code == "id" else code


def compared(
    resource_type: str, parameter: SearchParameter, operator: str, value: str
) -> Criterion:
    """Return the criterion of one comparison.

    `ne` of what is not ordered asks for a value, and none that is equal.
    """
    if operator == "pr":
        if value not in {"true", "false"}:
            raise SearchRefused(f"`{parameter.code} pr` is true or false.", param="_filter")
        missing = "false" if value == "true" else "true"
        return ParameterCriterion(resource_type, parameter, "missing", (missing,))
    modifiers = _MODIFIERS.get(parameter.type)
    if modifiers is None or parameter.code == "_lastUpdated":
        return _ordered(resource_type, parameter, operator, value)
    if operator in modifiers:
        return ParameterCriterion(resource_type, parameter, modifiers[operator], (value,))
    if operator == "ne" and "eq" in modifiers:
        equal = ParameterCriterion(resource_type, parameter, modifiers["eq"], (value,))
        present = ParameterCriterion(resource_type, parameter, "missing", ("false",))
        return AllCriterion(resource_type, (present, NotCriterion(resource_type, equal)))
    raise _no_operator(parameter, operator)


def _ordered(
    resource_type: str, parameter: SearchParameter, operator: str, value: str
) -> Criterion:
    if operator in {"eq", "ne", *_ORDERED}:
        return ParameterCriterion(resource_type, parameter, "", (operator + value,))
    if operator == "po" and parameter.type == "date":
        return ParameterCriterion(resource_type, parameter, "overlaps", (value,))
    raise _no_operator(parameter, operator)


def _no_operator(parameter: SearchParameter, operator: str) -> SearchRefused:
    return SearchRefused(
        f"`{operator}` is no operator of the {parameter.type} parameter `{parameter.code}`.",
        param="_filter",
    )
