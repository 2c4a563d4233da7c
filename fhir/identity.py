"""Types and ids, as addresses and bodies name them. https://hl7.org/fhir/R4/resource.html#id"""

import re
from typing import Final

from fhir.definitions import is_resource_type
from fhir.documents import ParsedResource, is_id
from fhir.errors import ResourceMismatch, UnknownResourceType, VersionMismatch
from healthcloud.errors import BadRequest

_ETAG: Final = re.compile(r'(?:W/)?"([A-Za-z0-9._-]{1,64})"|([0-9]{1,10})')


class InvalidETag(BadRequest):
    """The header is no entity tag, or list of them."""

    issue_code = "value"


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
    """Raise VersionMismatch unless If-Match (`W/"3"`, `"3"` or `3`) names the version.

    `*` means any version that there is; raises InvalidETag for what is no entity tag.
    """
    if if_match is None:
        return
    if if_match.strip() == "*":
        matches = version is not None
    else:
        matches = str(version) in entity_tags(if_match, "If-Match")
    if not matches:
        state = f"version {version} is current" if version else "there is none"
        raise VersionMismatch(
            f"If-Match asks for version {if_match[:40]}, but {state}: read it again.",
            param="If-Match",
        )


def check_if_none_match(if_none_match: str | None, version: int | None) -> None:
    """Raise VersionMismatch where If-None-Match names the version, or is `*` and there is one."""
    if if_none_match is None:
        return
    is_any = if_none_match.strip() == "*"
    if not is_any and str(version) not in entity_tags(if_none_match, "If-None-Match"):
        return
    if version is not None:
        raise VersionMismatch(
            f"If-None-Match is {if_none_match[:40]}, and version {version} is current.",
            param="If-None-Match",
        )


def entity_tags(header: str, name: str) -> set[str]:
    """Return the versions in a list of entity tags; raise InvalidETag for anything else."""
    tags = [tag.strip() for tag in header.split(",")]
    found = [_ETAG.fullmatch(tag) for tag in tags]
    if not all(found):
        raise InvalidETag(
            f'`{name}` is an entity tag such as `W/"3"`, not `{header[:40]}`.', param=name
        )
    return {match[1] or match[2] for match in found if match}
