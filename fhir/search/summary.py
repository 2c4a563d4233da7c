"""`_summary` and `_elements`: parts of resources. https://hl7.org/fhir/R4/search.html#summary"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from fhir.definitions import Element, structure
from fhir.documents import JsonObject, replace_member, select_members
from fhir.search.request import Summary
from fhir.stored import StoredResource

_ALWAYS: Final = ("resourceType", "id", "meta")
_SUBSETTED: Final[JsonObject] = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}

_MODIFIER: Final = "modifierExtension"
_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def subset(
    resource_type: str, content: bytes, *, summary: Summary = "", elements: Sequence[str] = ()
) -> bytes:
    """Return the part of a resource that was asked for, tagged SUBSETTED, or all of it."""
    if elements:
        names = _own(resource_type, elements)
        return (
            _tagged(select_members(content, _elements(resource_type, names))) if names else content
        )
    return _summarized(resource_type, content, summary)


def subset_of_included(
    resource: StoredResource, summary: Summary, elements: Sequence[str]
) -> bytes:
    """Return the part of an included resource: `_elements` means it where the type is named."""
    kind = resource.resource_type
    named = tuple(name for name in elements if name.startswith(f"{kind}."))
    return subset(kind, resource.content, summary=summary, elements=named)


def _summarized(resource_type: str, content: bytes, summary: Summary) -> bytes:
    if summary == "true":
        return _tagged(_summary(resource_type, "", content))
    if summary == "text":
        return _tagged(select_members(content, _elements(resource_type, ("text",))))
    if summary == "data":
        return _tagged(select_members(content, {"text"}, drop=True))
    return content


def _own(resource_type: str, elements: Sequence[str]) -> tuple[str, ...]:
    """Return the elements that are of this type: `Patient.name` is none of an Observation."""
    return tuple(
        name.removeprefix(f"{resource_type}.")
        for name in elements
        if not name[:1].isupper() or name.startswith(f"{resource_type}.")
    )


def _tagged(content: bytes) -> bytes:
    members = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    meta: JsonObject = msgspec.json.decode(members["meta"]) if "meta" in members else {}
    return replace_member(content, "meta", {**meta, "tag": [*meta.get("tag", ()), _SUBSETTED]})


@lru_cache(maxsize=1024)
def _elements(resource_type: str, names: tuple[str, ...]) -> frozenset[str]:
    """Return the named members and the mandatory ones."""
    wanted = {name.partition(".")[0].removesuffix("[x]") for name in names}
    found = [
        child
        for child in _children(resource_type)
        if child.name in wanted or child.minimum or child.name == "implicitRules"
    ]
    return frozenset({*_ALWAYS, *_members(found)})


def _summary(resource_type: str, path: str, content: bytes) -> bytes:
    """Return the members below a path that belong to the summary, those of backbones too."""
    kept = _summary_members(resource_type, path)
    members: dict[str, object] = {}
    for name, raw in _decode_raw(content).items():
        if name not in kept:
            continue
        below = kept[name]
        value = _summary_of_value(resource_type, below, raw) if below else raw
        if value:
            members[name] = value
    return _encode(members)


def _summary_of_value(resource_type: str, path: str, raw: msgspec.Raw) -> object:
    """Return a backbone or a list of them, None where nothing of it is left."""
    if bytes(raw)[:1] == b"{":
        part = _summary(resource_type, path, bytes(raw))
        return msgspec.Raw(part) if part != b"{}" else None
    parts = [_summary(resource_type, path, bytes(item)) for item in _decode_raw_list(raw)]
    return [msgspec.Raw(part) for part in parts if part != b"{}"]


@lru_cache(maxsize=1024)
def _summary_members(resource_type: str, path: str) -> dict[str, str]:
    """Return the members of the summary below a path, and the path of each that is a backbone.

    A backbone of which nothing is marked stays whole, and keeps what it must have.
    """
    kept = dict.fromkeys(_ALWAYS if not path else ("id",), "")
    for child in _children(resource_type, path):
        if not (child.in_summary or (path and child.minimum)):
            continue
        below = child.content_of or child.path
        if not any(c.in_summary and c.name != _MODIFIER for c in _children(resource_type, below)):
            below = ""
        kept |= dict.fromkeys(_members([child]), below)
    return kept


def _children(resource_type: str, path: str = "") -> tuple[Element, ...]:
    found = structure(resource_type)
    return found.children(path) if found else ()


def _members(elements: Iterable[Element]) -> frozenset[str]:
    names = {name for element in elements for name, _ in element.json_names()}
    return frozenset({*names, *(f"_{name}" for name in names)})
