"""What every write shares: accept a resource, make its next version, write it.

A version is made in the order of `design`: parsed once, validated, stamped, indexed. The write
itself is one statement for any number of versions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from fhir import parameters
from fhir.auditing import note_of, record_writes
from fhir.consumers import asking_for_dispatch
from fhir.definitions import type_name, type_number
from fhir.documents import (
    JsonObject,
    ParsedResource,
    from_dict,
    parse,
    scope_tags,
    stamp,
    to_milliseconds,
)
from fhir.errors import InvalidResource, ResourceMismatch, VersionConflict
from fhir.hashes import self_hash
from fhir.identity import check_type
from fhir.index_rows import IndexRows
from fhir.indexing import index_resource
from fhir.profile_rules import refuse_nonconforming
from fhir.row_writes import Writing, write_recorded, write_unless, write_versions
from fhir.rows import CurrentRow, NewVersion
from fhir.sql import Row, Statement
from fhir.stored import StoredResource
from fhir.validation import outcome, validate
from healthcloud.actors import SYSTEM, Actor
from healthcloud.audit.services import ask_for_chain_after_commit
from healthcloud.ledger.doorbell import ring_after_commit
from healthcloud.tenancy.scope import active_project, active_scope, decline

Resource = Mapping[str, Any] | bytes | str | ParsedResource
ATTEMPTS = 5
_SUBSCRIPTION = "Subscription"
_SEARCH_PARAMETER = "SearchParameter"


@dataclass(frozen=True, slots=True)
class Write:
    """Who writes, when and where: what all versions of one request share."""

    actor: Actor
    project: int
    updated: datetime
    tags: list[JsonObject]
    known: parameters.Known = field(default_factory=parameters.Known)
    """The search parameters of the project's own by which its versions are indexed."""

    @classmethod
    def begin(cls, *, actor: Actor, now: datetime) -> "Write":
        """Take project and tags from the active scope; raises ProjectRequired without one."""
        _, project = active_project()
        scope = active_scope()
        known = parameters.recall(scope)
        return cls(actor, project, to_milliseconds(now), scope_tags(scope.metadata()), known)

    def version_of(
        self,
        parsed: ParsedResource,
        *,
        rid: str,
        method: str,
        current: CurrentRow | None = None,
    ) -> NewVersion:
        """Return the version that follows the current one, stamped and indexed."""
        resource_type = parsed.resource_type
        if resource_type == _SUBSCRIPTION and self.actor != SYSTEM:
            from fhir.subscriptions.headers import seal_headers
            from fhir.subscriptions.lifecycle import check

            parsed = seal_headers(parsed, rid=rid)
            check(parsed.data, current)
        number = current.version + 1 if current else 1
        content = stamp(parsed, rid=rid, version=number, updated=self.updated, tags=self.tags)
        return NewVersion(
            type_number=type_number(resource_type),
            rid=rid,
            key=self_hash(resource_type, rid),
            version=number,
            method=method,
            content=content,
            index=index_resource(
                *(resource_type, rid, self._indexed(parsed, rid)),
                self.known.extractor(resource_type),
            ),
            pk=current.pk if current else None,
        )

    def _indexed(self, parsed: ParsedResource, rid: str) -> JsonObject:
        """Return what is indexed: the resource under its id, tags of the scope included."""
        meta = parsed.data.get("meta", {})
        tags = [
            tag
            for tag in meta.get("tag", ())
            if tag.get("system") not in {own["system"] for own in self.tags}
        ]
        return {**parsed.data, "id": rid, "meta": {**meta, "tag": [*tags, *self.tags]}}

    def deletion_of(self, resource_type: str, rid: str, current: CurrentRow) -> NewVersion:
        """Return the version that says the resource is deleted."""
        return NewVersion(
            type_number=type_number(resource_type),
            rid=rid,
            key=self_hash(resource_type, rid),
            version=current.version + 1,
            method="DELETE",
            content=None,
            index=IndexRows(),
            pk=current.pk,
        )

    def write(self, versions: Sequence[NewVersion]) -> set[int]:
        """Write and audit versions; return the keys of those that no other writer overtook."""
        done = self._write(versions)
        if len(done) == len(versions):
            return done
        decline()  # nothing was written that could not be on the whole way
        fresh = parameters.outdated(self.known)
        if fresh is None:
            return done
        missing = [version for version in versions if version.key not in done]
        return done | replace(self, known=fresh)._write([_indexed(v, fresh) for v in missing])

    def _write(self, versions: Sequence[NewVersion]) -> set[int]:
        writing = self._writing()
        if len(versions) == 1:
            [version] = versions
            note = note_of(version, now=self.updated)
            written = write_recorded(version, writing, updated=self.updated, note=note)
            ask_for_chain_after_commit()
        else:
            written = write_versions(versions, writing, updated=self.updated)
        done = [version for version in versions if version.key in written.keys]
        if len(versions) != 1:
            record_writes(done, actor=self.actor, now=self.updated)
        if written.queue is not None:
            ring_after_commit(written.queue)
        self._take_effect(done)
        return written.keys

    def write_unless(self, version: NewVersion, *, lock: Statement, search: Statement) -> list[Row]:
        """Write a version unless a search under a lock finds rows, which are returned.

        For a `direct_scope`, as it is one round trip; what is overtaken is declined. The version is
        of no type that takes effect.
        """
        written, found = write_unless(
            *(version, self._writing()),
            updated=self.updated,
            note=note_of(version, now=self.updated),
            lock=lock,
            search=search,
        )
        if not written.keys and not found:
            decline()
        if written.keys:
            ask_for_chain_after_commit()
        if written.queue is not None:
            ring_after_commit(written.queue)
        return found

    def _writing(self) -> Writing:
        project_id, _ = active_project()
        dispatch = asking_for_dispatch()
        return Writing(self.project, project_id, self.actor, self.known.generation, dispatch)

    def _take_effect(self, done: Sequence[NewVersion]) -> None:
        """Let Subscriptions and SearchParameters among the written versions come, change or go."""
        for name in _SUBSCRIPTION, _SEARCH_PARAMETER:
            number = type_number(name)
            found = [version for version in done if version.type_number == number]
            if found and name == _SUBSCRIPTION:
                from fhir.subscriptions.lifecycle import written  # it writes, too

                written(found, project=self.project, actor=self.actor, now=self.updated)
            elif found:
                from fhir.parameters import lifecycle  # it starts a job, whose kinds write, too

                lifecycle.written(found, project=self.project, actor=self.actor, now=self.updated)

    def write_all(self, versions: Sequence[NewVersion]) -> None:
        """Write versions, all of them or none; raises VersionConflict."""
        if len(self.write(versions)) != len(versions):
            raise VersionConflict(
                "Another request wrote one of these resources at the same time; send yours again."
            )


