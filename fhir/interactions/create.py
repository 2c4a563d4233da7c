"""create and conditional create. https://hl7.org/fhir/R4/http.html#create"""

from datetime import datetime

from fhir.documents import ParsedResource, new_id
from fhir.errors import ResourceMismatch
from fhir.identity import check_id, check_type
from fhir.interactions.conditional import locking, match_one, only, read_condition
from fhir.search.service import entries_of, first_page
from fhir.stored import StoredResource
from fhir.writing import Resource, Write, accept, stored
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import is_awaited, only_reading


def create(
    *,
    resource: Resource,
    resource_type: str,
    actor: Actor,
    now: datetime,
    if_none_exist: str | None = None,
    id: str | None = None,
) -> StoredResource:
    """Store a new resource under an id of the server's, or under `id`.

    With `if_none_exist` (a query) one resource that matches is returned as it is, and several
    raise MultipleMatches; equal conditions wait for each other, so that none makes a duplicate.
    """
    check_type(resource_type)
    parsed = accept(resource, resource_type=resource_type)
    if id is not None:
        check_id(id)
    write = Write.begin(actor=actor, now=now)
    if if_none_exist and is_awaited():
        return _create_unless(parsed, if_none_exist, write, now=now)
    if if_none_exist:
        existing = match_one(resource_type, if_none_exist, now=now)
        if existing is not None:
            return existing
    version = write.version_of(parsed, rid=id or new_id(), method="POST")
    if not write.write([version]):
        raise ResourceMismatch(f"{resource_type}/{id} exists already: update it.", param="id")
    return stored(version, resource_type, write.updated, created=True)


def _create_unless(
    parsed: ParsedResource, condition: str, write: Write, *, now: datetime
) -> StoredResource:
    """Create a resource unless a condition finds one: lock, search and write in one round trip."""
    resource_type = parsed.resource_type
    with only_reading():
        request = read_condition(resource_type, condition)
        search = first_page(request, now=now)
    version = write.version_of(parsed, rid=new_id(), method="POST")
    lock = locking(resource_type, condition)
    rows = write.write_unless(version, lock=lock, search=search)
    existing = only(resource_type, entries_of(request, rows))
    return existing or stored(version, resource_type, write.updated, created=True)
