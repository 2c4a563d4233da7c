"""Expands the value sets of required bindings from the code systems of the package."""

from collections.abc import Iterable, Iterator
from typing import Any

from fhir.definitions.build.package import CorePackage

Expansion = dict[str, dict[str, str]]
"""{system: {code: display}}"""


class NotExpandableError(Exception):
    """The value set needs a code system that the package does not hold (UCUM, MIME types …)."""


def build_value_sets(package: CorePackage, urls: Iterable[str]) -> dict[str, Any]:
    """Answer {url: {system: {code: display}}}; a set that cannot be expanded is null."""
    expander = Expander(package)
    found: dict[str, Expansion | None] = {}
    for url in sorted(set(urls)):
        try:
            found[url] = expander.expand(url)
        except NotExpandableError:
            found[url] = None
    return found


class Expander:
    """Expands value sets by composition: whole systems, lists, hierarchies, other sets."""

    def __init__(self, package: CorePackage) -> None:
        self._value_sets = package.by_type("ValueSet")
        self._systems = package.by_type("CodeSystem")

    def expand(self, url: str) -> Expansion:
        """Expand one value set; raise NotExpandableError when a part is not in the package."""
        definition = self._value_sets.get(url.partition("|")[0])
        if definition is None or "compose" not in definition:
            raise NotExpandableError(url)
        result: Expansion = {}
        for include in definition["compose"]["include"]:
            for system, codes in self._members(include).items():
                result.setdefault(system, {}).update(codes)
        for exclude in definition["compose"].get("exclude", []):
            for system, codes in self._members(exclude).items():
                for code in codes:
                    result.get(system, {}).pop(code, None)
        return result

    def _members(self, include: dict[str, Any]) -> Expansion:
        sets = [self.expand(url) for url in include.get("valueSet", [])]
        if "system" not in include:
            return self._intersect(sets)
        own: Expansion = {include["system"]: self._codes(include)}
        return self._intersect([own, *sets])

    def _intersect(self, sets: list[Expansion]) -> Expansion:
        first, *others = sets
        return {
            system: {
                code: display
                for code, display in codes.items()
                if all(code in other.get(system, {}) for other in others)
            }
            for system, codes in first.items()
        }

    def _codes(self, include: dict[str, Any]) -> dict[str, str]:
        if "concept" in include:
            return {c["code"]: c.get("display", "") for c in include["concept"]}
        system = self._systems.get(include["system"])
        if system is None or system.get("content") != "complete":
            raise NotExpandableError(include["system"])
        concepts = list(walk_concepts(system.get("concept", []), ()))
        for rule in include.get("filter", []):
            concepts = [c for c in concepts if passes(rule, c[0], c[1])]
        return {concept["code"]: concept.get("display", "") for concept, _ in concepts}


def walk_concepts(
    concepts: list[dict[str, Any]], ancestors: tuple[str, ...]
) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    """Yield each concept of a hierarchy with the codes above it."""
    for concept in concepts:
        parents = tuple(
            str(entry.get("valueCode"))
            for entry in concept.get("property", [])
            if entry["code"] == "subsumedBy"
        )
        yield concept, ancestors + parents
        yield from walk_concepts(concept.get("concept", []), (*ancestors, concept["code"]))


def passes(rule: dict[str, Any], concept: dict[str, Any], ancestors: tuple[str, ...]) -> bool:
    """Say whether a concept passes one filter of a value set."""
    match rule["op"]:
        case "is-a":
            return concept["code"] == rule["value"] or rule["value"] in ancestors
        case "descendent-of":
            return rule["value"] in ancestors
        case "is-not-a":
            return concept["code"] != rule["value"] and rule["value"] not in ancestors
        case "=" if rule["property"] == "concept":
            return bool(concept["code"] == rule["value"])
        case _:
            raise NotExpandableError(str(rule))
