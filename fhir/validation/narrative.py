"""The whitelist of narrative HTML. https://hl7.org/fhir/R4/narrative.html#xhtml"""

import re
from xml.parsers import expat

_XHTML = "http://www.w3.org/1999/xhtml"

_ELEMENTS = frozenset(
    """
    a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1
    h2 h3 h4 h5 h6 hr i img li ol p pre q samp small span strong sub sup table tbody td tfoot
    th thead tr tt ul var
    """.split()  # noqa: SIM905 -- eighty quoted words would be harder to read
)
_ATTRIBUTES = frozenset(
    """
    abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign
    char charoff charset cite class colspan compact coords dir frame headers height href
    hreflang hspace id lang longdesc name nowrap rel rev rowspan rules scope shape span src
    start style summary tabindex title type valign value vspace width
    """.split()  # noqa: SIM905 -- eighty quoted words would be harder to read
)
_OF_XML = frozenset(
    {"http://www.w3.org/XML/1998/namespace lang", "http://www.w3.org/XML/1998/namespace space"}
)
_FRAGMENT = re.compile(r"""(?:src|href)\s*=\s*["'](#[^"']+)""")
_SCRIPT_URL = re.compile(r"\s*(javascript|vbscript|data:text/html)", re.IGNORECASE)


class _ForbiddenError(Exception):
    """The narrative holds what R4 does not allow."""


def is_safe(div: str) -> bool:
    """Say whether a narrative is one well-formed XHTML div of allowed elements and attributes."""
    if "<!DOCTYPE" in div or "<!ENTITY" in div or "<?" in div:
        return False
    parser = expat.ParserCreate(namespace_separator=" ")
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        _check_element(name, outermost=depth == 0)
        _check_attributes(attributes)
        depth += 1

    parser.StartElementHandler = start
    try:
        parser.Parse(div.encode(), True)
    except (expat.ExpatError, _ForbiddenError, UnicodeEncodeError):
        return False
    return True


def has_content(div: str) -> bool:
    """Say whether a narrative shows anything: text or a picture."""
    return "<img" in div or bool(re.sub(r"<[^>]*>|&nbsp;|&#160;", "", div).strip())


def fragments(div: str) -> list[str]:
    """Return what a narrative refers to in its own resource: pictures and links `#id`."""
    return _FRAGMENT.findall(div)


def _check_element(name: str, *, outermost: bool) -> None:
    namespace, _, local = name.rpartition(" ")
    if namespace != _XHTML or local not in _ELEMENTS or (outermost and local != "div"):
        raise _ForbiddenError(name)


def _check_attributes(attributes: dict[str, str]) -> None:
    for name, value in attributes.items():
        if name not in _ATTRIBUTES and name not in _OF_XML:
            raise _ForbiddenError(name)
        if name in {"href", "src"} and _SCRIPT_URL.match(value):
            raise _ForbiddenError(value)
