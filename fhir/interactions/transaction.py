"""transaction: all entries or none. https://hl7.org/fhir/R4/http.html#transaction

Entries are worked on in the order of the rules: delete, create, update, read. Ids are given and
references resolved before anything is written; then all versions are written together.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import orjson
import psycopg
from django.db import OperationalError
from django.db import transaction as database

from fhir.definitions import type_number
from fhir.documents import JsonObject, ParsedResource, new_id
from fhir.errors import (
    InvalidBundle,
    InvalidResource,
    MultipleMatches,
    NotSupported,
    VersionConflict,
)
from fhir.hashes import self_hash
from fhir.identity import check_body_id, check_id, check_if_match, check_type
from fhir.interactions.bundle import (
    Answer,
    Entry,
    Permit,
    answer_deleted,
    answer_written,
    needs_resource,
    read_entries,
    response_bundle,
)
from fhir.interactions.conditional import match_one
from fhir.interactions.entry_read import answer_read
from fhir.interactions.references import conditional_references, resolve
from fhir.rows import CurrentRow, NewVersion, lock_current
from fhir.search.service import search
from fhir.stored import StoredResource
from fhir.writing import ATTEMPTS, Resource, Write, accept, parse_any, stored
from healthcloud.actors import Actor
from healthcloud.errors import HealthCloudError

_ORDER: Final = ("DELETE", "POST", "PUT", "PATCH", "GET", "HEAD")


@dataclass(slots=True)
class Plan:
    """What a transaction will do, as it becomes known."""

    write: Write
    now: datetime
    keys: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Position of each entry that writes, with type and id."""
    targets: dict[str, str] = field(default_factory=dict)
    """Full URLs and conditional references, with the `Type/id` that each stands for."""
    found: dict[tuple[str, str], int] = field(default_factory=dict)
    """Conditions of creates, with the position of the entry that creates."""
    answers: dict[int, Answer] = field(default_factory=dict)
    """Answers by position."""

    def name(self, entry: Entry, reference: str) -> None:
        """Let the entry's full URL stand for a reference, and its old `Type/id` too."""
        if entry.full_url:
            self.targets[entry.full_url] = reference
            parts = entry.full_url.rsplit("/", 2)
            if len(parts) == 3 and parts[1] == entry.resource_type:
                self.targets[f"{parts[1]}/{parts[2]}"] = reference


def transaction(
    *, bundle: ParsedResource, actor: Actor, now: datetime, permit: Permit | None = None
) -> list[Answer]:
    """Do all entries in one transaction and return their answers in the order of the Bundle.

    `permit` raises for an entry that the caller may not send; without it all are allowed. Raises
    the error of the first entry that fails, naming the entry, and nothing is changed. A
    transaction that another one overtook, or that would wait for it in a circle, is repeated.
    """
    entries = read_entries(bundle)
    if permit is not None:
        for entry in entries:
            with _naming(entry):
                permit(entry)
    write = Write.begin(actor=actor, now=now)
    for _ in range(ATTEMPTS):
        try:
            with database.atomic():
                return _run(entries, Plan(write, now))
        except VersionConflict:
            continue
        except OperationalError as error:
            if not isinstance(error.__cause__, psycopg.errors.DeadlockDetected):
                raise
    raise VersionConflict("Other requests are writing the same resources; send it again.")


def transact(*, bundle: Resource, actor: Actor, now: datetime) -> JsonObject:
    """Do a transaction Bundle and return its transaction-response, parsed.

    Raises the error of the first entry that fails, and nothing is changed.
    """
    answers = transaction(bundle=parse_any(bundle), actor=actor, now=now)
    body = response_bundle("transaction-response", answers, representation=True)
    result: JsonObject = orjson.loads(body)
    return result


def _run(entries: list[Entry], plan: Plan) -> list[Answer]:
    ordered = sorted(entries, key=lambda entry: _ORDER.index(entry.method))
    for entry in ordered:
        with _naming(entry):
            _identify(entry, plan)
    _refuse_overlap(plan)
    for entry in ordered:
        with _naming(entry):
            _find_references(entry, plan)
    _write(ordered, plan)
    for entry in ordered:
        if entry.method in {"GET", "HEAD"}:
            with _naming(entry):
                plan.answers[entry.position] = answer_read(entry, now=plan.now)
    return [plan.answers[entry.position] for entry in entries]


@contextmanager
def _naming(entry: Entry) -> Iterator[None]:
    """Let an error of this entry say which entry failed."""
    try:
        yield
    except InvalidResource as error:
        raise InvalidResource(entry.where, list(_at_entry(entry, error))) from None
    except HealthCloudError as error:
        error.message = f"{entry.where}: {error.message}"
        error.param = f"{entry.where}.request"
        raise


def _at_entry(entry: Entry, error: InvalidResource) -> Iterator[dict[str, object]]:
    """Yield the issues of an entry's resource with expressions that begin at the Bundle."""
    for issue in error.issues:
        paths = issue.get("expression")
        found = paths if isinstance(paths, list) else [entry.resource_type]
        below = [str(path).partition(".")[1:] for path in found]
        yield {**issue, "expression": [f"{entry.where}.resource{dot}{rest}" for dot, rest in below]}


