"""transaction: all entries or none. https://hl7.org/fhir/R4/http.html#transaction

Entries are worked on in the order of the rules: delete, create, update and patch, read. Ids are
given and references resolved before anything is written; then all versions are written together.
Operations are called last, with the reads.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final

import orjson
from django.db import OperationalError
from django.db import transaction as database

from fhir.definitions import type_number
from fhir.documents import JsonObject, ParsedResource
from fhir.errors import VersionConflict
from fhir.hashes import self_hash
from fhir.identity import check_if_match, check_if_none_match
from fhir.interactions.bundle import (
    Answer,
    Entry,
    Operate,
    Permit,
    answer_deleted,
    answer_written,
    check_address,
    condition_of,
    needs_resource,
    no_calls,
    read_entries,
    response_bundle,
)
from fhir.interactions.conditional import lock_repetition, normal
from fhir.interactions.entry_read import answer_read
from fhir.interactions.patch import patched
from fhir.interactions.plan import Plan, make_plan, naming
from fhir.interactions.references import resolve
from fhir.interactions.update import refuse_taken
from fhir.rows import CurrentRow, NewVersion, lock_current
from fhir.sql import is_deadlock
from fhir.writing import ATTEMPTS, Resource, Write, accept, parse_any, stored
from healthcloud.actors import Actor

_ORDER: Final = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2}
_AFTER_WRITES: Final = 3


def transaction(
    *,
    bundle: ParsedResource,
    actor: Actor,
    now: datetime,
    permit: Permit | None = None,
    operate: Operate = no_calls,
) -> list[Answer]:
    """Do all entries in one transaction and return their answers in the order of the Bundle.

    `permit` raises for an entry that the caller may not send; without it all are allowed.
    `operate` answers entries that call operations; without it none may. Raises the error of the
    first entry that fails, naming the entry, and nothing is changed. A transaction that another
    one overtook, or that would wait for it in a circle, is repeated.
    """
    entries = read_entries(bundle)
    for entry in entries:
        with naming(entry):
            check_address(entry)
            if permit is not None:
                permit(entry)
    write = Write.begin(actor=actor, now=now)
    for attempt in range(ATTEMPTS):
        try:
            with database.atomic():
                if attempt:
                    lock_repetition()
                return _run(entries, write, now, operate)
        except VersionConflict:
            continue
        except OperationalError as error:
            if not is_deadlock(error):
                raise
    raise VersionConflict("Other requests are writing the same resources; send it again.")


def transact(*, bundle: Resource, actor: Actor, now: datetime) -> JsonObject:
    """Do a transaction Bundle and return its transaction-response, parsed.

    Raises the error of the first entry that fails, and nothing is changed.
    """
    answers = transaction(bundle=parse_any(bundle), actor=actor, now=now)
    body = response_bundle("transaction-response", answers)
    result: JsonObject = orjson.loads(body)
    return result


def _run(entries: list[Entry], write: Write, now: datetime, operate: Operate) -> list[Answer]:
    ordered = sorted(entries, key=_order)
    plan = make_plan(ordered, write, now)
    _write([*plan.more, *ordered], plan)
    for entry in ordered:
        if not entry.is_write:
            with naming(entry):
                plan.answers[entry.position] = _read(entry, plan, operate)
    for entry in plan.more:
        _add_to(plan, entry)
    return [plan.answers[entry.position] for entry in entries]


def _add_to(plan: Plan, one: Entry) -> None:
    """Let the entry whose condition matched several say what this one of them changed."""
    position = plan.origins[one.position]
    whole = plan.answers[position]
    changed = (*whole.changed, *plan.answers[one.position].changed)
    plan.answers[position] = replace(whole, changed=changed)


def _order(entry: Entry) -> int:
    """Return the place in the order of the rules; operations see what the entries wrote."""
    return _ORDER[entry.method] if entry.is_write else _AFTER_WRITES


def _read(entry: Entry, plan: Plan, operate: Operate) -> Answer:
    if not entry.call:
        return answer_read(entry, now=plan.now)
    if entry.resource is not None:
        entry = replace(entry, resource=resolve(entry.resource, plan.links))
    return operate(entry)


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
            with naming(entry):
                version = _version(entry, row, plan)
            if version is not None:
                versions.append(version)
    plan.write.write_all(versions)
    for entry in ordered:
        condition = condition_of(entry)
        if entry.position not in plan.answers and condition is not None:
            made = plan.answers[plan.found[normal(condition)]]
            plan.answers[entry.position] = replace(made, status="200 OK", changed=())


def _version(entry: Entry, row: CurrentRow | None, plan: Plan) -> NewVersion | None:
    """Return the entry's version and note its answer; None where there is nothing to delete."""
    resource_type, rid = plan.keys[entry.position]
    living = row if row is not None and row.content is not None else None
    if entry.method != "POST":
        check_if_match(entry.if_match, living.version if living else None)
    if entry.method == "DELETE":
        if living is None:
            plan.answers[entry.position] = answer_deleted(row.version if row else None)
            return None
        version = plan.write.deletion_of(resource_type, rid, living)
        name = f"{resource_type}/{rid}/_history/{version.version}"
        plan.answers[entry.position] = answer_deleted(version.version, name)
        return version
    if entry.method == "PUT":
        check_if_none_match(entry.if_none_match, living.version if living else None)
        if entry.position in plan.unmatched:
            refuse_taken(row, resource_type, rid)
    version = _next_version(entry, row, plan)
    result = stored(version, resource_type, plan.write.updated, created=living is None)
    plan.answers[entry.position] = answer_written(result)
    return version


def _next_version(entry: Entry, row: CurrentRow | None, plan: Plan) -> NewVersion:
    resource_type, rid = plan.keys[entry.position]
    if entry.method == "PATCH":
        patch = plan.patches[entry.position]
        return patched(plan.write, resource_type, rid, row, patch, links=plan.links)
    parsed = accept(resolve(needs_resource(entry), plan.links), resource_type=resource_type)
    return plan.write.version_of(parsed, rid=rid, method=entry.method, current=row)