def accept(resource: Resource, *, resource_type: str | None = None) -> ParsedResource:
    """Return a parsed and valid resource, which conforms to what the project asks for.

    Raises MalformedJson, UnknownResourceType, ResourceMismatch and InvalidResource.
    """
    parsed = parse_any(resource)
    actual = parsed.resource_type
    if not actual:
        raise ResourceMismatch("The body has no `resourceType`.", param="resourceType")
    if resource_type is None:
        check_type(actual)
    elif actual != resource_type:
        raise ResourceMismatch(
            f"The body is a {actual[:80]}, the address says {resource_type}.",
            param="resourceType",
        )
    refuse_invalid(parsed)
    refuse_nonconforming(parsed)
    return parsed


def parse_any(resource: Resource) -> ParsedResource:
    """Return a resource of any accepted form, parsed."""
    if isinstance(resource, ParsedResource):
        return resource
    return parse(resource) if isinstance(resource, bytes | str) else from_dict(resource)


def refuse_invalid(parsed: ParsedResource) -> None:
    """Raise InvalidResource when the resource has errors; warnings pass."""
    issues = validate(parsed.data)
    if issues and any(issue.severity in {"error", "fatal"} for issue in issues):
        raise InvalidResource(parsed.resource_type, outcome(issues)["issue"])
    if parsed.resource_type == _SEARCH_PARAMETER:
        from fhir.parameters.definition import check  # rarely needed

        check(parsed.data)


def _indexed(version: NewVersion, known: parameters.Known) -> NewVersion:
    """Return a version indexed by another state of the project's search parameters."""
    if version.content is None:
        return version
    name = type_name(version.type_number)
    data = orjson.loads(version.content)
    index = index_resource(name, version.rid, data, known.extractor(name))
    return replace(version, index=index)


def stored(
    version: NewVersion, resource_type: str, updated: datetime, *, created: bool
) -> StoredResource:
    """Return a written version as the store hands it out."""
    return StoredResource(
        resource_type=resource_type,
        id=version.rid,
        version=version.version,
        updated_at=updated,
        content=version.content or b"",
        created=created,
        is_new=True,
        key=version.key,
    )
