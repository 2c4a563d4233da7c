"""Media types and preferences. https://hl7.org/fhir/R4/http.html#mime-type"""

import re
from collections.abc import Mapping
from typing import Final

from healthcloud.errors import HealthCloudError, UnsupportedMediaType

FHIR_JSON: Final = "application/fhir+json"
CONTENT_TYPE: Final = f"{FHIR_JSON}; charset=utf-8; fhirVersion=4.0"
_JSON: Final = frozenset({FHIR_JSON, "application/json", "text/json", "json"})
_ANY: Final = frozenset({"*/*", "application/*", "text/*", "text/html"})
PATCH_JSON: Final = "application/json-patch+json"
FORM: Final = "application/x-www-form-urlencoded"
_PREFERENCE: Final = re.compile(r"([\w-]+)=\"?([\w-]+)\"?")


class NotAcceptable(HealthCloudError):
    """The client accepts only what this server does not write."""

    code = "not_acceptable"
    status = 406
    issue_code = "not-supported"


def check_accept(accept: str | None, format_parameter: str | None) -> None:
    """Raise NotAcceptable unless JSON will do; `_format` wins over Accept."""
    if format_parameter is not None:
        # A plus in a query is a space once decoded.
        wanted = [format_parameter.replace(" ", "+")]
    else:
        wanted = (accept or "*/*").split(",")
    kinds = {kind.partition(";")[0].strip().lower() for kind in wanted}
    if not kinds & (_JSON | _ANY):
        raise NotAcceptable(
            f"This server answers {FHIR_JSON} only, not {', '.join(sorted(kinds))[:80]}.",
            param="Accept",
        )


def check_content_type(content_type: str, *also: str) -> str:
    """Return the media type of the body; raise UnsupportedMediaType unless it is JSON."""
    kind, _, rest = content_type.partition(";")
    kind = kind.strip().lower()
    if kind not in _JSON | set(also) or not _is_utf8(rest):
        allowed = " or ".join(also) or f"{FHIR_JSON} or application/json"
        raise UnsupportedMediaType(
            f"Send the body as {allowed} in UTF-8, not `{content_type[:80]}`.", param="Content-Type"
        )
    return kind


def _is_utf8(parameters: str) -> bool:
    found = re.search(r"charset=\"?([\w-]+)", parameters, re.IGNORECASE)
    return found is None or found[1].lower() in {"utf-8", "utf8", "us-ascii"}


def preferences(header: str | None) -> Mapping[str, str]:
    """Return what `Prefer` asks for: `return`, `handling` and others."""
    return dict(_PREFERENCE.findall(header or ""))
