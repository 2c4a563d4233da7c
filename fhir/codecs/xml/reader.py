"""From XML to the JSON form. https://hl7.org/fhir/R4/xml.html

The parser sees UTF-8 only and no document type, so that there are no entities, no external
references and no expansion. What the definitions don't know is passed on under its name: the
validation that follows says what is wrong with it, as it does for JSON.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn
from xml.parsers import expat

import msgspec

from fhir.codecs.xml.names import FHIR, XHTML
from fhir.definitions import is_resource_type
from fhir.definitions.fields import ANY_RESOURCE, Field, fields
from fhir.documents import BOM, MAX_BYTES, MAX_DEPTH, ResourceTooLarge
from healthcloud.errors import BadRequest

_WHOLE: Final = frozenset({"integer", "positiveInt", "unsignedInt"})
_SPACE: Final = " \t\r\n"
_INTEGER: Final = re.compile(r"[+]?(-?(?:0|[1-9][0-9]*))")
_DECIMAL: Final = re.compile(r"(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_SCHEMA_LOCATION: Final = "http://www.w3.org/2001/XMLSchema-instance schemaLocation"
_UTF8: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})

Json = Any  # a JSON value of any kind


class MalformedXml(BadRequest):
    """The body is no XML of the FHIR namespace within the limits."""

    issue_code = "structure"


@dataclass(slots=True)
class _Node:
    """An element of the FHIR namespace; `markup` is the source text of a narrative's div."""

    name: str
    attributes: dict[str, str]
    children: list["_Node"] = field(default_factory=list)
    markup: str | None = None


def from_xml(body: bytes) -> bytes:
    """Return the resource in the body as JSON text.

    Raises MalformedXml with the line of the fault, and ResourceTooLarge above 16 MiB.
    """
    if len(body) > MAX_BYTES:
        raise ResourceTooLarge(f"The body has {len(body)} bytes; the limit is {MAX_BYTES}.")
    if b"\0" in body or body.startswith((b"\xff\xfe", b"\xfe\xff")):  # the parser would guess
        raise MalformedXml("The body is not XML in UTF-8.")
    return msgspec.json.encode(_resource(_Reader(body.removeprefix(BOM)).read()))


# --- from text to nodes -----------------------------------------------------------------------


