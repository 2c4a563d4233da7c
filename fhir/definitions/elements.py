"""Structures and their elements. https://hl7.org/fhir/R4/elementdefinition.html"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from fhir.definitions.files import read_data


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a structure.

    `path` is relative to the structure (`component.value[x]`), `maximum` None means many.
    `types` are FHIR type names; `targets` the resource types that a Reference or canonical may
    point to (empty: any). `content_of` names the path whose content this element repeats.
    """

    path: str
    minimum: int
    maximum: int | None
    types: tuple[str, ...]
    targets: tuple[str, ...]
    binding: str | None
    binding_strength: str | None
    content_of: str | None
    in_summary: bool

    @property
    def name(self) -> str:
        """The last part of the path, without `[x]`."""
        return self.path.rpartition(".")[2].removesuffix("[x]")

    @property
    def is_choice(self) -> bool:
        """Whether the JSON name carries the type (`valueQuantity`)."""
        return self.path.endswith("[x]")

    @property
    def repeats(self) -> bool:
        """Whether the JSON value is an array."""
        return self.maximum is None or self.maximum > 1

    def json_names(self) -> tuple[tuple[str, str], ...]:
        """Pairs of JSON property and type: one, or one for each type of a choice."""
        if not self.is_choice:
            return ((self.name, self.types[0] if self.types else "BackboneElement"),)
        return tuple((self.name + kind[0].upper() + kind[1:], kind) for kind in self.types)


@dataclass(frozen=True, slots=True)
class Structure:
    """A resource type, datatype or primitive type."""

    name: str
    kind: str
    base: str
    is_abstract: bool
    elements: Mapping[str, Element]

    def children(self, path: str = "") -> tuple[Element, ...]:
        """The direct children of an element path ("" is the structure itself)."""
        prefix = f"{path}." if path else ""
        return tuple(
            element
            for key, element in self.elements.items()
            if key.startswith(prefix) and "." not in key[len(prefix) :]
        )


@cache
def _data() -> dict[str, Any]:
    return read_data("structures")


@cache
def structures() -> tuple[str, ...]:
    """Name every structure: resources, datatypes and primitives."""
    return tuple(_data())


@cache
def structure(name: str) -> Structure | None:
    """Answer a structure by type name, or None where R4 has no such type."""
    facts = _data().get(name)
    if facts is None:
        return None
    elements = {path: _element(path, entry) for path, entry in facts["elements"].items()}
    return Structure(
        name=name,
        kind=facts["kind"],
        base=facts["base"],
        is_abstract=facts["abstract"],
        elements=MappingProxyType(elements),
    )


def element(type_name: str, path: str) -> Element | None:
    """Answer the element of a type by its path below the type."""
    found = structure(type_name)
    return found.elements.get(path) if found else None


def _element(path: str, facts: dict[str, Any]) -> Element:
    maximum: int = facts["max"]
    return Element(
        path=path,
        minimum=facts["min"],
        maximum=None if maximum < 0 else maximum,
        types=tuple(facts.get("types", ())),
        targets=tuple(facts.get("targets", ())),
        binding=facts.get("binding"),
        binding_strength=facts.get("strength"),
        content_of=facts.get("ref"),
        in_summary=facts.get("summary", False),
    )
