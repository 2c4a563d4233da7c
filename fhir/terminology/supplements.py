"""Code system supplements: further names and properties of another system's concepts.

https://hl7.org/fhir/R4/codesystem.html#supplements. A supplement counts where a call names it
(`useSupplement`) or a value set says that it needs it; it adds no codes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fhir.terminology.canonical import require_resource, split
from fhir.terminology.concepts import Concept, read_concept
from fhir.terminology.errors import NotComputable
from fhir.terminology.system import CodeSystem, Selection

NEEDED: Final = "http://hl7.org/fhir/StructureDefinition/valueset-supplement"


def supplements_of(value_set: Mapping[str, Any]) -> list[str]:
    """Return the canonicals of the supplements without which a value set can't be used."""
    return [
        str(extension.get("valueCanonical", ""))
        for extension in value_set.get("extension", ())
        if extension.get("url") == NEEDED
    ]


def require_supplement(canonical: str) -> dict[str, Any]:
    """Return a supplement; raise UnknownCanonical, and NotComputable for a system that is none."""
    found = require_resource("CodeSystem", *split(canonical))
    if found.get("content") != "supplement":
        raise NotComputable(f"`{canonical[:200]}` is no supplement.", param="useSupplement")
    return found


def supplemented(system: CodeSystem, supplements: Iterable[Mapping[str, Any]]) -> CodeSystem:
    """Return a code system with what the supplements that are of it add."""
    more: dict[str, list[Concept]] = {}
    for supplement in supplements:
        url, version = split(str(supplement.get("supplements", "")))
        if url != system.url or version not in {"", system.version}:
            continue
        waiting = list(supplement.get("concept", ()))
        while waiting:
            entry = waiting.pop()
            waiting += entry.get("concept", ())
            more.setdefault(str(entry["code"]), []).append(read_concept(entry))
    return SupplementedSystem(system, more) if more else system


@dataclass(frozen=True, slots=True)
class SupplementedSystem:
    """A code system with more names and properties of its concepts."""

    base: CodeSystem
    more: Mapping[str, Sequence[Concept]]

    @property
    def url(self) -> str:
        """Return the canonical url."""
        return self.base.url

    @property
    def version(self) -> str:
        """Return the business version, empty where it has none."""
        return self.base.version

    @property
    def name(self) -> str:
        """Return the name for people."""
        return self.base.name

    @property
    def content(self) -> str:
        """Return `complete`, `fragment`, `example` …"""
        return self.base.content

    def find(self, code: str) -> Concept | None:
        """Return a concept by its code."""
        found = self.base.find(code)
        return None if found is None else self._with_more(found)

    def select(self, wanted: Selection, *, offset: int, limit: int) -> Sequence[Concept]:
        """Return concepts in the order of the system."""
        return [self._with_more(c) for c in self.base.select(wanted, offset=offset, limit=limit)]

    def count(self, wanted: Selection) -> int:
        """Return how many concepts a selection has."""
        return self.base.count(wanted)

    def ancestors(self, code: str) -> frozenset[str]:
        """Return the codes above a code, without itself."""
        return self.base.ancestors(code)

    def descendants(self, code: str, *, limit: int) -> frozenset[str]:
        """Return the codes below a code, without itself; raise TooCostly above the limit."""
        return self.base.descendants(code, limit=limit)

    def children(self, code: str) -> Sequence[str]:
        """Return the codes directly below a code."""
        return self.base.children(code)

    def _with_more(self, concept: Concept) -> Concept:
        added = self.more.get(concept.code, ())
        if not added:
            return concept
        return replace(
            concept,
            designations=(*concept.designations, *(d for c in added for d in c.designations)),
            properties=(*concept.properties, *(p for c in added for p in c.properties)),
        )
