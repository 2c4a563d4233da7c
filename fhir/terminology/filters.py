"""Filters of value sets on concepts in memory.

https://hl7.org/fhir/R4/valueset-filter-operator.html
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from fhir.terminology.concepts import Concept
from fhir.terminology.errors import NotComputable
from fhir.terminology.regex import compile_safe, matches

Predicate = Callable[[Concept], bool]
CODE: Final = frozenset({"concept", "code"})
HIERARCHICAL: Final = frozenset(
    {"is-a", "descendent-of", "is-not-a", "generalizes", "child-of", "descendent-leaf"}
)
OPERATORS: Final = HIERARCHICAL | {"=", "regex", "in", "not-in", "exists"}


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition of `compose.include.filter`."""

    name: str
    op: str
    value: str

    @property
    def options(self) -> tuple[str, ...]:
        """Return the members of the list that `in` and `not-in` have."""
        return tuple(part.strip() for part in self.value.split(",") if part.strip())


def read_filter(entry: dict[str, Any]) -> Filter:
    """Return a filter of a ValueSet; raise NotComputable for an operator nobody knows."""
    found = Filter(str(entry.get("property")), str(entry.get("op")), str(entry.get("value", "")))
    if found.op not in OPERATORS:
        raise NotComputable(f"`{found.op}` is no filter operator of R4.", param="filter")
    if found.op in HIERARCHICAL and found.name.lower() not in CODE:
        raise NotComputable(
            f"`{found.op}` goes with the property `concept`, not `{found.name}`.",
            param="filter",
        )
    if found.op == "exists" and found.value not in {"true", "false"}:
        raise NotComputable("The value of `exists` is true or false.", param="filter")
    return found


def text_words(text: str | None, fold: Callable[[str], str]) -> list[str]:
    """Return the words of a text filter, folded."""
    return fold(text).split() if text else []


def predicate(rule: Filter, values: "Values", hierarchy: "Hierarchy") -> Predicate:
    """Return the test that a filter is, for concepts of one code system."""
    if rule.op in HIERARCHICAL:
        codes = hierarchy(rule)
        return lambda concept: concept.code in codes
    if rule.op == "exists":
        wanted = rule.value == "true"
        return lambda concept: bool(any(values(concept, rule.name))) is wanted
    if rule.op == "regex":
        pattern = compile_safe(rule.value)
        return lambda c: any(matches(pattern, value) for value in values(c, rule.name))
    options = frozenset(rule.options if rule.op in {"in", "not-in"} else (rule.value,))
    negative = rule.op == "not-in"
    return lambda c: any(v in options for v in values(c, rule.name)) is not negative


Values = Callable[[Concept, str], Iterable[str]]
Hierarchy = Callable[[Filter], frozenset[str]]
