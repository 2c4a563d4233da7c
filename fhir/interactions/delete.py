"""delete and conditional delete; history stays. https://hl7.org/fhir/R4/http.html#delete"""

from datetime import datetime

from fhir.errors import VersionConflict
from fhir.identity import check_id, check_if_match, check_type
from fhir.interactions.conditional import match_one
from fhir.interactions.update import lock_one
from fhir.writing import ATTEMPTS, Write
from healthcloud.actors import Actor


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
) -> int | None:
    """Delete the one resource that matches `criteria`; None without a match."""
    check_type(resource_type)
    existing = match_one(resource_type, criteria, now=now)
    if existing is None:
        check_if_match(if_match, None)
        return None
    return delete(
        resource_type=resource_type, id=existing.id, actor=actor, now=now, if_match=if_match
    )
