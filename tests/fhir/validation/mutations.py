"""Makes one fault at a time in valid resources, along the definitions and not along the schemas.

`sites` walks a resource with its elements; each fault class says at which sites it can strike and
what it does there.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fhir.definitions import Element, is_resource_type, structure

Node = dict[str, Any]
Place = tuple[str | int, ...]
Change = Callable[[Node, "Site"], None]

PRIMITIVES = {
    *("base64Binary", "boolean", "canonical", "code", "date", "dateTime", "decimal", "id"),
    *("instant", "integer", "markdown", "oid", "positiveInt", "string", "time", "unsignedInt"),
    *("uri", "url", "uuid", "xhtml"),
}
NUMBERS = {"decimal", "integer", "positiveInt", "unsignedInt"}
TEXTS = PRIMITIVES - NUMBERS - {"boolean"}
URIS = {"uri", "url", "canonical", "oid", "uuid"}


@dataclass(frozen=True)
class Site:
    """One property of an object in a resource: where it is, and what R4 says of it."""

    owner: Place
    key: str
    element: Element
    kind: str
    type_name: str

    @property
    def is_primitive(self) -> bool:
        return self.kind in PRIMITIVES


def sites(resource: Node) -> Iterator[Site]:
    """Yield every property of a resource and of what stands inside it."""
    yield from _of_type(resource, resource["resourceType"], "", ())


def _of_type(node: Node, type_name: str, path: str, place: Place) -> Iterator[Site]:
    found = structure(type_name)
    assert found is not None, type_name
    named = {
        key: (element, kind)
        for element in found.children(path)
        for key, kind in element.json_names()
    }
    for key, value in node.items():
        if key not in named:
            continue
        element, kind = named[key]
        yield Site(place, key, element, kind, type_name)
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            inner = (*place, key, index) if isinstance(value, list) else (*place, key)
            if isinstance(item, dict):
                yield from _below(item, type_name, element, kind, inner)


def _below(item: Node, type_name: str, element: Element, kind: str, place: Place) -> Iterator[Site]:
    if kind == "Resource":
        if is_resource_type(item.get("resourceType", "")):
            yield from _of_type(item, item["resourceType"], "", place)
    elif element.content_of is not None:
        yield from _of_type(item, type_name, element.content_of, place)
    elif kind in {"BackboneElement", "Element"}:
        yield from _of_type(item, type_name, element.path, place)
    else:
        yield from _of_type(item, kind, "", place)


def at(resource: Any, place: Place) -> Any:
    """Answer what stands at a place."""
    for step in place:
        resource = resource[step]
    return resource


def mutated(resource: Node, site: Site, change: Change) -> Node:
    """Answer a copy of a resource with one change made in the object that owns a site."""
    found = copy.deepcopy(resource)
    change(at(found, site.owner), site)
    return found


def put(value: Any) -> Change:
    """Set the property, or the first item of it."""

    def change(owner: Node, site: Site) -> None:
        if isinstance(owner[site.key], list):
            owner[site.key][0] = value
        else:
            owner[site.key] = value

    return change


def put_whole(make: Callable[[Any], Any]) -> Change:
    """Replace the property, whether it repeats or not."""

    def change(owner: Node, site: Site) -> None:
        owner[site.key] = make(owner[site.key])

    return change


def remove(owner: Node, site: Site) -> None:
    del owner[site.key]


def add(key: str, value: Any) -> Change:
    """Add a property beside the one of the site."""

    def change(owner: Node, site: Site) -> None:
        owner[key] = value

    return change


def add_shadow(value: Any) -> Change:
    """Say something of the primitive (`_birthDate`)."""

    def change(owner: Node, site: Site) -> None:
        owner[f"_{site.key}"] = value

    return change


def second_choice(owner: Node, site: Site) -> None:
    others = [key for key, _ in site.element.json_names() if key not in owner]
    kinds = dict(site.element.json_names())
    plain = {"string": "x", "boolean": True, "integer": 1, "dateTime": "2020", "uri": "urn:x"}
    key = next((key for key in others if kinds[key] in plain), others[0])
    owner[key] = plain.get(kinds[key], {"id": "x", "extension": [EXTENSION]})


EXTENSION = {"url": "http://example.org/x", "valueString": "y"}


def _refer(reference: str) -> Change:
    def change(owner: Node, site: Site) -> None:
        wrong = next(
            name
            for name in ("Substance", "Slot", "Schedule", "Account", "Basic")
            if name not in site.element.targets
        )
        put({"reference": reference.replace("Wrong", wrong)})(owner, site)

    return change


def _type_reference(owner: Node, site: Site) -> None:
    put({"type": "ResearchSubject", "display": "x"})(owner, site)


def _is_required(site: Site) -> bool:
    return site.element.minimum > 0 and site.key != "resourceType"


def _is_kind(*kinds: str) -> Callable[[Site], bool]:
    return lambda site: site.kind in kinds and site.element.content_of is None


def _is_targeted(site: Site) -> bool:
    return site.kind == "Reference" and len(site.element.targets) > 0


def _is_bound(kind: str) -> Callable[[Site], bool]:
    return lambda site: site.kind == kind and site.element.binding_strength == "required"


NARRATIVES = {
    "script": "<script>alert(1)</script>",
    "style element": "<style>p {}</style>",
    "iframe": '<iframe src="http://example.org"/>',
    "form": '<form action="/"><p>x</p></form>',
    "input": '<input type="text"/>',
    "object": '<object data="x"/>',
    "event attribute": '<p onclick="alert(1)">x</p>',
    "unknown attribute": '<p data-x="1">x</p>',
    "script address": '<a href="javascript:alert(1)">x</a>',
    "unclosed element": "<p>x",
    "named entity": "<p>&nbsp;</p>",
    "other namespace": '<p xmlns="http://example.org">x</p>',
}


def _narrative(inside: str) -> Change:
    return put(f'<div xmlns="http://www.w3.org/1999/xhtml">{inside}</div>')


def _is_plain(site: Site) -> bool:
    return site.key not in {"resourceType", "contained", "resource"}


Applies = Callable[[Site], bool]
_BAD_CONCEPT = {"coding": [{"system": "http://example.org", "code": "no-such-code"}]}

FAULTS: dict[str, tuple[Applies, Change]] = {
    "required primitive missing": (
        lambda s: _is_required(s) and s.is_primitive and not s.element.is_choice,
        remove,
    ),
    "required complex missing": (
        lambda s: _is_required(s) and not s.is_primitive and not s.element.is_choice,
        remove,
    ),
    "required choice missing": (lambda s: _is_required(s) and s.element.is_choice, remove),
    "unknown element": (_is_plain, add("colour", "red")),
    "unknown shadow": (_is_plain, add("_colour", {"extension": [EXTENSION]})),
    "array to scalar": (lambda s: s.element.repeats, put_whole(lambda v: v[0])),
    "scalar to array": (lambda s: not s.element.repeats, put_whole(lambda v: [v])),
    "array in array": (lambda s: s.element.repeats, put_whole(lambda v: [v])),
    "object for primitive": (lambda s: s.is_primitive, put({"value": "x"})),
    "string for complex": (lambda s: not s.is_primitive, put("x")),
    "string for boolean": (_is_kind("boolean"), put("true")),
    "number for boolean": (_is_kind("boolean"), put(1)),
    "string for number": (_is_kind(*NUMBERS), put("1")),
    "boolean for number": (_is_kind(*NUMBERS), put(True)),
    "number for string": (_is_kind(*TEXTS), put(7)),
    "month 13": (_is_kind("date", "dateTime"), put("2021-13-01")),
    "hour 25": (_is_kind("dateTime", "instant"), put("2021-01-01T25:00:00Z")),
    "calendar date": (_is_kind("date", "dateTime"), put("2021-02-30")),
    "calendar date with time": (
        _is_kind("dateTime", "instant"),
        put("2021-02-30T10:00:00Z"),
    ),
    "dateTime without zone": (_is_kind("dateTime", "instant"), put("2021-01-01T10:00:00")),
    "dateTime without seconds": (_is_kind("dateTime", "instant"), put("2021-01-01T10:00Z")),
    "date with time": (_is_kind("date"), put("2021-01-01T10:00:00Z")),
    "date in other words": (_is_kind("date", "dateTime", "instant"), put("01/31/2021")),
    "year 0": (_is_kind("date", "dateTime"), put("0000")),
    "instant without time": (_is_kind("instant"), put("2021-01-01")),
    "time with a zone": (_is_kind("time"), put("10:00:00Z")),
    "required binding of a code": (
        lambda s: _is_bound("code")(s) and "mimetypes" not in (s.element.binding or ""),
        put("no-such-code"),
    ),
    "required binding of a concept": (_is_bound("CodeableConcept"), put(_BAD_CONCEPT)),
    "language in words": (
        lambda s: s.kind == "code" and s.key == "language" and s.element.binding is None,
        put("british_english"),
    ),
    "code with a leading space": (_is_kind("code"), put(" final")),
    "code with two spaces": (_is_kind("code"), put("in  progress")),
    "two of a choice": (
        lambda s: s.element.is_choice and len(s.element.types) > 1,
        second_choice,
    ),
    "reference to a wrong type": (_is_targeted, _refer("Wrong/1")),
    "versioned reference to a wrong type": (_is_targeted, _refer("Wrong/1/_history/2")),
    "absolute reference to a wrong type": (_is_targeted, _refer("https://x.org/fhir/Wrong/1")),
    "conditional reference to a wrong type": (_is_targeted, _refer("Wrong?name=x")),
    "reference to no type": (_is_targeted, _refer("Unknown/1")),
    "reference with a bad id": (_is_targeted, _refer("Patient/a b")),
    "reference typed wrongly": (
        lambda s: _is_targeted(s) and "ResearchSubject" not in s.element.targets,
        _type_reference,
    ),
    "empty string": (lambda s: s.kind in TEXTS, put("")),
    "white space": (lambda s: s.kind in TEXTS, put("  ")),
    "empty array": (_is_plain, put_whole(lambda v: [])),
    "empty object": (lambda s: not s.is_primitive, put({})),
    "null": (_is_plain, put_whole(lambda v: None)),
    "null item": (lambda s: s.element.repeats, put_whole(lambda v: [*v, None])),
    "id with bad characters": (_is_kind("id"), put("a/b")),
    "id with a space": (_is_kind("id"), put("a b")),
    "id of 65 characters": (_is_kind("id"), put("x" * 65)),
    "element id with a space": (lambda s: s.element.path == "id", put("a b")),
    "uri with a space": (_is_kind(*URIS), put("http://example.org/a b")),
    "oid with letters": (_is_kind("oid"), put("urn:oid:abc")),
    "base64 with other characters": (_is_kind("base64Binary"), put("a*b=")),
    "positive integer of 0": (_is_kind("positiveInt"), put(0)),
    "integer below 0": (_is_kind("positiveInt", "unsignedInt"), put(-1)),
    "integer beyond 32 bits": (_is_kind("positiveInt", "unsignedInt", "integer"), put(2**31)),
    "fraction for an integer": (_is_kind("positiveInt", "unsignedInt", "integer"), put(1.5)),
    "extension without url": (_is_kind("Extension"), put({"valueString": "x"})),
    "extension without value": (_is_kind("Extension"), put({"url": "http://example.org/x"})),
    "extension with value and extension": (
        _is_kind("Extension"),
        put({**EXTENSION, "extension": [EXTENSION]}),
    ),
    "unknown type inside": (
        lambda s: s.kind == "Resource",
        put({"resourceType": "Clinic", "id": "x"}),
    ),
    "no type inside": (lambda s: s.kind == "Resource", put({"id": "x"})),
    "string beside a primitive": (
        lambda s: s.is_primitive and s.kind != "xhtml" and not s.element.repeats,
        add_shadow("x"),
    ),
    "empty object beside a primitive": (
        lambda s: s.is_primitive and s.kind != "xhtml" and not s.element.repeats,
        add_shadow({}),
    ),
    "empty extensions beside a primitive": (
        lambda s: s.is_primitive and s.kind != "xhtml" and not s.element.repeats,
        add_shadow({"extension": []}),
    ),
    "bad extension beside a primitive": (
        lambda s: s.is_primitive and s.kind != "xhtml" and not s.element.repeats,
        add_shadow({"extension": [{"url": "http://example.org/x"}]}),
    ),
    "unknown element beside a primitive": (
        lambda s: s.is_primitive and s.kind != "xhtml" and not s.element.repeats,
        add_shadow({"value": "x"}),
    ),
    "object beside a repeated primitive": (
        lambda s: s.is_primitive and s.element.repeats,
        add_shadow({"extension": [EXTENSION]}),
    ),
    "nulls beside a repeated primitive": (
        lambda s: s.is_primitive and s.element.repeats,
        add_shadow([None]),
    ),
    **{
        f"narrative with {name}": (_is_kind("xhtml"), _narrative(inside))
        for name, inside in NARRATIVES.items()
    },
    "narrative without namespace": (_is_kind("xhtml"), put("<div><p>x</p></div>")),
    "narrative as plain text": (_is_kind("xhtml"), put("just text")),
    "narrative as a paragraph": (
        _is_kind("xhtml"),
        put('<p xmlns="http://www.w3.org/1999/xhtml">x</p>'),
    ),
}
