"""References between the entries of a transaction, replaced by the ids that the server gave.

https://hl7.org/fhir/R4/http.html#trules. References are rewritten in the text, which stays byte by
byte around them. Only a resource that names an entry elsewhere, in an element of type uri or in
its narrative, is taken apart; its decimals keep their digits.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import orjson

from fhir.definitions.fields import ANY_RESOURCE, Field, fields
from fhir.documents import JsonObject, ParsedResource, parse
from fhir.patches.values import Json, decode, encode

Targets = Mapping[str, str]

# Inside a string every quotation mark is escaped, so that a match never begins there.
_REFERENCE: Final = re.compile(rb'(?<!\\)("reference"\s*:\s*)"([^"\\]+)"')
_CONDITIONAL: Final = re.compile(rb'(?<!\\)"reference"\s*:\s*"([A-Z][A-Za-z]+)\?([^"\\]+)"')
_ELSEWHERE: Final = re.compile(rb'(?<!"reference":)(?<!"reference": )"((?:urn:|https?:)[^"\\]*)"')
_NARRATIVE_BYTES: Final = re.compile(rb"(?:href|src)\s*=\s*(?:\\\"|')([^\"'\\]+)")
_NARRATIVE: Final = re.compile(r"((?:href|src)\s*=\s*)([\"'])([^\"']+)\2")
_ESCAPED_SLASH: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\/")
_LINKS: Final = frozenset({"uri", "url", "oid", "uuid"})


def conditional_references(resource: ParsedResource) -> Iterator[tuple[str, str]]:
    """Yield `(type, query)` of each reference such as `Patient?identifier=x|1`."""
    if b"?" in resource.text:
        for found in _CONDITIONAL.finditer(_plain(resource.text)):
            yield found[1].decode(), found[2].decode()


def _plain(text: bytes) -> bytes:
    """Return the text with `/` where it has the equal `\\/`."""
    return _ESCAPED_SLASH.sub(rb"\1/", text) if b"\\/" in text else text


def resolve(resource: ParsedResource, targets: Targets) -> ParsedResource:
    """Return the resource with what names an entry replaced by the entry's new reference.

    `targets` maps full URLs, `Type/id` as the Bundle knew it and conditional references to the
    new `Type/id`. Replaced are references, elements of the types uri, url, oid and uuid, and the
    links of the narrative; a canonical or an identifier's value never is.
    """
    if not targets:
        return resource
    text = _plain(resource.text)
    if _is_named_elsewhere(text, targets):
        document = decode(text)
        _relink(document, targets)
        return parse(encode(document))
    if b'"reference"' in text:
        text = _REFERENCE.sub(_replacer(targets), text)
    if text == resource.text:
        return resource
    return ParsedResource(text, orjson.loads(text))


def _replacer(targets: Targets) -> Callable[[re.Match[bytes]], bytes]:
    def replace(found: re.Match[bytes]) -> bytes:
        target = _target(found[2].decode(), targets)
        return found[0] if target is None else found[1] + orjson.dumps(target)

    return replace


def _target(link: str, targets: Targets) -> str | None:
    """Return the new reference; a version that the link asks for is that of the old id."""
    if link in targets:
        return targets[link]
    plain, _, _ = link.partition("/_history/")
    return targets.get(plain)


def _is_named_elsewhere(text: bytes, targets: Targets) -> bool:
    """Tell whether something besides a reference may name an entry."""
    if any(found[1].decode() in targets for found in _ELSEWHERE.finditer(text)):
        return True
    return (b"href" in text or b"src" in text) and any(
        found[1].decode() in targets for found in _NARRATIVE_BYTES.finditer(text)
    )


def _relink(resource: JsonObject, targets: Targets) -> None:
    """Replace links in a resource and all that is in it."""
    _relink_members(resource, (str(resource.get("resourceType")), ""), targets)


def _relink_members(members: JsonObject, shape: tuple[str, str], targets: Targets) -> None:
    known = fields(*shape)
    for name, value in members.items():
        plain = name.removeprefix("_")
        field = known.get(plain)
        if field is None:
            continue
        is_extras = plain != name
        is_link = field.kind in _LINKS or (shape[0] == "Reference" and name == "reference")
        if isinstance(value, list):
            members[name] = [
                _relinked(item, field, targets, is_link=is_link, is_extras=is_extras)
                for item in value
            ]
        else:
            members[name] = _relinked(value, field, targets, is_link=is_link, is_extras=is_extras)


def _relinked(
    value: Json, field: Field, targets: Targets, *, is_link: bool, is_extras: bool
) -> Json:
    if isinstance(value, dict):
        if field.kind == ANY_RESOURCE:
            _relink(value, targets)
        else:
            _relink_members(value, ("Element", "") if is_extras else field.below, targets)
    elif isinstance(value, str) and is_link:
        return _target(value, targets) or value
    elif isinstance(value, str) and field.kind == "xhtml":
        return _NARRATIVE.sub(
            lambda found: f"{found[1]}{found[2]}{_target(found[3], targets) or found[3]}{found[2]}",
            value,
        )
    return value
