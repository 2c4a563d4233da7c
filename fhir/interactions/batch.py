"""batch: each entry for itself. https://hl7.org/fhir/R4/http.html#transaction

An entry that fails leaves nothing behind and does not stop the others: each runs in a savepoint.
Where entries wait in a circle with those of another request, the whole batch is done again.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Final

from django.db import transaction as database

from fhir.definitions import is_resource_type, type_number
from fhir.documents import JsonObject, ParsedResource, is_id
from fhir.errors import InvalidBundle, VersionConflict
from fhir.hashes import self_hash
from fhir.identity import check_type
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
    patch_of,
    read_entries,
)
from fhir.interactions.conditional import (
    lock_conditions,
    lock_key,
    lock_repetition,
    meant_by,
    read_condition,
)
from fhir.interactions.create import create
from fhir.interactions.delete import delete, delete_where
from fhir.interactions.entry_read import answer_read
from fhir.interactions.patch import matching_id, patch
from fhir.interactions.references import Links, conditional_references, named_in, resolve
from fhir.interactions.update import update, update_where
from fhir.rows import lock_rows
from fhir.search.service import first_pages
from fhir.sql import is_deadlock
from fhir.writing import ATTEMPTS
from healthcloud.actors import Actor
from healthcloud.errors import HealthCloudError
from healthcloud.tenancy.scope import active_project

_FIRST: Final = -(2**63)
Failed = Callable[[Exception], tuple[int, JsonObject]]


def batch(
    *,
    bundle: ParsedResource,
    actor: Actor,
    now: datetime,
    failed: Failed,
    permit: Permit,
    operate: Operate = no_calls,
) -> list[Answer]:
    """Do the entries one by one and return their answers.

    `permit` raises for an entry that the caller may not send; `operate` answers one that calls an
    operation; `failed` turns the error of an entry into status and OperationOutcome.
    """
    entries = read_entries(bundle)
    made = {e.full_url for e in entries if e.method == "POST" and e.full_url.startswith("urn:")}

    def judge(entry: Entry) -> None:
        permit(entry)
        if made and entry.is_write:
            _refuse_dependence(entry, made)

    for attempt in range(ATTEMPTS):
        try:
            with database.atomic():
                if attempt:
                    lock_repetition()
                _lock(entries)
                done = partial(
                    _answer, actor=actor, now=now, failed=failed, permit=judge, operate=operate
                )
                answers = {entry.position: done(entry) for entry in _in_order(entries)}
                return [answers[entry.position] for entry in entries]
        except Exception as error:
            if not is_deadlock(error):
                raise
    raise VersionConflict("Other requests are writing the same resources; send it again.")


def _in_order(entries: list[Entry]) -> list[Entry]:
    """Return the entries in the order in which they are done, which is the server's to choose.

    Where all write, those that name a resource come in the order of all who write by name, so
    that two batches never wait in a circle for ids that are both about to be made.
    """
    if not all(entry.is_write for entry in entries):
        return entries
    return sorted(entries, key=lambda e: self_hash(e.resource_type, e.id) if e.id else _FIRST)


def _lock(entries: list[Entry]) -> None:
    """Lock all conditions, then all rows that are named, each in the order of all who lock them.

    A condition or name that can't be read is refused when its turn comes.
    """
    keys = []
    for condition in filter(None, map(condition_of, entries)):
        with suppress(HealthCloudError):
            keys.append(lock_key(*condition))
    lock_conditions(keys)
    named = [(e.resource_type, e.id) for e in entries if e.is_write and e.id and is_id(e.id)]
    known = [(type_number(kind), rid) for kind, rid in named if is_resource_type(kind)]
    if known:
        lock_rows(active_project()[1], known)


def _answer(
    entry: Entry,
    *,
    actor: Actor,
    now: datetime,
    failed: Failed,
    permit: Permit,
    operate: Operate,
) -> Answer:
    try:
        check_address(entry)
        permit(entry)
        with database.atomic():
            if entry.call:
                return operate(entry)
            return _do(entry, actor=actor, now=now)
    except Exception as error:
        if is_deadlock(error):
            raise
        status, outcome = failed(error)
        return Answer(status=f"{status} {HTTPStatus(status).phrase}", outcome=outcome)


def _refuse_dependence(entry: Entry, made: Collection[str]) -> None:
    """Raise InvalidBundle for a reference to what another entry makes: it would lead nowhere."""
    for name in named_in(entry.resource) if entry.resource else ():
        if name in made and name != entry.full_url:
            raise InvalidBundle(
                f"The entry refers to `{name}`, which another entry of this batch makes: entries"
                " of a batch are independent. Send a transaction.",
                param=entry.where,
            )


def _do(entry: Entry, *, actor: Actor, now: datetime) -> Answer:
    if entry.is_read:
        return answer_read(entry, now=now)
    check_type(entry.resource_type)
    return _WRITES[entry.method](_resolved(entry, now=now), actor=actor, now=now)


def _resolved(entry: Entry, *, now: datetime) -> Entry:
    """Return the entry with its conditional references resolved."""
    if entry.resource is None:
        return entry
    conditions = list(dict.fromkeys(conditional_references(entry.resource)))
    if not conditions:
        return entry
    found = first_pages([read_condition(*condition) for condition in conditions], now=now)
    targets = {
        "?".join(condition): meant_by(condition, matches)
        for condition, matches in zip(conditions, found, strict=True)
    }
    return replace(entry, resource=resolve(entry.resource, Links(targets)))


def _create(entry: Entry, *, actor: Actor, now: datetime) -> Answer:
    result = create(
        resource=needs_resource(entry),
        resource_type=entry.resource_type,
        actor=actor,
        now=now,
        if_none_exist=entry.if_none_exist,
    )
    return answer_written(result)


def _update(entry: Entry, *, actor: Actor, now: datetime) -> Answer:
    if entry.id is None:
        result = update_where(
            resource_type=entry.resource_type,
            criteria=entry.query,
            resource=needs_resource(entry),
            actor=actor,
            now=now,
            if_match=entry.if_match,
        )
    else:
        result = update(
            resource_type=entry.resource_type,
            id=entry.id,
            resource=needs_resource(entry),
            actor=actor,
            now=now,
            if_match=entry.if_match,
            if_none_match=entry.if_none_match,
        )
    return answer_written(result)


def _patch(entry: Entry, *, actor: Actor, now: datetime) -> Answer:
    rid = entry.id
    if rid is None:
        rid = matching_id(entry.resource_type, entry.query, now=now)
    result = patch(
        resource_type=entry.resource_type,
        id=rid,
        patch=patch_of(entry),
        actor=actor,
        now=now,
        if_match=entry.if_match,
    )
    return answer_written(result)


def _delete(entry: Entry, *, actor: Actor, now: datetime) -> Answer:
    kind, if_match = entry.resource_type, entry.if_match
    if entry.id is not None:
        version = delete(resource_type=kind, id=entry.id, actor=actor, now=now, if_match=if_match)
        name = f"{kind}/{entry.id}/_history/{version}"
        return answer_deleted(version, *((name,) if version else ()))
    gone = delete_where(
        resource_type=kind, criteria=entry.query, actor=actor, now=now, if_match=if_match
    )
    changed = (deletion.versioned_reference for deletion in gone)
    return answer_deleted(gone[0].version if len(gone) == 1 else None, *changed)


_WRITES: dict[str, Callable[..., Answer]] = {
    "POST": _create,
    "PUT": _update,
    "PATCH": _patch,
    "DELETE": _delete,
}
