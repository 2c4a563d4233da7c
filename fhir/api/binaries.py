"""Binary as what it holds: bytes in, bytes out. https://hl7.org/fhir/R4/binary.html#rest

A client that asks for JSON or XML of FHIR gets the resource; all others get the content, with the
headers that keep a browser from running it.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from typing import Final

import orjson
from django.http import HttpResponse

from fhir.api.negotiation import FHIR_TYPES, NotAcceptable
from fhir.documents import JsonObject
from fhir.stored import StoredResource

SECURITY_CONTEXT: Final = "X-Security-Context"
_ANY: Final = frozenset({"*/*", "*", "text/html"})  # a browser asks for HTML and takes all
_PLAIN_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;\s*[\w.-]+=\"?[\w.:+/ -]+\"?)*")
_QUALITY: Final = re.compile(r";\s*q\s*=\s*([0-9.]+)")
_OPENED: Final = re.compile(
    r"(image/(?!svg)|audio/|video/|text/plain|application/pdf|application/dicom)"
)
_SAFE: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


def is_raw(content_type: str) -> bool:
    """Tell whether the body of a write is the content of a Binary, and no resource."""
    kind = content_type.partition(";")[0].strip().lower()
    return "/" in kind and kind not in FHIR_TYPES


def from_raw(body: bytes, content_type: str, *, context: str | None, rid: str | None) -> bytes:
    """Return the Binary that holds a body; `context` is the reference of X-Security-Context."""
    resource: JsonObject = {"resourceType": "Binary"}
    if rid is not None:
        resource["id"] = rid
    resource["contentType"] = content_type
    if context:
        resource["securityContext"] = {"reference": context}
    resource["data"] = b64encode(body).decode()
    return orjson.dumps(resource)


def wants_content(wanted: str, content_type: str) -> bool:
    """Tell whether a client wants the content, from `_format` or Accept, and not the resource.

    Raises NotAcceptable for one that takes neither.
    """
    stored = content_type.partition(";")[0].strip().lower()
    for kind in _by_quality(wanted):
        if kind in _ANY or kind in {stored, f"{stored.partition('/')[0]}/*"}:
            return True
        if kind in FHIR_TYPES or kind == "application/*":
            return False
    raise NotAcceptable(
        f"This Binary is {content_type[:80]}, or a resource of FHIR 4.0, not {wanted[:80]}.",
        param="Accept",
    )


def _by_quality(wanted: str) -> Iterator[str]:
    ranges = []
    for text in wanted.lower().split(","):
        found = _QUALITY.search(text)
        try:
            quality = float(found[1]) if found else 1.0
        except ValueError:
            quality = 1.0
        ranges.append((quality, text.partition(";")[0].strip()))
    ranges.sort(key=lambda pair: -pair[0])
    return (kind for quality, kind in ranges if quality > 0)


def content_of(found: StoredResource, headers: Mapping[str, str]) -> HttpResponse:
    """Return the content of a Binary; what a browser would run comes as a file to be saved."""
    resource = found.resource
    kind = str(resource.get("contentType", ""))
    if not _PLAIN_TYPE.fullmatch(kind):
        kind = "application/octet-stream"
    response = HttpResponse(
        b64decode("".join(str(resource.get("data", "")).split())),
        content_type=kind,
        headers={**headers, **_SAFE},
    )
    if not _OPENED.match(kind.lower()):
        response["Content-Disposition"] = f'attachment; filename="{found.id}"'
    context = resource.get("securityContext", {}).get("reference", "")
    if context and "\n" not in context and "\r" not in context:
        response[SECURITY_CONTEXT] = context
    return response
