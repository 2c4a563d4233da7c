"""From the JSON form to XML, elements in the order of the specification.

https://hl7.org/fhir/R4/xml.html
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import escape

from fhir.codecs.xml.names import FHIR, XHTML
from fhir.definitions.fields import ANY_RESOURCE, Field, fields

_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>'
# Characters that would not come back as they are from an attribute, or end it.
_SPECIAL: Final = re.compile(r'[&<>"\t\n\r]|[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')
_ESCAPED: Final = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "\t": "&#9;",
    "\n": "&#10;",
    "\r": "&#13;",
}
_UNKNOWN: Final = Field("", 1_000_000, "", False, False, False, ("", ""))

Json = Any  # a JSON value of any kind


class _Digits(str):
    """A number as it was written."""

    __slots__ = ()


def to_xml(content: bytes, *, pretty: bool = False) -> bytes:
    """Return a resource of JSON text as an XML document.

    Narratives are put in as they are; characters that XML can't hold become U+FFFD.
    """
    resource = json.loads(content, parse_float=_Digits, parse_int=_Digits)
    writer = _Writer(pretty=pretty)
    writer.resource(resource, namespace=True)
    return "".join([_HEAD, *writer.parts, "\n" if pretty else ""]).encode()


class _Writer:
    """Collects the parts of the document."""

    def __init__(self, *, pretty: bool) -> None:
        self.parts: list[str] = []
        self._pretty = pretty
        self._depth = 0

    def resource(self, resource: Mapping[str, Json], *, namespace: bool = False) -> None:
        """Write a resource as an element of its type's name."""
        kind = str(resource["resourceType"])
        head = f'<{kind} xmlns="{FHIR}"' if namespace else f"<{kind}"
        members = {name: value for name, value in resource.items() if name != "resourceType"}
        self._element(kind, head, members, (kind, ""))

    def _element(
        self, name: str, head: str, members: Mapping[str, Json], shape: tuple[str, str]
    ) -> None:
        """Write an element whose children are the members of an object."""
        known = fields(*shape)
        children: dict[str, Field] = {}
        for key in members:
            found = known.get(key.removeprefix("_"), _UNKNOWN)
            if found.is_attribute and not key.startswith("_"):
                head += _attribute(key, members[key])
            else:
                children[key.removeprefix("_")] = found
        self._line()
        if not children:
            self.parts.append(head + "/>")
            return
        self.parts.append(head + ">")
        self._depth += 1
        for child, found in sorted(children.items(), key=lambda item: item[1].position):
            self._member(child, members.get(child), members.get(f"_{child}"), found)
        self._depth -= 1
        self._line()
        self.parts.append(f"</{name}>")

    def _member(self, name: str, value: Json, extras: Json, found: Field) -> None:
        """Write one element, or one for each item of an array."""
        if not isinstance(value, list) and not isinstance(extras, list):
            self._one(name, value, extras, found)
            return
        values = value if isinstance(value, list) else []
        more = extras if isinstance(extras, list) else []
        for position in range(max(len(values), len(more))):
            item = values[position] if position < len(values) else None
            extra = more[position] if position < len(more) else None
            self._one(name, item, extra, found)

    def _one(self, name: str, value: Json, extras: Json, found: Field) -> None:
        if found.kind == "xhtml" and isinstance(value, str):
            self._line()
            self.parts.append(_markup(value))
        elif isinstance(value, dict) and found.kind == ANY_RESOURCE:
            self._line()
            self.parts.append(f"<{name}>")
            self._depth += 1
            self.resource(value)
            self._depth -= 1
            self._line()
            self.parts.append(f"</{name}>")
        elif isinstance(value, dict):
            self._element(name, f"<{name}", value, found.below)
        else:
            head = f"<{name}"
            members = extras if isinstance(extras, dict) else {}
            if value is not None:
                head += _attribute("value", value)
            self._element(name, head, members, ("Element", ""))

    def _line(self) -> None:
        if self._pretty:
            self.parts.append("\n" + "  " * self._depth)


def _attribute(name: str, value: Json) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f' {name}="{_SPECIAL.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    return _ESCAPED.get(found[0], "\ufffd")


def _markup(div: str) -> str:
    """Return a narrative as it is, or as text where it is not well-formed."""
    if "<!DOCTYPE" not in div and "<?" not in div:
        try:
            expat.ParserCreate("UTF-8", namespace_separator=" ").Parse(div.encode(), True)
        except (expat.ExpatError, UnicodeEncodeError):
            pass
        else:
            return div
    return f'<div xmlns="{XHTML}">{escape(_SPECIAL.sub(_plain, div))}</div>'


def _plain(found: re.Match[str]) -> str:
    return found[0] if found[0] in _ESCAPED else "\ufffd"
