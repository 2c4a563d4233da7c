"""A resource as FHIR sees it: elements with types and places, primitives with their extensions."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from fhir.definitions import is_resource_type, structure
from fhir.validation.location import Place, expression_at
from fhir.validation.profiles.shapes import Home

Json = Any  # a parsed JSON value, of whatever shape it came
_INLINE = {"BackboneElement", "Element"}


@dataclass(frozen=True, slots=True)
class Source:
    """The resource that items are part of, and the outermost one around it.

    `prefix` is the path of the resource in the outermost one, where it has one.
    """

    resource: dict[str, Any]
    root: dict[str, Any]
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One element: its JSON value, what is said of it if it is a primitive, type and place."""

    value: Json
    shadow: Json
    kind: str
    home: Home
    place: Place
    source: Source
    path: str
    """The path by names of elements, for the contexts of extensions: `Patient.name.family`."""

    @property
    def expression(self) -> str:
        """Return where the element is, as simple FHIRPath."""
        here = expression_at(self.source.resource["resourceType"], self.place)
        if not self.source.prefix:
            return here
        return self.source.prefix + here.removeprefix(self.source.resource["resourceType"])


def item_of(resource: dict[str, Any], root: dict[str, Any] | None = None, prefix: str = "") -> Item:
    """Return a resource as an item; its type must be one of R4."""
    kind = str(resource["resourceType"])
    source = Source(resource, root or resource, prefix)
    return Item(resource, None, kind, (kind, ""), (), source, kind)


def children(item: Item, name: str) -> list[Item]:
    """Return the items of a child element, `value` for any type of `value[x]`."""
    owner = item.value if isinstance(item.value, dict) else item.shadow
    if not isinstance(owner, dict):
        return []
    found: list[Item] = []
    for key, kind, home in _keys(item.home).get(name, ()):
        if key in owner or f"_{key}" in owner:
            found += _values(item, owner, name, key, kind, home)
    return found


def all_children(item: Item) -> Iterator[tuple[str, Item]]:
    """Yield the items of all child elements, each with its name."""
    for name in _keys(item.home):
        for child in children(item, name):
            yield name, child


def _values(
    item: Item, owner: dict[str, Any], name: str, key: str, kind: str, home: Home
) -> Iterator[Item]:
    value, shadow = owner.get(key), owner.get(f"_{key}")
    if not isinstance(value, list) and not isinstance(shadow, list):
        yield _made(item, value, shadow, name, kind, home, (key,))
        return
    values = value if isinstance(value, list) else []
    shadows = shadow if isinstance(shadow, list) else []
    for index in range(max(len(values), len(shadows))):
        one = values[index] if index < len(values) else None
        beside = shadows[index] if index < len(shadows) else None
        if one is not None or beside is not None:
            yield _made(item, one, beside, name, kind, home, (key, index))


def _made(
    item: Item, value: Json, shadow: Json, name: str, kind: str, home: Home, more: Place
) -> Item:
    place, path = (*item.place, *more), f"{item.path}.{name}"
    if kind == "Resource":
        return _inner(item, value, place, path)
    return Item(value, shadow, kind, home, place, item.source, path)


def _inner(item: Item, value: Json, place: Place, path: str) -> Item:
    """Return a contained resource, an entry's or a parameter's, as an item of its own type."""
    found = value.get("resourceType") if isinstance(value, dict) else None
    if not isinstance(found, str) or not is_resource_type(found):
        return Item(value, None, "Resource", ("Resource", ""), place, item.source, path)
    where = Item(value, None, "Resource", ("Resource", ""), place, item.source, path).expression
    is_contained = place[-2:-1] == ("contained",)
    source = Source(value, item.source.root if is_contained else value, where)
    return Item(value, None, found, (found, ""), (), source, found)


@cache
def _keys(home: Home) -> dict[str, tuple[tuple[str, str, Home], ...]]:
    """Map the names of children to their (JSON name, type, home below)."""
    found = structure(home[0])
    names: dict[str, tuple[tuple[str, str, Home], ...]] = {}
    for element in found.children(home[1]) if found else ():
        names[element.name] = tuple(
            (key, kind, _home_below(home, element.content_of, element.path, kind))
            for key, kind in element.json_names()
        )
    return names


def _home_below(home: Home, content_of: str | None, path: str, kind: str) -> Home:
    if content_of is not None:
        return home[0], content_of
    return (home[0], path) if kind in _INLINE else (kind, "")
