"""Media types and preferences. https://hl7.org/fhir/R4/http.html#mime-type"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, Literal

from healthcloud.errors import HealthCloudError, UnsupportedMediaType

Format = Literal["json", "xml"]

FHIR_JSON: Final = "application/fhir+json"
FHIR_XML: Final = "application/fhir+xml"
FORM: Final = "application/x-www-form-urlencoded"
CONTENT_TYPES: Final[Mapping[Format, str]] = {
    "json": f"{FHIR_JSON}; charset=utf-8; fhirVersion=4.0",
    "xml": f"{FHIR_XML}; charset=utf-8; fhirVersion=4.0",
}
CONTENT_TYPE: Final = CONTENT_TYPES["json"]
# The STU names are what older clients send.
_FORMATS: Final[Mapping[str, Format]] = {
    **dict.fromkeys(("json", "application/json", "text/json", FHIR_JSON), "json"),
    **dict.fromkeys(("xml", "application/xml", "text/xml", FHIR_XML), "xml"),
    "application/json+fhir": "json",
    "application/xml+fhir": "xml",
}
FHIR_TYPES: Final = frozenset(_FORMATS)
"""The media types, and the short names of `_format`, of resources."""
_ANY: Final = frozenset({"*/*", "application/*", "text/*", "text/html", "*"})
_PREFERENCE: Final = re.compile(r"([\w-]+)(?:\s*=\s*\"?([\w-]+)\"?)?")
_PARAMETER: Final = re.compile(r";\s*([\w-]+)\s*=\s*\"?([^\s;\",]+)")


class NotAcceptable(HealthCloudError):
    """The client accepts only what this server does not write."""

    code = "not_acceptable"
    status = 406
    issue_code = "not-supported"


def acceptable_format(accept: str | None, format_parameter: str | None) -> Format:
    """Return the format to answer in; `_format` wins over Accept, and JSON where both will do.

    Raises NotAcceptable where the client wants neither JSON nor XML of FHIR 4.0.
    """
    if format_parameter is not None:
        # A plus in a query is a space once decoded.
        wanted = format_parameter.replace(" ", "+").replace(";+", "; ")
    else:
        wanted = accept or "*/*"
    found = _best(wanted)
    if found is None:
        raise NotAcceptable(
            f"This server answers {FHIR_JSON} and {FHIR_XML} of FHIR 4.0, not {wanted[:80]}.",
            param="Accept" if format_parameter is None else "_format",
        )
    return found


@lru_cache(maxsize=512)
def _best(accept: str) -> Format | None:
    """Return the format of the range with the highest quality, the first of equals."""
    ranges = [found for found in _ranges(accept) if found[0] > 0]
    return max(ranges, key=lambda found: found[0])[1] if ranges else None


def _ranges(accept: str) -> Iterator[tuple[float, Format]]:
    for text in accept.split(","):
        kind = text.partition(";")[0].strip().lower()
        parameters = dict(_PARAMETER.findall(text))
        name: Format | None = "json" if kind in _ANY else _FORMATS.get(kind)
        if name is not None and _is_r4(parameters.get("fhirVersion")):
            yield _quality(parameters.get("q")), name


def _quality(text: str | None) -> float:
    try:
        return float(text) if text is not None else 1.0
    except ValueError:
        return 1.0


def _is_r4(version: str | None) -> bool:
    return version is None or version in {"4.0", "4.0.1"}


def check_content_type(content_type: str, *also: str) -> str:
    """Return `json`, `xml` or one of the other media types that the body may have.

    Raises UnsupportedMediaType for all else, for another FHIR version or another encoding.
    """
    kind, _, rest = content_type.partition(";")
    kind = kind.strip().lower()
    parameters = {name.lower(): value for name, value in _PARAMETER.findall(f";{rest}")}
    if (
        (kind not in _FORMATS and kind not in also)
        or parameters.get("charset", "utf-8").lower() not in {"utf-8", "utf8", "us-ascii"}
        or not _is_r4(parameters.get("fhirversion"))
    ):
        allowed = " or ".join(also) or f"{FHIR_JSON} or {FHIR_XML} of FHIR 4.0"
        raise UnsupportedMediaType(
            f"Send the body as {allowed} in UTF-8, not `{content_type[:80]}`.", param="Content-Type"
        )
    return _FORMATS.get(kind, kind)


def preferences(header: str | None) -> Mapping[str, str]:
    """Return what `Prefer` asks for: `return`, `handling`, `respond-async` and others."""
    return dict(_PREFERENCE.findall(header or ""))
