"""References between the entries of a transaction, replaced by the ids that the server gave.

https://hl7.org/fhir/R4/http.html#trules. Only the references are rewritten; the text around them
stays byte by byte.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import orjson

from fhir.documents import ParsedResource

# A member whose value may name an entry. Inside a string every quotation mark is escaped, so
# that a match never begins there.
_LINK: Final = re.compile(
    rb'(?<!\\)("(\w+)"\s*:\s*)"((?:urn:|https?://|[A-Z][A-Za-z]+[/?])[^"\\]*)"'
)
_NARRATIVE_LINK: Final = re.compile(rb'((?:href|src)=\\")(urn:[^"\\]+)')
_CONDITIONAL: Final = re.compile(rb'"reference"\s*:\s*"([A-Z][A-Za-z]+)\?([^"\\]+)"')


def conditional_references(resource: ParsedResource) -> Iterator[tuple[str, str]]:
    """Yield `(type, query)` of each reference such as `Patient?identifier=x|1`."""
    if b"?" in resource.text:
        for found in _CONDITIONAL.finditer(resource.text):
            yield found[1].decode(), found[2].decode()


def resolve(resource: ParsedResource, targets: Mapping[str, str]) -> ParsedResource:
    """Return the resource with what names an entry replaced by the entry's new reference.

    `targets` maps full URLs, `Type/id` as the Bundle knew it and conditional references to the
    new `Type/id`. `Reference.reference` may be any of these; other elements (of type uri) and
    links in the narrative are replaced where they hold a `urn:`. An identifier's value never is.
    """
    text = resource.text
    if not targets or (b'"reference"' not in text and b"urn:" not in text):
        return resource
    text = _LINK.sub(_link_replacer(targets), text)
    if b"urn:" in text:
        text = _NARRATIVE_LINK.sub(_narrative_replacer(targets), text)
    if text == resource.text:
        return resource
    return ParsedResource(text, orjson.loads(text))


def _link_replacer(targets: Mapping[str, str]) -> Callable[[re.Match[bytes]], bytes]:
    def replace(found: re.Match[bytes]) -> bytes:
        name, link = found[2], found[3].decode()
        if name == b"reference" or (name != b"value" and link.startswith("urn:")):
            target = _target(link, targets)
            if target is not None:
                return found[1] + orjson.dumps(target)
        return found[0]

    return replace


def _target(link: str, targets: Mapping[str, str]) -> str | None:
    """Return the new reference; a version that the link asks for is that of the old id."""
    if link in targets:
        return targets[link]
    plain, _, _ = link.partition("/_history/")
    return targets.get(plain)


def _narrative_replacer(targets: Mapping[str, str]) -> Callable[[re.Match[bytes]], bytes]:
    def replace(found: re.Match[bytes]) -> bytes:
        return found[1] + targets.get(found[2].decode(), found[2].decode()).encode()

    return replace