class _Reader:
    """Builds nodes from the events of the parser."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._parser = parser = expat.ParserCreate("UTF-8", namespace_separator=" ")
        parser.buffer_text = True
        parser.XmlDeclHandler = self._declared
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartNamespaceDeclHandler = self._prefix
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        self._open: list[_Node] = []
        self._root: _Node | None = None
        self._markup_depth = 0
        self._markup_start = 0
        self._prefixes: dict[str, str] = {}

    def read(self) -> _Node:
        try:
            self._parser.Parse(self._text, True)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code) or "not well-formed"
            raise MalformedXml(
                f"The body is not XML: {reason} (line {error.lineno}, column {error.offset + 1})."
            ) from None
        except ValueError:
            raise MalformedXml("The body is not XML in UTF-8.") from None
        if self._root is None:
            raise MalformedXml("The body holds no element.")
        return self._root

    def _refuse(self, reason: str) -> NoReturn:
        raise MalformedXml(f"{reason} (line {self._parser.CurrentLineNumber}).")

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _UTF8:
            self._refuse(f"Send XML in UTF-8, not in {encoding[:40]}")

    def _doctype(self, *_: object) -> None:
        self._refuse("A document type or entity declaration is not allowed")

    def _prefix(self, prefix: str | None, uri: str | None) -> None:
        if not self._markup_depth:
            self._prefixes[prefix or ""] = uri or ""

    def _start(self, qualified: str, attributes: dict[str, str]) -> None:
        if len(self._open) + self._markup_depth >= MAX_DEPTH:
            self._refuse(f"The XML is nested deeper than {MAX_DEPTH} levels")
        if self._markup_depth:
            self._markup_depth += 1
            return
        namespace, _, name = qualified.rpartition(" ")
        if namespace == XHTML and name == "div" and self._open:
            self._markup_depth = 1
            self._markup_start = self._parser.CurrentByteIndex
            return
        if namespace != FHIR:
            self._refuse(f"`{name[:60]}` is not in the namespace {FHIR}")
        self._add(_Node(name, self._attributes(name, attributes)))

    def _attributes(self, name: str, attributes: dict[str, str]) -> dict[str, str]:
        known = {"value", "id", "url"}
        for attribute in attributes:
            if attribute not in known and attribute != _SCHEMA_LOCATION:
                self._refuse(f"`{name[:60]}` has no attribute `{attribute[:60]}`")
        return {k: v for k, v in attributes.items() if k in known}

    def _add(self, node: _Node) -> None:
        if self._open:
            self._open[-1].children.append(node)
        else:
            self._root = node
        self._open.append(node)

    def _end(self, name: str) -> None:
        if not self._markup_depth:
            self._open.pop()
            return
        self._markup_depth -= 1
        if not self._markup_depth:
            self._open[-1].children.append(_Node("div", {}, markup=self._markup()))

    def _markup(self) -> str:
        """Return the source of the div that ends here, with the prefixes that it borrows."""
        start, end = self._markup_start, self._parser.CurrentByteIndex
        if self._text[end : end + 2] != b"</":
            return f'<div xmlns="{XHTML}"/>'
        source = self._text[start : self._text.index(b">", end) + 1].decode()
        tag = re.match(r"<[^\s/>]+", source)
        opening = source.partition(">")[0]
        borrowed = [
            f' {name}="{uri}"'
            for prefix, uri in self._prefixes.items()
            if f" {(name := f'xmlns:{prefix}' if prefix else 'xmlns')}=" not in _flat(opening)
            and (f"{prefix}:" in source if prefix else not tag or ":" not in tag[0])
        ]
        return source[: tag.end()] + "".join(borrowed) + source[tag.end() :] if tag else source

    def _characters(self, text: str) -> None:
        if not self._markup_depth and text.strip(_SPACE):
            self._refuse(f"The text `{text.strip()[:40]}` stands outside an attribute `value`")


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


# --- from nodes to JSON -----------------------------------------------------------------------


def _resource(node: _Node) -> Json:
    """Return a resource; one of no known type keeps its name for the refusal that follows."""
    result: dict[str, Json] = {"resourceType": node.name}
    known = node.name if is_resource_type(node.name) else "DomainResource"
    if node.attributes:
        raise MalformedXml(f"`{node.name[:60]}` has an attribute; a resource has only elements.")
    _fill(result, node, (known, ""))
    return result


def _fill(result: dict[str, Json], node: _Node, shape: tuple[str, str]) -> None:
    """Put the children of a node into an object: elements that repeat into arrays."""
    known = fields(*shape)
    groups: dict[str, list[_Node]] = {}
    for child in node.children:
        groups.setdefault(child.name, []).append(child)
    for name, nodes in groups.items():
        found = known.get(name)
        if found is not None and found.is_primitive:
            _put_primitives(result, name, nodes, found)
            continue
        values = [_complex(child, found) for child in nodes]
        is_many = len(values) > 1 or (found is not None and found.repeats)
        result[name] = values if is_many else values[0]


def _complex(node: _Node, found: Field | None) -> Json:
    if node.markup is not None:
        return node.markup
    if found is None and "value" in node.attributes:
        return node.attributes["value"]
    if found is not None and found.kind == ANY_RESOURCE:
        if len(node.children) != 1:
            raise MalformedXml(f"`{node.name}` must hold one resource.")
        return _resource(node.children[0])
    result: dict[str, Json] = dict(node.attributes)
    _fill(result, node, found.below if found else ("Element", ""))
    return result


def _put_primitives(result: dict[str, Json], name: str, nodes: list[_Node], found: Field) -> None:
    """Put the values under the name, and ids and extensions under the name with `_`."""
    values = [_value(node, found.kind) for node in nodes]
    extras = [_extras(node) for node in nodes]
    if len(nodes) == 1 and not found.repeats:
        if values[0] is not None:
            result[name] = values[0]
        if extras[0] is not None or values[0] is None:
            result[f"_{name}"] = extras[0] or {}
        return
    if any(value is not None for value in values):
        result[name] = values
    if any(extra is not None for extra in extras) or name not in result:
        result[f"_{name}"] = extras


def _extras(node: _Node) -> Json:
    extras: dict[str, Json] = {"id": node.attributes["id"]} if "id" in node.attributes else {}
    if node.markup is None:
        _fill(extras, node, ("Element", ""))
    return extras or None


def _value(node: _Node, kind: str) -> Json:
    """Return the value as JSON spells it; what is no number or boolean stays text."""
    if node.markup is not None:
        return node.markup
    text = node.attributes.get("value")
    if text is None:
        return None
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if kind == "decimal" or kind in _WHOLE:
        number = (_DECIMAL if kind == "decimal" else _INTEGER).fullmatch(text)
        return msgspec.Raw(number[1].encode()) if number else text
    return text
