"""`_summary` and `_elements`: parts of resources. https://hl7.org/fhir/R4/search.html#summary"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from fhir.definitions import Element, structure
from fhir.documents import JsonObject, replace_member, select_members
from fhir.search.request import Summary

_ALWAYS: Final = ("resourceType", "id", "meta")
_SUBSETTED: Final[JsonObject] = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}


def subset(
    resource_type: str, content: bytes, *, summary: Summary = "", elements: Iterable[str] = ()
) -> bytes:
    """Return the part of a resource that was asked for, tagged SUBSETTED, or all of it."""
    names = tuple(elements)
    if names:
        return _tagged(select_members(content, _elements(resource_type, names)))
    if summary == "true":
        return _tagged(select_members(content, _summary(resource_type)))
    if summary == "text":
        return _tagged(select_members(content, _elements(resource_type, ("text",))))
    if summary == "data":
        return _tagged(select_members(content, {"text"}, drop=True))
    return content


def _tagged(content: bytes) -> bytes:
    members = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    meta: JsonObject = msgspec.json.decode(members["meta"]) if "meta" in members else {}
    return replace_member(content, "meta", {**meta, "tag": [*meta.get("tag", ()), _SUBSETTED]})


@lru_cache(maxsize=1024)
def _elements(resource_type: str, names: tuple[str, ...]) -> frozenset[str]:
    """Return the named members and the mandatory ones; `Type.element` names one type only."""
    wanted = {
        name.removeprefix(f"{resource_type}.").partition(".")[0].removesuffix("[x]")
        for name in names
    }
    found = [child for child in _children(resource_type) if child.name in wanted or child.minimum]
    return _members(found)


@lru_cache(maxsize=256)
def _summary(resource_type: str) -> frozenset[str]:
    return _members([child for child in _children(resource_type) if child.in_summary])


def _children(resource_type: str) -> tuple[Element, ...]:
    found = structure(resource_type)
    return found.children() if found else ()


def _members(elements: Iterable[Element]) -> frozenset[str]:
    names = {name for element in elements for name, _ in element.json_names()}
    return frozenset({*_ALWAYS, *names, *(f"_{name}" for name in names)})
