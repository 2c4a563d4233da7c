"""A code system of a resource, its concepts in memory. https://hl7.org/fhir/R4/codesystem.html"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

from fhir.search.extractors import fold
from fhir.terminology.concepts import Concept, children_named, read_concept
from fhir.terminology.errors import TooCostly
from fhir.terminology.filters import CODE, Filter, predicate
from fhir.terminology.system import Selection

STANDARD = "http://hl7.org/fhir/concept-properties#"


def _renamed(concept: Concept, names: dict[str, str]) -> Concept:
    """Return a concept that has its standard properties under their standard names, too."""
    more = [replace(p, code=names[p.code]) for p in concept.properties if p.code in names]
    return replace(concept, properties=(*concept.properties, *more)) if more else concept


class MemorySystem:
    """The concepts of one CodeSystem resource."""

    def __init__(self, resource: dict[str, Any]) -> None:
        self.url = str(resource.get("url", ""))
        self.version = str(resource.get("version", ""))
        self.name = str(resource.get("name") or resource.get("title") or self.url)
        self.content = str(resource.get("content", "complete"))
        self.value_set = str(resource.get("valueSet", ""))
        self._concepts: dict[str, Concept] = {}
        self._children: dict[str, list[str]] = {}
        self._load(resource)
        self._folded = (
            {} if resource.get("caseSensitive") else {code.lower(): code for code in self._concepts}
        )

    def _load(self, resource: dict[str, Any]) -> None:
        """Read the concepts in their order; nesting and properties both make a hierarchy."""
        named: list[tuple[str, str]] = []
        renamed = {
            str(known.get("code")): str(known["uri"]).removeprefix(STANDARD)
            for known in resource.get("property", ())
            if str(known.get("uri", "")).startswith(STANDARD)
            and str(known["uri"]) != f"{STANDARD}{known.get('code')}"
        }
        waiting: list[tuple[dict[str, Any], tuple[str, ...]]] = [
            (entry, ()) for entry in reversed(resource.get("concept", ()))
        ]
        while waiting:
            entry, above = waiting.pop()
            concept = read_concept(entry, above, str(resource.get("language", "")))
            if renamed:
                concept = _renamed(concept, renamed)
            self._concepts[concept.code] = concept
            named += [(concept.code, parent) for parent in concept.parents]
            named += [(child, concept.code) for child in children_named(entry)]
            waiting += [(child, (concept.code,)) for child in reversed(entry.get("concept", ()))]
        self._parents: dict[str, list[str]] = {}
        for child, parent in dict.fromkeys(named):
            if child in self._concepts and parent in self._concepts:
                self._children.setdefault(parent, []).append(child)
                self._parents.setdefault(child, []).append(parent)

    def find(self, code: str) -> Concept | None:
        """Return a concept by its code, in any case where the system says that case is nothing."""
        return self._concepts.get(code) or self._concepts.get(self._folded.get(code.lower(), ""))

    def select(self, wanted: Selection, *, offset: int, limit: int) -> Sequence[Concept]:
        """Return concepts in the order of the resource."""
        return list(islice(self._selected(wanted), offset, offset + limit))

    def count(self, wanted: Selection) -> int:
        """Return how many concepts a selection has."""
        return sum(1 for _ in self._selected(wanted))

    def _selected(self, wanted: Selection) -> Iterator[Concept]:
        tests = [predicate(rule, self._values, self._codes_of) for rule in wanted.filters]
        for concept in self._candidates(wanted):
            if wanted.active_only and concept.inactive:
                continue
            if wanted.selectable_only and concept.abstract:
                continue
            if wanted.words and not has_words(concept, wanted.words):
                continue
            if all(test(concept) for test in tests):
                yield concept

    def _candidates(self, wanted: Selection) -> Iterator[Concept]:
        if wanted.codes is None:
            yield from self._concepts.values()
            return
        for code in wanted.codes:
            concept = self.find(code)
            if concept is not None:
                yield concept

    def _values(self, concept: Concept, name: str) -> list[str]:
        """Return what a concept has for a property that a filter names."""
        match name.lower():
            case name if name in CODE:
                return [concept.code]
            case "display":
                return [concept.display]
            case "parent":
                return self._parents.get(concept.code, [])
            case "child":
                return self._children.get(concept.code, [])
            case "inactive":
                return ["true" if concept.inactive else "false"]
            case other:
                return [p.text for p in concept.properties if p.code.lower() == other]

    def _codes_of(self, rule: Filter) -> frozenset[str]:
        """Return the codes that a filter on the hierarchy means."""
        known = self.find(rule.value)
        code = known.code if known else rule.value
        own = {code} if known else set[str]()
        match rule.op:
            case "generalizes":
                return self.ancestors(code) | own
            case "child-of":
                return frozenset(self._children.get(code, ()))
            case "is-not-a":
                return frozenset(self._concepts) - self._below(code) - own
        below = self._below(code)
        if rule.op == "descendent-leaf":
            return frozenset(found for found in below if found not in self._children)
        return below if rule.op == "descendent-of" else below | own

    def ancestors(self, code: str) -> frozenset[str]:
        """Return the codes above a code."""
        return _reached(code, self._parents)

    def descendants(self, code: str, *, limit: int) -> frozenset[str]:
        """Return the codes below a code."""
        found = self._below(code)
        if len(found) > limit:
            raise TooCostly(f"`{code}` has more than {limit} codes below it.", param="code")
        return found

    def children(self, code: str) -> Sequence[str]:
        """Return the codes directly below a code."""
        return self._children.get(code, [])

    @cached_property
    def _reached_below(self) -> dict[str, frozenset[str]]:
        return {}

    def _below(self, code: str) -> frozenset[str]:
        if code not in self._reached_below:
            self._reached_below[code] = _reached(code, self._children)
        return self._reached_below[code]


def has_words(concept: Concept, words: Sequence[str]) -> bool:
    """Tell whether each word begins a word of one of the names, or the code."""
    text = " " + " ".join(fold(name) for name in [*concept.texts(), concept.code])
    return all(f" {word}" in text for word in words)


def _reached(code: str, edges: dict[str, list[str]]) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(edges.get(code, ()))
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += edges.get(current, ())
    return frozenset(found - {code})
