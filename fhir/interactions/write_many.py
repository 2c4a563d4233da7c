"""Create or update many resources by id in few round trips: what loaders and connectors use."""

from collections.abc import Iterable
from datetime import datetime

from fhir.definitions import type_number
from fhir.documents import new_id
from fhir.errors import InvalidBundle
from fhir.hashes import self_hash
from fhir.identity import check_id
from fhir.rows import lock_current
from fhir.stored import StoredResource
from fhir.writing import Resource, Write, accept, stored
from healthcloud.actors import Actor


def write_many(
    *, resources: Iterable[Resource], actor: Actor, now: datetime
) -> list[StoredResource]:
    """Store resources in their order: over the current version of their id, or as new ones.

    Resources without an id get one. All are written or none: raises InvalidResource for the first
    that is not valid, InvalidBundle when two have the same type and id, and VersionConflict when
    another request writes one of them meanwhile.
    """
    accepted = []
    for resource in resources:
        parsed = accept(resource)
        rid = parsed.id or new_id()
        check_id(rid)
        accepted.append((parsed, rid))
    keys = [(parsed.resource_type, rid) for parsed, rid in accepted]
    if len(set(keys)) != len(keys):
        raise InvalidBundle("Two resources have the same type and id.", param="id")
    write = Write.begin(actor=actor, now=now)
    named = [(type_number(p.resource_type), rid) for p, rid in accepted if p.id is not None]
    current = lock_current(write.project, named)
    versions, results = [], []
    for parsed, rid in accepted:
        row = current.get(self_hash(parsed.resource_type, rid))
        version = write.version_of(parsed, rid=rid, method="PUT", current=row)
        created = row is None or row.content is None
        versions.append(version)
        results.append(stored(version, parsed.resource_type, write.updated, created=created))
    write.write_all(versions)
    return results
