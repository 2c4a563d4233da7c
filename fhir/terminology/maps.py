"""Concept maps: from a code to codes of another system. https://hl7.org/fhir/R4/conceptmap.html"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fhir.definitions import core_resource, core_urls, type_number
from fhir.sql import fetch
from fhir.terminology.canonical import find_resource, split
from fhir.terminology.coded import Coded
from fhir.terminology.errors import TooCostly, UnknownCanonical

NEGATIVE: Final = frozenset({"unmatched", "disjoint"})
_REVERSED: Final = {
    "wider": "narrower",
    "narrower": "wider",
    "subsumes": "specializes",
    "specializes": "subsumes",
}
_MOST: Final = 500
_STORED: Final = (
    "SELECT r.content FROM fhir_resource r WHERE r.project = %s::integer"
    " AND r.rtype = %s::smallint AND r.content IS NOT NULL ORDER BY r.pk LIMIT %s::integer"
)


@dataclass(frozen=True, slots=True)
class Match:
    """A code that another one means, and the map that says so."""

    equivalence: str
    system: str
    code: str
    display: str
    version: str
    source: str
    products: tuple[tuple[str, str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What to translate: a code; to which system; with what else being true."""

    coded: Coded
    target_system: str = ""
    dependencies: tuple[tuple[str, str, str], ...] = ()
    reverse: bool = False


def translate(concept_map: dict[str, Any], question: Question, *, depth: int = 0) -> list[Match]:
    """Return what a concept map says of a code."""
    found: list[Match] = []
    for group in concept_map.get("group", ()):
        ends = (str(group.get("source", "")), str(group.get("target", "")))
        source, target = reversed(ends) if question.reverse else ends
        if question.coded.system and source and source != question.coded.system:
            continue
        if question.target_system and target != question.target_system:
            continue
        if question.reverse:
            found += _backward(concept_map, group, question)
        else:
            found += _forward(concept_map, group, question, depth)
    return found


def _forward(
    concept_map: dict[str, Any], group: dict[str, Any], question: Question, depth: int
) -> Iterator[Match]:
    elements = [e for e in group.get("element", ()) if e.get("code") == question.coded.code]
    for element in elements:
        for target in element.get("target", ()):
            if _holds(target.get("dependsOn", ()), question.dependencies):
                yield _match(concept_map, group, target)
    if not elements and "unmapped" in group:
        yield from _unmapped(concept_map, group, question, depth)


def _backward(
    concept_map: dict[str, Any], group: dict[str, Any], question: Question
) -> Iterator[Match]:
    for element in group.get("element", ()):
        for target in element.get("target", ()):
            if target.get("code") == question.coded.code:
                equivalence = str(target.get("equivalence", "equivalent"))
                yield Match(
                    equivalence=_REVERSED.get(equivalence, equivalence),
                    system=str(group.get("source", "")),
                    code=str(element.get("code", "")),
                    display=str(element.get("display", "")),
                    version=str(group.get("sourceVersion", "")),
                    source=str(concept_map.get("url", "")),
                )


def _unmapped(
    concept_map: dict[str, Any], group: dict[str, Any], question: Question, depth: int
) -> Iterator[Match]:
    """Yield what a group says of codes that it does not list."""
    rule = group["unmapped"]
    match rule.get("mode"):
        case "provided":
            same = {"code": question.coded.code, "display": question.coded.display}
            yield _match(concept_map, group, {**same, "equivalence": "equal"})
        case "fixed":
            yield _match(concept_map, group, {**rule, "equivalence": "inexact"})
        case "other-map" if depth < 3:
            other = find_resource("ConceptMap", *split(str(rule.get("url", ""))))
            if other is not None:
                yield from translate(other, question, depth=depth + 1)


def _match(concept_map: dict[str, Any], group: dict[str, Any], target: dict[str, Any]) -> Match:
    return Match(
        equivalence=str(target.get("equivalence", "equivalent")),
        system=str(group.get("target", "")),
        code=str(target.get("code", "")),
        display=str(target.get("display", "")),
        version=str(group.get("targetVersion", "")),
        source=str(concept_map.get("url", "")),
        products=tuple(
            (
                str(entry.get("property", "")),
                str(entry.get("system", "")),
                str(entry.get("value", "")),
                str(entry.get("display", "")),
            )
            for entry in target.get("product", ())
        ),
    )


def _holds(wanted: Sequence[dict[str, Any]], given: Sequence[tuple[str, str, str]]) -> bool:
    return all(
        (str(d.get("property", "")), str(d.get("system", "")), str(d.get("value", ""))) in given
        for d in wanted
    )


def maps_between(source: str, target: str, project: int) -> list[dict[str, Any]]:
    """Return the maps of the project and of the core package whose value sets are these.

    An empty `target` means any. Raises TooCostly where the project has too many maps.
    """
    rows = fetch(_STORED, (project, type_number("ConceptMap"), _MOST + 1))
    if len(rows) > _MOST:
        raise TooCostly(f"Name one of the more than {_MOST} concept maps with `url`.", param="url")
    stored = [orjson.loads(row[0]) for row in rows]
    core = [core_resource("ConceptMap", url) or {} for url in core_urls("ConceptMap")]
    return [
        found
        for found in [*stored, *core]
        if (not source or source in _ends(found, "source"))
        and (not target or target in _ends(found, "target"))
    ]


def require_map(canonical: str) -> dict[str, Any]:
    """Return a concept map by its url; raise UnknownCanonical."""
    url, version = split(canonical)
    found = find_resource("ConceptMap", url, version)
    if found is None:
        raise UnknownCanonical("ConceptMap", url, version)
    return found


def _ends(concept_map: dict[str, Any], end: str) -> set[str]:
    named = (concept_map.get(f"{end}Uri"), concept_map.get(f"{end}Canonical"))
    return {str(name).partition("|")[0] for name in named if name}
