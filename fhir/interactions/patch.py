"""patch and conditional patch. https://hl7.org/fhir/R4/http.html#patch"""

from datetime import datetime
from typing import Final

from django.core.exceptions import SynchronousOnlyOperation

from fhir.errors import NothingMatches, ResourceGone, ResourceNotFound, VersionConflict
from fhir.identity import check_body_id, check_id, check_if_match, check_type
from fhir.interactions.conditional import match_one
from fhir.interactions.references import NO_LINKS, Links, resolve
from fhir.interactions.update import current_one
from fhir.patches import Patch
from fhir.rows import CurrentRow, NewVersion
from fhir.stored import StoredResource
from fhir.writing import ATTEMPTS, Write, accept, stored
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import is_awaited

_LARGEST_AWAITED: Final = 32 << 10


def patch(
    *,
    resource_type: str,
    id: str,
    patch: Patch,
    actor: Actor,
    now: datetime,
    if_match: str | None = None,
) -> StoredResource:
    """Apply a patch to the current version and store the result, all or nothing.

    Raises PatchFailed when an operation does not fit, InvalidResource when the result is not
    valid, ResourceMismatch when it has another id or type, and VersionMismatch.
    """
    check_type(resource_type)
    check_id(id)
    write = Write.begin(actor=actor, now=now)
    for _ in range(ATTEMPTS):
        current = current_one(write.project, resource_type, id)
        _leave_large(current)
        check_if_match(if_match, current.version if current and current.content else None)
        version = patched(write, resource_type, id, current, patch)
        if write.write([version]):
            return stored(version, resource_type, write.updated, created=False)
    raise VersionConflict(f"{resource_type}/{id} is being written by others; try again.")


def _leave_large(current: CurrentRow | None) -> None:
    """In an event loop's thread leave a large resource to another one, which may take its time."""
    if is_awaited() and current is not None and len(current.content or b"") > _LARGEST_AWAITED:
        raise SynchronousOnlyOperation("a large resource is patched in a thread")


def patched(
    write: Write,
    resource_type: str,
    rid: str,
    current: CurrentRow | None,
    patch: Patch,
    *,
    links: Links = NO_LINKS,
) -> NewVersion:
    """Return the version that a patch makes of the current one, with its links resolved."""
    if current is None:
        raise ResourceNotFound(resource_type, rid)
    if current.content is None:
        raise ResourceGone(resource_type, rid, current.version)
    parsed = accept(resolve(patch.apply(current.content), links), resource_type=resource_type)
    check_body_id(parsed, rid)
    return write.version_of(parsed, rid=rid, method="PATCH", current=current)


def patch_where(
    *,
    resource_type: str,
    criteria: str,
    patch: Patch,
    actor: Actor,
    now: datetime,
    if_match: str | None = None,
) -> StoredResource:
    """Patch the one resource that matches `criteria`; raises NothingMatches, MultipleMatches."""
    return _patch(
        resource_type=resource_type,
        id=matching_id(resource_type, criteria, now=now),
        patch=patch,
        actor=actor,
        now=now,
        if_match=if_match,
    )


_patch = patch


def matching_id(resource_type: str, criteria: str, *, now: datetime) -> str:
    """Return the id of the one resource that a patch's condition matches."""
    check_type(resource_type)
    existing = match_one(resource_type, criteria, now=now)
    if existing is None:
        raise NothingMatches(f"No {resource_type} matches the condition; nothing was patched.")
    return existing.id
