"""The vocabulary of a rule folder: what each named finding is read from, and how to get it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from assets.rules.expressions import Kind

InputKind = Literal[
    "presence", "number", "culture_count", "culture_species", "condition", "patient", "parameter"
]
NUMERIC = frozenset({"number", "culture_count", "culture_species"})


@dataclass(frozen=True, slots=True)
class NextTest:
    """The cheapest way to learn a finding. `cost` orders: 0 ask, 1 dipstick … 9 procedure."""

    text: str
    cost: int
    code: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """A named finding: its codes and texts, the resource types that may state it, its look-back.

    `codes` are `system|code`; a code that ends in `*` stands for all that begin so (ICD-10-CM).
    A statement of one of `absent_codes` (asymptomatic), or the denial of one of `umbrella_codes`
    (no urinary symptoms), denies the finding.
    """

    name: str
    title: str
    kind: InputKind
    codes: frozenset[tuple[str, str]]
    prefixes: tuple[tuple[str, str], ...]
    texts: frozenset[str]
    resources: frozenset[str]
    absent_codes: frozenset[tuple[str, str]]
    umbrella_codes: frozenset[tuple[str, str]]
    lookback_days: int | None
    unit: str
    trace_is_positive: bool
    element: str
    next_test: NextTest

    @property
    def value_kind(self) -> Kind:
        """Whether the finding is a number or a truth value."""
        if self.kind in NUMERIC or (self.kind == "patient" and self.element == "age"):
            return "number"
        return "boolean"

    @classmethod
    def of(cls, name: str, document: Mapping[str, Any], systems: Mapping[str, str]) -> "Input":
        """Build an input from its YAML, already checked against the schema."""
        written = [_split(code, systems) for code in document.get("codes", ())]
        test = document["next_test"]
        return cls(
            name=name,
            title=document["title"],
            kind=document["kind"],
            codes=frozenset(code for code in written if not code[1].endswith("*")),
            prefixes=tuple((s, c[:-1]) for s, c in written if c.endswith("*")),
            texts=frozenset(text.lower() for text in document.get("texts", ())),
            resources=frozenset(document.get("resources", ("Observation",))),
            absent_codes=frozenset(_split(c, systems) for c in document.get("absent_codes", ())),
            umbrella_codes=frozenset(
                _split(c, systems) for c in document.get("umbrella_codes", ())
            ),
            lookback_days=document.get("lookback_days"),
            unit=document.get("unit", ""),
            trace_is_positive=document.get("trace") == "positive",
            element=document.get("element", ""),
            next_test=NextTest(test["text"], test["cost"], test.get("code")),
        )


def _split(code: str, systems: Mapping[str, str]) -> tuple[str, str]:
    alias, _, value = code.partition("|")
    return systems[alias], value
