"""The invariants of R4, compiled ahead to Python. https://hl7.org/fhir/R4/conformance-rules.html

The definitions say where an invariant applies and how severe it is; the rules here say when it
holds. A test sees to it that none is without.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from fhir.definitions import structure
from fhir.definitions.files import read_data
from fhir.validation.invariants import (
    clinical,
    conformance,
    datatypes,
    documents,
    profiling,
    resources,
)
from fhir.validation.invariants.rule import Context, Holds, Rule
from fhir.validation.issues import Severity

__all__ = ["Context", "Holds", "Rule", "rules_at", "unwritten_invariants"]

_RULES: dict[str, Rule] = {}
for _room in (datatypes, resources, documents, clinical, conformance, profiling):
    _RULES |= _room.RULES

# ele-1 (an element has a value or children) is part of the walk, which sees every element, and of
# the schemas. eld-11 holds for every element as R4 writes it (`type.select(…).exists()`).
_ELSEWHERE = frozenset({"ele-1", "eld-11"})

# What the text of R4 demands without giving it a key.
_FROM_THE_TEXT = {
    ("Attachment", ""): ("attachment-size",),
    ("Quantity", ""): ("ucum-code",),
    ("Reference", ""): ("reference-type",),
    ("Questionnaire", "item"): ("display-link-id",),
    ("ValueSet", "compose.include"): ("system-absolute", "snomed-filter"),
    ("Bundle", ""): ("bundle-link", "bundle-search-id", "document-references"),
    ("Bundle", "entry"): ("bundle-full-url", "bundle-full-url-id", "bundle-full-url-same"),
}


@cache
def _data() -> dict[str, Any]:
    return read_data("invariants")


def rules_at(type_name: str, path: str) -> tuple[Rule, ...]:
    """Answer the rules that a type itself declares for one of its elements ("" is the type)."""
    keys = _FROM_THE_TEXT.get((type_name, path), ())
    if not path and is_canonical_resource(type_name):
        keys = (*keys, "url-absolute")
    found = [replace(_RULES[key], key=key) for key in keys]
    for facts in _data().get(type_name, {}).get(path, ()):
        rule = _rule(type_name, facts["key"])
        if rule is not None:
            mild = "warning" in {rule.severity, facts["severity"]}
            severity: Severity = "warning" if mild else "error"
            found.append(replace(rule, key=facts["key"], severity=severity))
    return tuple(found)


def is_canonical_resource(type_name: str) -> bool:
    """Say whether resources of a type are known by a canonical url.

    https://hl7.org/fhir/R4/resource.html#canonical
    """
    found = structure(type_name)
    return (
        found is not None
        and found.kind == "resource"
        and {"url", "version", "status"} <= found.elements.keys()
    )


def unwritten_invariants() -> Iterator[str]:
    """Name the invariants of R4 that no rule checks."""
    for type_name, paths in _data().items():
        for facts in (fact for entries in paths.values() for fact in entries):
            if _rule(type_name, facts["key"]) is None and facts["key"] not in _ELSEWHERE:
                yield facts["key"]


def _rule(type_name: str, key: str) -> Rule | None:
    if key.endswith("-0"):
        return conformance.NAME_RULE
    return _RULES.get(f"{type_name}.{key}") or _RULES.get(key)


@cache
def core_keys() -> Mapping[str, frozenset[str]]:
    """Map the keys of R4's own invariants, which profiles repeat in snapshots, to expressions."""
    found: dict[str, set[str]] = {}
    for paths in _data().values():
        for facts in (fact for entries in paths.values() for fact in entries):
            found.setdefault(facts["key"], set()).add(facts["expression"])
    return {key: frozenset(expressions) for key, expressions in found.items()}
