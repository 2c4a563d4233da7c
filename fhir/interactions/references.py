"""References between the entries of a transaction, replaced by the ids that the server gave.

https://hl7.org/fhir/R4/http.html#trules. References are rewritten in the text, which stays byte by
byte around them. Only a resource that names an entry elsewhere, in an element of type uri or in
its narrative, is taken apart; its decimals keep their digits.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import orjson

from fhir.definitions.fields import ANY_RESOURCE, Field, fields
from fhir.documents import JsonObject, ParsedResource, parse
from fhir.patches.values import Json, decode, encode

Targets = Mapping[str, str]

# Inside a string every quotation mark is escaped, so that a match never begins there. The look
# behind comes after the name, as a search for text that is fixed is a fast one.
_NAME: Final = rb'"reference"(?<!\\"reference")'
_REFERENCE: Final = re.compile(rb"(" + _NAME + rb'\s*:\s*)"([^"\\]+)"')
_CONDITIONAL: Final = re.compile(_NAME + rb'\s*:\s*"([A-Z][A-Za-z]+)\?([^"\\]+)"')
_ELSEWHERE: Final = re.compile(rb'(?<!"reference":)(?<!"reference": )"((?:urn:|https?:)[^"\\]*)"')
_NARRATIVE_BYTES: Final = re.compile(rb"(?:href|src)\s*=\s*(?:\\\"|')([^\"'\\]+)")
_NARRATIVE: Final = re.compile(r"((?:href|src)\s*=\s*)([\"'])([^\"']+)\2")
_ESCAPED_SLASH: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\/")
# R4 names oid and uuid, too; but neither can hold `Type/id`, and what it names stays a name.
_LINKS: Final = frozenset({"uri", "url"})


def conditional_references(resource: ParsedResource) -> Iterator[tuple[str, str]]:
    """Yield `(type, query)` of each reference such as `Patient?identifier=x|1`."""
    if b"?" in resource.text:
        for found in _CONDITIONAL.finditer(_plain(resource.text)):
            yield found[1].decode(), found[2].decode()


def named_in(resource: ParsedResource) -> Iterator[str]:
    """Yield the URNs that references name."""
    if b'"urn:' in resource.text:
        for found in _REFERENCE.finditer(_plain(resource.text)):
            yield found[2].decode()


def _plain(text: bytes) -> bytes:
    """Return the text with `/` where it has the equal `\\/`."""
    return _ESCAPED_SLASH.sub(rb"\1/", text) if b"\\/" in text else text


class Links:
    """What entries are called, and the reference that each name stands for.

    Names are full URLs, `Type/id` as the Bundle knew it, and conditional references. The
    beginnings that all full URLs of a scheme share tell whether a text may name an entry at all.
    """

    def __init__(self, targets: Targets) -> None:
        self.targets = targets
        self._replacements = {
            name.encode(): orjson.dumps(target) for name, target in targets.items()
        }
        self._beginnings = tuple(_beginnings(self._replacements))

    def __bool__(self) -> bool:
        return bool(self.targets)

    def replaced(self, text: bytes) -> bytes | None:
        """Return the text with its references replaced; None where it names entries elsewhere."""
        found = 0
        beginnings, replacements = self._beginnings, self._replacements

        def replace(match: re.Match[bytes]) -> bytes:
            nonlocal found
            link = match[2]
            found += link.startswith(beginnings)
            target = replacements.get(link)
            if target is None and b"/_history/" in link:
                target = replacements.get(link.partition(b"/_history/")[0])
            return match[0] if target is None else match[1] + target

        result = _REFERENCE.sub(replace, text)
        if sum(map(text.count, beginnings)) != found and self._are_named(_ELSEWHERE, text):
            return None
        if (b"href" in text or b"src" in text) and self._are_named(_NARRATIVE_BYTES, text):
            return None
        return result

    def _are_named(self, pattern: re.Pattern[bytes], text: bytes) -> bool:
        return any(found[1] in self._replacements for found in pattern.finditer(text))


def _beginnings(names: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the longest beginning that the names of each scheme share."""
    listed = sorted(names)
    for scheme in b"urn:", b"http:", b"https:":
        same = [name for name in listed if name.startswith(scheme)]
        if same:
            first, last = same[0], same[-1]  # what these two share, all between them do
            pairs = enumerate(zip(first, last, strict=False))
            yield first[: next((place for place, (a, b) in pairs if a != b), len(first))]


NO_LINKS: Final = Links({})


def resolve(resource: ParsedResource, links: Links) -> ParsedResource:
    """Return the resource with what names an entry replaced by the entry's new reference.

    Replaced are references, elements of the types uri and url, and the links of the narrative; a
    canonical or an identifier's value never is.
    """
    if not links:
        return resource
    text = _plain(resource.text)
    replaced = links.replaced(text)
    if replaced is None:
        document = decode(text)
        _relink(document, links.targets)
        return parse(encode(document))
    if replaced == resource.text:
        return resource
    return ParsedResource(replaced, orjson.loads(replaced))


def _target(link: str, targets: Targets) -> str | None:
    """Return the new reference; a version that the link asks for is that of the old id."""
    if link in targets:
        return targets[link]
    plain, _, _ = link.partition("/_history/")
    return targets.get(plain)


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
