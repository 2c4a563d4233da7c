"""The elements of a type by their names in JSON and XML: order, type, what is below.

https://hl7.org/fhir/R4/json.html and https://hl7.org/fhir/R4/xml.html#representation
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from fhir.definitions.elements import Element, structure

ANY_RESOURCE: Final = "Resource"
_INLINE: Final = frozenset({"BackboneElement", "Element"})


@dataclass(frozen=True, slots=True)
class Field:
    """An element under its JSON name, which is its XML name too.

    `element` is its name without the type of a choice; `below` is the type (and the path in it)
    whose elements it has; `is_attribute` says so of XML.
    """

    element: str
    position: int
    kind: str
    repeats: bool
    is_primitive: bool
    is_attribute: bool
    below: tuple[str, str]


@cache
def fields(type_name: str, path: str = "") -> Mapping[str, Field]:
    """Return the elements of a type or of a backbone element in it, by name."""
    found = structure(type_name)
    if found is None:
        return MappingProxyType({})
    is_resource = found.kind == "resource" and not path
    result: dict[str, Field] = {}
    for element in found.children(path):
        for name, kind in element.json_names():
            attribute = (name == "id" and not is_resource) or (
                name == "url" and type_name == "Extension"
            )
            result[name] = _field(len(result), type_name, element, kind, attribute)
    return MappingProxyType(result)


def _field(position: int, type_name: str, element: Element, kind: str, attribute: bool) -> Field:
    below = (kind, "")
    if element.content_of is not None:
        below = (type_name, element.content_of)
    elif kind in _INLINE:
        below = (type_name, element.path)
    found = structure(kind)
    is_primitive = found is not None and found.kind == "primitive-type"
    return Field(element.name, position, kind, element.repeats, is_primitive, attribute, below)
