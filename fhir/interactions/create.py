"""create and conditional create. https://hl7.org/fhir/R4/http.html#create"""

from datetime import datetime

from fhir.documents import new_id
from fhir.errors import ResourceMismatch
from fhir.identity import check_id, check_type
from fhir.interactions.conditional import match_one
from fhir.stored import StoredResource
from fhir.writing import Resource, Write, accept, stored
from healthcloud.actors import Actor


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
    if if_none_exist:
        existing = match_one(resource_type, if_none_exist, now=now)
        if existing is not None:
            return existing
    version = write.version_of(parsed, rid=id or new_id(), method="POST")
    if not write.write([version]):
        raise ResourceMismatch(f"{resource_type}/{id} exists already: update it.", param="id")
    return stored(version, resource_type, write.updated, created=True)
