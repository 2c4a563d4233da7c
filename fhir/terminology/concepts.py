"""Concepts and what is known of them. https://hl7.org/fhir/R4/codesystem.html#concept"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_INACTIVE: Final = frozenset({"retired", "inactive"})
_ABSTRACT: Final = frozenset({"notSelectable", "abstract"})
_HIERARCHY: Final = frozenset({"parent", "subsumedBy", "child"})


@dataclass(frozen=True, slots=True)
class Designation:
    """Another name of a concept; `use` is a Coding."""

    value: str
    language: str = ""
    use: Mapping[str, Any] | None = None

    def as_fhir(self) -> dict[str, Any]:
        """Return the designation as CodeSystem and ValueSet have it."""
        found: dict[str, Any] = {"language": self.language} if self.language else {}
        if self.use:
            found["use"] = dict(self.use)
        return {**found, "value": self.value}


@dataclass(frozen=True, slots=True)
class Property:
    """A property: its code, the FHIR type of the value (`Code`, `Boolean`, …) and the value."""

    code: str
    kind: str
    value: Any

    @property
    def text(self) -> str:
        """Return the value as filters compare it."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        if isinstance(self.value, Mapping):
            return str(self.value.get("code", ""))
        return str(self.value)


@dataclass(frozen=True, slots=True)
class Concept:
    """A concept of a code system, with the codes directly above it."""

    code: str
    display: str = ""
    definition: str = ""
    parents: tuple[str, ...] = ()
    designations: tuple[Designation, ...] = ()
    properties: tuple[Property, ...] = ()
    language: str = ""
    """The language of the display, where the code system says it."""

    @property
    def inactive(self) -> bool:
        """Tell whether the concept is no longer to be used."""
        return any(
            (p.code == "inactive" and p.text == "true")
            or (p.code == "status" and p.text in _INACTIVE)
            for p in self.properties
        )

    @property
    def abstract(self) -> bool:
        """Tell whether the concept only groups others."""
        return any(p.code in _ABSTRACT and p.text == "true" for p in self.properties)

    def name_in(self, language: str) -> str:
        """Return the display in a language (`de-CH`, `de`), the usual one where there is none.

        Several languages, as in the header Accept-Language, are tried in their order;
        `*;q=0` says that no other will do.
        """
        if not language:
            return self.display
        wanted, only = _languages(language)
        names = [(self.language.lower(), self.display)] if self.language else []
        names += [(d.language.lower(), d.value) for d in self.designations if d.language]
        for tag in wanted:
            exact = [name for known, name in names if known == tag]
            wider = [name for known, name in names if known.partition("-")[0] == tag]
            narrow = [name for known, name in names if known == tag.partition("-")[0]]
            for name in (*exact, *wider, *narrow):
                return name
        return "" if only else self.display

    def texts(self) -> Iterable[str]:
        """Return every name of the concept."""
        yield self.display
        yield from (designation.value for designation in self.designations)


def _languages(text: str) -> tuple[list[str], bool]:
    """Return the languages that are wanted, the best first, and whether others are refused."""
    found: list[tuple[float, str]] = []
    only = False
    for part in text.lower().split(","):
        tag, _, weight = part.strip().partition(";")
        quality = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", weight)
        value = float(quality[1]) if quality else 1.0
        if tag.strip() == "*":
            only = only or value == 0
        elif tag.strip() and value > 0:
            found.append((-value, tag.strip()))
    return [tag for _, tag in sorted(found, key=lambda entry: entry[0])], only


def read_concept(
    entry: Mapping[str, Any], parents: tuple[str, ...] = (), language: str = ""
) -> Concept:
    """Return one concept of a CodeSystem resource."""
    properties = tuple(_properties(entry.get("property", ())))
    above = [p.text for p in properties if p.code in {"parent", "subsumedBy"}]
    return Concept(
        code=str(entry["code"]),
        display=str(entry.get("display", "")),
        definition=str(entry.get("definition", "")),
        parents=tuple(dict.fromkeys([*parents, *above])),
        designations=read_designations(entry.get("designation", ())),
        properties=tuple(p for p in properties if p.code not in _HIERARCHY),
        language=language,
    )


def read_designations(entries: Iterable[Mapping[str, Any]]) -> tuple[Designation, ...]:
    """Return the designations of a concept."""
    return tuple(
        Designation(str(e.get("value", "")), str(e.get("language", "")), e.get("use"))
        for e in entries
    )


def _properties(entries: Iterable[Mapping[str, Any]]) -> Iterable[Property]:
    for entry in entries:
        for member, value in entry.items():
            if member.startswith("value"):
                yield Property(str(entry.get("code", "")), member[5:], value)


def children_named(entry: Mapping[str, Any]) -> list[str]:
    """Return the codes that a concept names as its children by property."""
    return [str(p.get("valueCode")) for p in entry.get("property", ()) if p.get("code") == "child"]
