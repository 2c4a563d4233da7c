"""update, update as create and conditional update. https://hl7.org/fhir/R4/http.html#update"""

from datetime import datetime

from fhir.definitions import type_number
from fhir.documents import ParsedResource
from fhir.errors import IdTaken, ResourceMismatch, VersionConflict
from fhir.hashes import self_hash
from fhir.identity import (
    check_body_id,
    check_id,
    check_if_match,
    check_if_none_match,
    check_type,
)
from fhir.interactions.conditional import match_one
from fhir.interactions.create import create
from fhir.rows import CurrentRow, find_current, lock_current
from fhir.stored import StoredResource
from fhir.writing import ATTEMPTS, Resource, Write, accept, stored
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import is_direct, only_reading


def update(
    *,
    resource_type: str,
    id: str,
    resource: Resource,
    actor: Actor,
    now: datetime,
    if_match: str | None = None,
    if_none_match: str | None = None,
) -> StoredResource:
    """Store the next version of a resource, or its first where there is none.

    Raises ResourceMismatch when the body has another id, VersionMismatch when `if_match` is not
    the current version, or `if_none_match` is (`*`: whichever it is).
    """
    check_type(resource_type)
    check_id(id)
    parsed = accept(resource, resource_type=resource_type)
    check_body_id(parsed, id)
    return replace(parsed, id, actor=actor, now=now, if_match=if_match, if_none_match=if_none_match)


def replace(
    parsed: ParsedResource,
    rid: str,
    *,
    actor: Actor,
    now: datetime,
    if_match: str | None,
    if_none_match: str | None = None,
) -> StoredResource:
    """Write an accepted resource over the current version."""
    write = Write.begin(actor=actor, now=now)
    for _ in range(ATTEMPTS):
        current = current_one(write.project, parsed.resource_type, rid)
        number = current.version if current and current.content else None
        check_if_match(if_match, number)
        check_if_none_match(if_none_match, number)
        version = write.version_of(parsed, rid=rid, method="PUT", current=current)
        if write.write([version]):
            created = current is None or current.content is None
            return stored(version, parsed.resource_type, write.updated, created=created)
    raise VersionConflict(f"{parsed.resource_type}/{rid} is being written by others; try again.")


def current_one(project: int, resource_type: str, rid: str) -> CurrentRow | None:
    """Return the current row of one id, locked where that is possible.

    In a `direct_scope` it is not: a version that is overtaken is not written there, and the
    request goes the whole way.
    """
    if not is_direct():
        return lock_one(project, resource_type, rid)
    with only_reading():
        rows = find_current(project, [(type_number(resource_type), rid)])
    return rows.get(self_hash(resource_type, rid))


def lock_one(project: int, resource_type: str, rid: str) -> CurrentRow | None:
    """Return the current row of one id, locked."""
    rows = lock_current(project, [(type_number(resource_type), rid)])
    return rows.get(self_hash(resource_type, rid))


def update_where(
    *,
    resource_type: str,
    criteria: str,
    resource: Resource,
    actor: Actor,
    now: datetime,
    if_match: str | None = None,
) -> StoredResource:
    """Update the one resource that matches `criteria` (a query), or create it where none does.

    Raises MultipleMatches, ResourceMismatch when the body's id is not that of the match, and
    IdTaken when nothing matches and the body's id is that of another resource.
    """
    check_type(resource_type)
    parsed = accept(resource, resource_type=resource_type)
    existing = match_one(resource_type, criteria, now=now)
    if existing is not None:
        if parsed.id not in {None, existing.id}:
            raise ResourceMismatch(
                f"The condition matches {existing.reference}, the body says `{parsed.id}`.",
                param="id",
            )
        return replace(parsed, existing.id, actor=actor, now=now, if_match=if_match)
    if if_match is not None:
        check_if_match(if_match, None)
    if parsed.id is not None:
        check_id(parsed.id)
        project = Write.begin(actor=actor, now=now).project
        refuse_taken(lock_one(project, resource_type, parsed.id), resource_type, parsed.id)
        return replace(parsed, parsed.id, actor=actor, now=now, if_match=None)
    return create(resource=parsed, resource_type=resource_type, actor=actor, now=now)


def refuse_taken(current: CurrentRow | None, resource_type: str, rid: str) -> None:
    """Raise IdTaken where an id that a conditional update would create is that of a resource."""
    if current is not None and current.content is not None:
        raise IdTaken(
            f"Nothing matches the condition, and {resource_type}/{rid} is another resource.",
            param="id",
        )
