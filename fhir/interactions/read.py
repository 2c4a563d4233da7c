"""read and vread. https://hl7.org/fhir/R4/http.html#read"""

from collections.abc import Sequence
from datetime import datetime

from fhir.definitions import type_number
from fhir.documents import is_id
from fhir.errors import ResourceGone, ResourceNotFound
from fhir.identity import check_type, entity_tags
from fhir.rows import read_current, read_version
from fhir.search.parser import parse
from fhir.search.summary import subset
from fhir.stored import StoredResource
from healthcloud.tenancy.scope import active_project

_MAX_VERSION = 2**31 - 1


def read(*, resource_type: str, id: str) -> StoredResource:
    """Return the current version, in one round trip."""
    check_type(resource_type)
    _, project = active_project()
    row = read_current(project, type_number(resource_type), id) if is_id(id) else None
    if row is None:
        raise ResourceNotFound(resource_type, id)
    if row.content is None:
        raise ResourceGone(resource_type, id, row.version)
    return StoredResource(resource_type, id, row.version, row.updated_at, row.content)


def vread(*, resource_type: str, id: str, version: int | str) -> StoredResource:
    """Return one version; that of a deletion is gone."""
    check_type(resource_type)
    _, project = active_project()
    text = str(version)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 11 else 0
    found = None
    if 0 < number <= _MAX_VERSION and is_id(id):
        found = read_version(project, type_number(resource_type), id, number)
    if found is None:
        raise ResourceNotFound(resource_type, id, text)
    if found[2] is None:
        raise ResourceGone(resource_type, id, number)
    return StoredResource(resource_type, id, *found)


def is_known(
    found: StoredResource, *, if_none_match: str | None, if_modified_since: datetime | None
) -> bool:
    """Tell whether the client has this version: 304. An entity tag counts more than a time."""
    if if_none_match is not None:
        wanted = if_none_match.strip()
        return wanted == "*" or str(found.version) in entity_tags(wanted, "If-None-Match")
    if if_modified_since is None:
        return False
    return found.updated_at.replace(microsecond=0) <= if_modified_since


def part_of(found: StoredResource, pairs: Sequence[tuple[str, str]]) -> bytes:
    """Return the part of a version that `_summary` or `_elements` ask for, or all of it."""
    wanted = [(name, value) for name, value in pairs if name in {"_summary", "_elements"}]
    if not wanted:
        return found.content
    wish = parse(found.resource_type, wanted)
    return subset(found.resource_type, found.content, summary=wish.summary, elements=wish.elements)
