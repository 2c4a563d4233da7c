"""An invariant compiled to Python, and the questions that invariants ask of a JSON object.

https://hl7.org/fhir/R4/conformance-rules.html#constraints
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from fhir.validation.issues import Severity

Node = dict[str, Any]
Json = Any  # a parsed JSON value, whose shape the schema has checked


@dataclass(frozen=True, slots=True)
class Context:
    """Where a node stands: its own resource, and the outermost one that contains it.

    `entries` are the types of the entries of the Bundle around it, by full url.
    """

    resource: Node
    root: Node
    entries: Mapping[str, str] | None = None


Holds = Callable[[Node, Context], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """What an invariant tests, and what to do when it does not hold."""

    holds: Holds
    remedy: str
    severity: Severity = "error"
    key: str = ""


def has(node: Node, *names: str) -> bool:
    """Say whether all elements exist, be it only by an extension of a primitive."""
    return all(name in node or f"_{name}" in node for name in names)


def has_any(node: Node, *names: str) -> bool:
    """Say whether one of the elements exists."""
    return any(name in node or f"_{name}" in node for name in names)


def has_choice(node: Node, name: str) -> bool:
    """Say whether a choice element (`value[x]`) exists in any type."""
    size = len(name)
    return any(
        key[size : size + 1].isupper() and key.startswith(name)
        for key in (found.removeprefix("_") for found in node)
    )


def implies(given: bool, then: bool) -> bool:
    """The logical implication of FHIRPath."""
    return then or not given


def items(node: Node, *path: str) -> Iterator[Json]:
    """Yield the values at the end of a path, through lists."""
    found: list[Json] = [node]
    for name in path:
        found = list(_below(found, name))
    yield from found


def _below(nodes: list[Json], name: str) -> Iterator[Json]:
    for node in nodes:
        value = node.get(name) if isinstance(node, dict) else None
        if isinstance(value, list):
            yield from (item for item in value if item is not None)
        elif value is not None:
            yield value


def descendants(value: Json, name: str) -> Iterator[Json]:
    """Yield every value of a property at any depth."""
    if isinstance(value, dict):
        for key, below in value.items():
            if key == name:
                yield from below if isinstance(below, list) else [below]
            yield from descendants(below, name)
    elif isinstance(value, list):
        for item in value:
            yield from descendants(item, name)


def has_code(node: Node, name: str, system: str, *codes: str) -> bool:
    """Say whether a CodeableConcept or list of them carries one of the codes."""
    return any(
        coding.get("system") == system and coding.get("code") in codes
        for coding in items(node, name, "coding")
    )


def are_distinct(values: Iterable[Hashable]) -> bool:
    """Say whether no value comes twice."""
    found = list(values)
    return len(found) == len(set(found))


def number(value: Json) -> Decimal:
    """Answer a JSON number without binary rounding."""
    return value if isinstance(value, Decimal) else Decimal(str(value))
