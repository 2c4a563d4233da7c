"""XML Patch (RFC 5261) over the XML form of a resource. https://hl7.org/fhir/R4/http.html#patch

`sel` is the part of XPath that the RFC allows: steps of names, positions, and tests for equality.
Names without a prefix are of the patch's default namespace, or of FHIR's where it has none.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from fhir.codecs.xml import MalformedXml, from_xml, to_xml
from fhir.codecs.xml.names import FHIR
from fhir.documents import MAX_BYTES, ParsedResource, parse
from fhir.patches.values import InvalidPatch, PatchFailed

if TYPE_CHECKING:
    from lxml.etree import _Element

XML_PATCH: Final = "application/xml-patch+xml"
_MAX_OPERATIONS: Final = 1000
_MAX_SELECTOR: Final = 1000
_NAMESPACES: Final = frozenset({"", "urn:ietf:params:xml:ns:patch-ops"})
_DEFAULT: Final = "default-"
_QUOTED: Final = re.compile(r"(\"[^\"]*\"|'[^']*')")
_NAME: Final = re.compile(r"(?<![\w@:.$-])([A-Za-z_][\w.-]*)(?![\w.-]*[(:])")
_STEP: Final = r"(?:[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?|\*)(?:\[[^\[\]]*\])*"
_SELECTOR: Final = re.compile(
    rf"/?(?:{_STEP}/)*(?:{_STEP}|@[A-Za-z_][\w.-]*|text\(\)(?:\[[^\[\]]*\])*)"
)
_TEST: Final = re.compile(r"\[(?:\d{1,9}|(?:@?[\w.:-]+|\.)\s*=\s*(?:\"[^\"]*\"|'[^']*'))\]")


def check_xml_patch(document: bytes) -> None:
    """Raise InvalidPatch for what is no XML Patch."""
    _read(document)


def apply_xml_patch(content: bytes, document: bytes) -> ParsedResource:
    """Return the resource of a JSON text after an XML patch; raise PatchFailed."""
    from lxml import etree

    root = etree.fromstring(to_xml(content), _parser())
    for operation in _read(document):
        _OPERATIONS[etree.QName(operation).localname](operation, root)
    try:
        return parse(from_xml(etree.tostring(root)))
    except MalformedXml as error:
        raise PatchFailed(f"What the patch makes is no resource: {error.message}") from None


def _parser() -> Any:  # noqa: ANN401  # lxml's parsers have no public type
    from lxml import etree

    return etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True)


def _read(document: bytes) -> list["_Element"]:
    from lxml import etree

    if len(document) > MAX_BYTES or b"<!DOCTYPE" in document.upper():
        raise InvalidPatch("An XML Patch has no document type, and 16 MiB at most.")
    try:
        root = etree.fromstring(document, _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InvalidPatch(f"The patch is not XML: {error}.") from None
    operations = [child for child in root if isinstance(child.tag, str)]
    if etree.QName(root).localname != "diff" or not 0 < len(operations) <= _MAX_OPERATIONS:
        raise InvalidPatch(f"An XML Patch is a `diff` of 1 to {_MAX_OPERATIONS} operations.")
    for operation in operations:
        name = etree.QName(operation)
        if name.localname not in _OPERATIONS or (name.namespace or "") not in {
            *_NAMESPACES,
            etree.QName(root).namespace or "",
        }:
            raise InvalidPatch(f"`{name.localname[:60]}` is no operation: add, replace or remove.")
        _check_selector(operation.get("sel", ""))
    return operations


def _check_selector(selector: str) -> None:
    plain = _QUOTED.sub('""', selector)
    tests = re.findall(r"\[[^\[\]]*\]", plain)
    if (
        len(selector) > _MAX_SELECTOR
        or not _SELECTOR.fullmatch(plain)
        or not all(_TEST.fullmatch(test) for test in tests)
    ):
        raise InvalidPatch(
            f"`{selector[:120]}` is no selector of RFC 5261: write such as"
            " `f:Patient/f:name[1]/f:family/@value`."
        )


def _select(operation: "_Element", root: "_Element") -> Any:  # noqa: ANN401  # element, attribute or text
    """Return the one node that an operation is about; raise PatchFailed for none or several."""
    from lxml import etree

    selector = operation.get("sel", "")
    names = {prefix: uri for prefix, uri in operation.nsmap.items() if prefix}
    names[_DEFAULT] = operation.nsmap.get(None, FHIR)
    parts = _QUOTED.split(selector if selector.startswith("/") else f"/{selector}")
    parts[::2] = [_NAME.sub(rf"{_DEFAULT}:\1", part) for part in parts[::2]]
    try:
        found: Any = root.getroottree().xpath("".join(parts), namespaces=names)
    except etree.XPathError as error:
        raise InvalidPatch(f"`{selector[:120]}` can't be read: {error}.") from None
    if not isinstance(found, list) or len(found) != 1:
        how_many = len(found) if isinstance(found, list) else 0
        raise PatchFailed(f"`{selector[:120]}` selects {how_many} nodes, not one.")
    return found[0]


def _add(operation: "_Element", root: "_Element") -> None:
    target, kind, place = _element(operation, root), operation.get("type"), operation.get("pos")
    if kind is not None:
        if not re.fullmatch(r"@[A-Za-z_][\w.-]*", kind):
            raise InvalidPatch(f"`type` is an attribute such as `@value`, not `{kind[:60]}`.")
        target.set(kind[1:], operation.text or "")
        return
    children = _children(operation)
    if place in {"before", "after"}:
        parent = target.getparent()
        if parent is None:
            raise PatchFailed("Nothing stands before or after the resource.")
        at = parent.index(target) + (place == "after")
        parent[at:at] = children
    elif place == "prepend":
        target[0:0] = children
    elif place is None:
        target.extend(children)
    else:
        raise InvalidPatch("`pos` is before, after or prepend.")


def _replace(operation: "_Element", root: "_Element") -> None:
    found = _select(operation, root)
    if isinstance(found, str):
        _set_text(found, operation.text or "")
        return
    children, parent = _children(operation), found.getparent()
    if len(children) != 1 or parent is None:
        raise PatchFailed("An element, but the resource itself, is replaced by one element.")
    children[0].tail = found.tail
    parent.replace(found, children[0])


def _remove(operation: "_Element", root: "_Element") -> None:
    found = _select(operation, root)
    if isinstance(found, str):
        _set_text(found, None)
        return
    parent = found.getparent()
    if parent is None:
        raise PatchFailed("The resource itself is deleted, not patched away.")
    before = found.getprevious()
    if found.tail and before is not None:  # a text that follows stays where it is
        before.tail = (before.tail or "") + found.tail
    elif found.tail:
        parent.text = (parent.text or "") + found.tail
    parent.remove(found)


def _set_text(found: Any, text: str | None) -> None:  # noqa: ANN401  # lxml's string with its parent
    """Set or take away an attribute or a text; FHIR has text in narratives only."""
    parent = found.getparent()
    if found.is_attribute and text is None:
        del parent.attrib[found.attrname]
    elif found.is_attribute:
        parent.set(found.attrname, text)
    elif found.is_tail:
        parent.tail = text
    else:
        parent.text = text


def _element(operation: "_Element", root: "_Element") -> "_Element":
    found = _select(operation, root)
    if isinstance(found, str):
        raise PatchFailed("`add` is to an element.")
    element: _Element = found
    return element


def _children(operation: "_Element") -> list["_Element"]:
    """Return copies of what an operation holds; what has no namespace is of FHIR's."""
    from copy import deepcopy

    children = [deepcopy(child) for child in operation if isinstance(child.tag, str)]
    for child in children:
        child.tail = None
        for element in child.iter("{}*"):
            element.tag = f"{{{FHIR}}}{element.tag}"
    return children


_OPERATIONS: Final[Mapping[str, Callable[["_Element", "_Element"], None]]] = {
    "add": _add,
    "replace": _replace,
    "remove": _remove,
}