def _identify(entry: Entry, plan: Plan) -> None:
    """Find out which id the entry is about, before anything is written."""
    if entry.method in {"GET", "HEAD"}:
        return
    check_type(entry.resource_type)
    if entry.method == "PATCH":
        raise NotSupported("This server does not patch inside a transaction yet.")
    if entry.method == "POST":
        _identify_create(entry, plan)
    elif entry.method == "PUT":
        _identify_update(entry, plan)
    else:
        _identify_delete(entry, plan)


def _identify_create(entry: Entry, plan: Plan) -> None:
    if entry.id is not None:
        raise NotSupported(f"This server does not do `POST {entry.path}` in a Bundle yet.")
    if entry.if_none_exist:
        condition = (entry.resource_type, entry.if_none_exist)
        earlier = plan.found.setdefault(condition, entry.position)
        if earlier != entry.position and earlier in plan.keys:
            plan.name(entry, "/".join(plan.keys[earlier]))
            return
        existing = match_one(*condition, now=plan.now)
        if existing is not None:
            plan.name(entry, existing.reference)
            plan.answers[entry.position] = answer_written(existing)
            return
    _plan_write(entry, new_id(), plan)


def _identify_update(entry: Entry, plan: Plan) -> None:
    resource = needs_resource(entry)
    rid = entry.id
    if rid is None:
        existing = match_one(entry.resource_type, entry.query, now=plan.now)
        rid = existing.id if existing else resource.id or new_id()
        if resource.id is not None:
            check_body_id(resource, rid)
    else:
        check_body_id(resource, rid)
    check_id(rid)
    _plan_write(entry, rid, plan)


def _identify_delete(entry: Entry, plan: Plan) -> None:
    rid = entry.id
    if rid is None:
        existing = match_one(entry.resource_type, entry.query, now=plan.now)
        if existing is None:
            plan.answers[entry.position] = answer_deleted(None)
            return
        rid = existing.id
    check_id(rid)
    plan.keys[entry.position] = (entry.resource_type, rid)


def _plan_write(entry: Entry, rid: str, plan: Plan) -> None:
    plan.keys[entry.position] = (entry.resource_type, rid)
    plan.name(entry, f"{entry.resource_type}/{rid}")


def _refuse_overlap(plan: Plan) -> None:
    """Two entries may not write the same resource: the outcome would depend on their order."""
    seen: dict[tuple[str, str], int] = {}
    for position, key in plan.keys.items():
        if key in seen:
            raise InvalidBundle(
                f"Bundle.entry[{seen[key]}] and Bundle.entry[{position}] both write"
                f" {key[0]}/{key[1]}; a transaction may write a resource once.",
                param=f"Bundle.entry[{position}]",
            )
        seen[key] = position


def _find_references(entry: Entry, plan: Plan) -> None:
    """Resolve the entry's conditional references; each must match exactly one resource."""
    if entry.resource is None:
        return
    for resource_type, query in conditional_references(entry.resource):
        name = f"{resource_type}?{query}"
        if name in plan.targets:
            continue
        pairs = f"{query}&_count=2"
        matches = search(
            resource_type=resource_type, query=pairs, now=plan.now, strict=True
        ).entries
        if len(matches) != 1:
            how_many = "no resource" if not matches else "several resources"
            raise MultipleMatches(f"The reference `{name}` matches {how_many}.")
        plan.targets[name] = matches[0].reference


def _write(ordered: list[Entry], plan: Plan) -> None:
    """Lock what is there, make all versions, and write them together."""
    existing = [
        (type_number(plan.keys[entry.position][0]), plan.keys[entry.position][1])
        for entry in ordered
        if entry.position in plan.keys and entry.method != "POST"
    ]
    current = lock_current(plan.write.project, existing)
    versions: list[NewVersion] = []
    for entry in ordered:
        if entry.position in plan.keys:
            row = current.get(self_hash(*plan.keys[entry.position]))
            with _naming(entry):
                version = _version(entry, row, plan)
            if version is not None:
                versions.append(version)
    plan.write.write_all(versions)
    for entry in ordered:
        if entry.position not in plan.answers and entry.if_none_exist:
            first = plan.found[entry.resource_type, entry.if_none_exist]
            plan.answers[entry.position] = plan.answers[first]


def _version(entry: Entry, row: CurrentRow | None, plan: Plan) -> NewVersion | None:
    """Return the entry's version and note its answer; None where there is nothing to delete."""
    resource_type, rid = plan.keys[entry.position]
    is_there = row is not None and row.content is not None
    if entry.method != "POST":
        check_if_match(entry.if_match, row.version if row and is_there else None)
    if entry.method == "DELETE":
        if row is None or row.content is None:
            plan.answers[entry.position] = answer_deleted(row.version if row else None)
            return None
        version = plan.write.deletion_of(resource_type, rid, row)
        plan.answers[entry.position] = answer_deleted(version.version)
        return version
    parsed = accept(resolve(needs_resource(entry), plan.targets), resource_type=resource_type)
    version = plan.write.version_of(parsed, rid=rid, method=entry.method, current=row)
    result: StoredResource = stored(
        version, resource_type, plan.write.updated, created=not is_there
    )
    plan.answers[entry.position] = answer_written(result)
    return version
