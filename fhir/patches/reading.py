"""A patch by its media type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from fhir.codecs.xml import MalformedXml, from_xml
from fhir.documents import MalformedJson, ParsedResource, parse
from fhir.patches.fhirpath_patch import apply_parameters, read_parameters
from fhir.patches.json_patch import apply_operations, read_operations
from fhir.patches.merge_patch import merge
from fhir.patches.values import InvalidPatch, Json, PatchFailed, decode, encode
from fhir.patches.xml_patch import XML_PATCH, apply_xml_patch, check_xml_patch
from healthcloud.errors import UnsupportedMediaType

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
_BARE_JSON: Final = frozenset({"application/json", "text/json"})
_XML: Final = frozenset({"application/fhir+xml", "application/xml", "text/xml"})
PATCH_FORMATS: Final = (
    *(JSON_PATCH, MERGE_PATCH, XML_PATCH),
    *("application/fhir+json", "application/fhir+xml"),
)


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch that was read; it may be applied as often as a transaction is tried."""

    text: bytes
    change: Callable[[Json, Json], Json]

    def apply(self, content: bytes) -> ParsedResource:
        """Return the resource of a JSON text after the patch; raise PatchFailed."""
        try:
            # The patch is read anew: what it puts in may be changed by its later operations.
            document = self.change(decode(content), decode(self.text)["patch"])
            text = encode(document)
        except RecursionError:
            raise PatchFailed("The patch nests values too deeply.") from None
        if not isinstance(document, dict):
            raise PatchFailed("The patch replaces the resource by something that is none.")
        return parse(text)


class XmlPatch(Patch):
    """An XML Patch; `text` is its document."""

    __slots__ = ()

    def apply(self, content: bytes) -> ParsedResource:
        """Return the resource of a JSON text after the patch; raise PatchFailed."""
        return apply_xml_patch(content, self.text)


def read_patch(document: bytes, content_type: str) -> Patch:
    """Return the patch in a document.

    Raises UnsupportedMediaType for other kinds, InvalidPatch for what is not of its kind.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == XML_PATCH:
        check_xml_patch(document)
        return XmlPatch(document, merge)
    try:
        if kind in _XML:
            document, kind = from_xml(document), "application/fhir+json"
        # Parsed inside an object, so that the limits of resources hold for patches too.
        text = parse(b'{"patch":' + document + b"}").text if kind in _KINDS else b""
    except (MalformedJson, MalformedXml) as error:
        raise InvalidPatch(error.message) from None
    if not text:
        raise UnsupportedMediaType(
            f"Send the patch as {JSON_PATCH}, {MERGE_PATCH}, {XML_PATCH} or as Parameters in FHIR"
            f" JSON or XML, not as `{kind[:80]}`.",
            param="Content-Type",
        )
    found = decode(text)["patch"]
    check, change = _KINDS[_kind_of(found) if kind in _BARE_JSON else kind]
    check(found)
    return Patch(text, change)


def _kind_of(document: Json) -> str:
    """Return the kind of a patch that is only called JSON, as some clients do: by its looks."""
    if isinstance(document, list):
        return JSON_PATCH
    is_parameters = isinstance(document, dict) and document.get("resourceType") == "Parameters"
    return "application/fhir+json" if is_parameters else MERGE_PATCH


def _check_merge(document: Json) -> None:
    if not isinstance(document, dict):
        raise InvalidPatch("A JSON Merge Patch is an object.")


def _by_operations(resource: Json, document: Json) -> Json:
    return apply_operations(resource, read_operations(document))


def _by_parameters(resource: Json, document: Json) -> Json:
    return apply_parameters(resource, read_parameters(document))


_Kind = tuple[Callable[[Json], object], Callable[[Json, Json], Json]]
_KINDS: Final[Mapping[str, _Kind]] = {
    JSON_PATCH: (read_operations, _by_operations),
    MERGE_PATCH: (_check_merge, merge),
    **dict.fromkeys(("application/fhir+json", *_BARE_JSON), (read_parameters, _by_parameters)),
}
