"""What a document's Composition refers to is in the document.

https://hl7.org/fhir/R4/documents.html#content, https://hl7.org/fhir/R4/bundle.html#references
"""

from collections.abc import Iterator

from fhir.definitions import is_resource_type
from fhir.validation.invariants.rule import Context, Node, Rule, items

_HISTORY = "/_history/"
_DIRECT = (
    *(("subject",), ("encounter",), ("author",), ("custodian",)),
    *(("attester", "party"), ("event", "detail")),
)
_OF_SECTIONS = ("author", "focus", "entry")


def _holds_what_it_refers_to(bundle: Node, _: Context) -> bool:
    """Say whether each reference of a document's Composition finds exactly one entry."""
    entries = bundle.get("entry")
    if bundle.get("type") != "document" or not entries:
        return True
    composition = entries[0].get("resource", {})
    if composition.get("resourceType") != "Composition":
        return True  # bdl-11 says so
    base = _base(entries[0])
    return all(
        _count(literal, base, entries) == 1
        for literal in _literals(composition)
        if not literal.startswith("#")
    )


def _literals(composition: Node) -> Iterator[str]:
    for path in _DIRECT:
        yield from items(composition, *path, "reference")
    sections = list(items(composition, "section"))
    while sections:
        section = sections.pop()
        sections += items(section, "section")
        for name in _OF_SECTIONS:
            yield from items(section, name, "reference")


def _base(entry: Node) -> str | None:
    """Answer the address of the server in an entry's full url, where it has one."""
    parts = str(entry.get("fullUrl", "")).rsplit("/", 2)
    return parts[0] if len(parts) == 3 and is_resource_type(parts[1]) else None


def _count(literal: str, base: str | None, entries: list[Node]) -> int:
    address, _, version = literal.partition(_HISTORY)
    return sum(
        _is_meant(entry, address, base)
        and (not version or entry["resource"].get("meta", {}).get("versionId") == version)
        for entry in entries
        if "resource" in entry
    )


def _is_meant(entry: Node, address: str, base: str | None) -> bool:
    full_url, resource = entry.get("fullUrl"), entry["resource"]
    if ":" in address:
        return bool(full_url == address)
    if base is not None and full_url is not None:
        return bool(full_url == f"{base}/{address}")
    return address == f"{resource.get('resourceType')}/{resource.get('id')}"


RULES: dict[str, Rule] = {
    "document-references": Rule(
        _holds_what_it_refers_to,
        "Each reference of the Composition (subject, author, section.entry …) must find exactly "
        "one entry of the document, by its fullUrl and the version it names: add, drop or "
        "correct entries.",
    ),
}
