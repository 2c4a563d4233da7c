"""Types and ids, as addresses and bodies name them. https://hl7.org/fhir/R4/resource.html#id"""

from fhir.definitions import is_resource_type
from fhir.documents import ParsedResource, is_id
from fhir.errors import ResourceMismatch, UnknownResourceType, VersionMismatch
from healthcloud.errors import BadRequest


class InvalidId(BadRequest):
    """The id has characters or a length that ids here may not have."""

    issue_code = "value"


def check_type(resource_type: str) -> None:
    """Raise UnknownResourceType for what is no R4 resource type."""
    if not is_resource_type(resource_type):
        raise UnknownResourceType(resource_type)


def check_id(rid: str) -> None:
    """Raise InvalidId for what can't be an id."""
    if not is_id(rid):
        raise InvalidId(
            "An id has 1 to 64 letters, digits, hyphens, dots or underscores.", param="id"
        )


def check_body_id(parsed: ParsedResource, rid: str) -> None:
    """Raise ResourceMismatch when the body's id is another one than the address has."""
    if "id" in parsed.data and parsed.data["id"] != rid:
        raise ResourceMismatch(f"The body's id must be `{rid}`, as in the address.", param="id")


def check_if_match(if_match: str | None, version: int | None) -> None:
    """Raise VersionMismatch unless If-Match (`W/"3"`, `"3"` or `3`) names the version."""
    if if_match is None or if_match.strip() == "*":
        return
    wanted = if_match.strip().removeprefix("W/").strip('"')
    if wanted != str(version):
        state = f"version {version} is current" if version else "there is none"
        raise VersionMismatch(
            f"If-Match asks for version {wanted[:20]}, but {state}: read it again.",
            param="If-Match",
        )
