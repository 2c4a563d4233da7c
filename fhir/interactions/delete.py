"""delete and conditional delete; history stays. https://hl7.org/fhir/R4/http.html#delete"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.conf import settings

from fhir.definitions import type_number
from fhir.errors import MultipleMatches, VersionConflict
from fhir.identity import check_id, check_if_match, check_type
from fhir.interactions.conditional import match_all, only
from fhir.interactions.update import lock_one
from fhir.rows import lock_current
from fhir.stored import StoredResource
from fhir.writing import ATTEMPTS, Write
from healthcloud.actors import Actor

_MANY: Final = 500


@dataclass(frozen=True, slots=True)
class Deletion:
    """A resource that was deleted, and the version that says so."""

    resource_type: str
    id: str
    version: int

    @property
    def versioned_reference(self) -> str:
        """Return `Type/id/_history/version`."""
        return f"{self.resource_type}/{self.id}/_history/{self.version}"


def delete(
    *, resource_type: str, id: str, actor: Actor, now: datetime, if_match: str | None = None
) -> int | None:
    """Delete a resource and return the version of the deletion; None where nothing was.

    What was deleted before stays as it is and gives its version, so that deleting can be
    repeated. Raises VersionMismatch when `if_match` is not the current version.
    """
    check_type(resource_type)
    check_id(id)
    write = Write.begin(actor=actor, now=now)
    for _ in range(ATTEMPTS):
        current = lock_one(write.project, resource_type, id)
        check_if_match(if_match, current.version if current and current.content else None)
        if current is None or current.content is None:
            return current.version if current else None
        version = write.deletion_of(resource_type, id, current)
        if write.write([version]):
            return version.version
    raise VersionConflict(f"{resource_type}/{id} is being written by others; try again.")


def delete_where(
    *,
    resource_type: str,
    criteria: str,
    actor: Actor,
    now: datetime,
    if_match: str | None = None,
) -> list[Deletion]:
    """Delete what matches `criteria` and return the deletions, none without a match.

    Raises MultipleMatches for more than one match, or where the setting lets several be deleted
    at once, for more than 500.
    """
    check_type(resource_type)
    found = match_all(resource_type, criteria, now=now, limit=most_deleted() + 1)
    refuse_too_many(resource_type, found)
    if not found:
        check_if_match(if_match, None)
    if len(found) > 1:
        return _delete_all(found, actor=actor, now=now, if_match=if_match)
    deletions = []
    for match in found:
        version = delete(
            resource_type=resource_type, id=match.id, actor=actor, now=now, if_match=if_match
        )
        if version is not None:
            deletions.append(Deletion(resource_type, match.id, version))
    return deletions


def most_deleted() -> int:
    """Return how many resources one conditional delete may delete."""
    return _MANY if settings.FHIR_CONDITIONAL_DELETE == "multiple" else 1


def refuse_too_many(resource_type: str, found: Sequence[StoredResource]) -> None:
    """Raise MultipleMatches where more match than one request may delete."""
    if most_deleted() == 1:
        only(resource_type, found)
    elif len(found) > _MANY:
        raise MultipleMatches(
            f"More than {_MANY} {resource_type} resources match: make the condition narrower."
        )


def _delete_all(
    found: Sequence[StoredResource], *, actor: Actor, now: datetime, if_match: str | None
) -> list[Deletion]:
    """Delete several resources of one type together."""
    write = Write.begin(actor=actor, now=now)
    resource_type = found[0].resource_type
    number = type_number(resource_type)
    rows = lock_current(write.project, [(number, match.id) for match in found])
    versions = []
    for match in found:
        row = rows.get(match.key)
        if row is not None and row.content is not None:
            check_if_match(if_match, row.version)
            versions.append(write.deletion_of(resource_type, match.id, row))
    write.write_all(versions)
    return [Deletion(resource_type, version.rid, version.version) for version in versions]
