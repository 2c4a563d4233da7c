"""Names of a query held against the definitions. https://hl7.org/fhir/R4/graphql.html"""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Final

from fhir.definitions import structure
from fhir.graphql.errors import InvalidQuery

_RESOURCES: Final = frozenset({"Resource", "DomainResource"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a structure a selection stands: a type, and a path below it."""

    type_name: str
    path: str = ""

    @property
    def name(self) -> str:
        """Return `Patient.contact`, for messages."""
        return f"{self.type_name}.{self.path}" if self.path else self.type_name


@dataclass(frozen=True, slots=True)
class Field:
    """A member of a place: where its own members stand (None: a primitive) and whether a list."""

    place: Place | None
    repeats: bool
    kind: str = ""
    """The type of a primitive."""


@cache
def fields(place: Place) -> dict[str, Field]:
    """Return the members that JSON has at a place."""
    found = structure(place.type_name)
    if found is None:
        return {}
    members: dict[str, Field] = {}
    for element in found.children(place.path):
        for name, kind in element.json_names():
            inside = _inside(place, element.path, element.content_of, kind)
            members[name] = Field(inside, element.repeats, "" if inside else kind)
    return members


def _inside(place: Place, path: str, content_of: str | None, kind: str) -> Place | None:
    if content_of is not None:
        return Place(place.type_name, content_of)
    if kind in {"BackboneElement", "Element"}:
        return Place(place.type_name, path)
    found = structure(kind)
    if found is None or kind in _RESOURCES:
        return Place(kind)
    return None if found.kind == "primitive-type" else Place(kind)


def field(place: Place, name: str) -> Field:
    """Return a member; raise InvalidQuery naming what there is instead."""
    known = fields(place)
    if name in known:
        return known[name]
    close = get_close_matches(name, known, n=1)
    hint = f"; did you mean `{close[0]}`?" if close else "."
    raise InvalidQuery(f"{place.name} has no element `{name}`{hint}", param=name)
