"""batch: each entry for itself. https://hl7.org/fhir/R4/http.html#transaction

An entry that fails leaves nothing behind and does not stop the others: each runs in a savepoint.
"""

from collections.abc import Callable
from datetime import datetime

from django.db import transaction as database

from fhir.documents import JsonObject, ParsedResource
from fhir.errors import NotSupported
from fhir.identity import check_type
from fhir.interactions.bundle import (
    Answer,
    Entry,
    Permit,
    answer_deleted,
    answer_written,
    needs_resource,
    read_entries,
)
from fhir.interactions.create import create
from fhir.interactions.delete import delete, delete_where
from fhir.interactions.entry_read import answer_read
from fhir.interactions.update import update, update_where
from healthcloud.actors import Actor

Failed = Callable[[Exception], tuple[int, JsonObject]]


def batch(
    *, bundle: ParsedResource, actor: Actor, now: datetime, failed: Failed, permit: Permit
) -> list[Answer]:
    """Do the entries one by one and return their answers.

    `permit` raises for an entry that the caller may not send; `failed` turns the error of an
    entry into status and OperationOutcome.
    """
    return [
        _answer(entry, actor=actor, now=now, failed=failed, permit=permit)
        for entry in read_entries(bundle)
    ]


def _answer(entry: Entry, *, actor: Actor, now: datetime, failed: Failed, permit: Permit) -> Answer:
    try:
        permit(entry)
        with database.atomic():
            return _do(entry, actor=actor, now=now)
    except Exception as error:
        status, outcome = failed(error)
        return Answer(status=str(status), outcome=outcome)


def _do(entry: Entry, *, actor: Actor, now: datetime) -> Answer:
    if entry.method in {"GET", "HEAD"}:
        return answer_read(entry, now=now)
    check_type(entry.resource_type)
    if entry.method == "POST" and entry.id is None:
        return _create(entry, actor=actor, now=now)
    if entry.method == "PUT":
        return _update(entry, actor=actor, now=now)
    if entry.method == "DELETE":
        return _delete(entry, actor=actor, now=now)
    raise NotSupported(f"This server does not do `{entry.method} {entry.path}` in a Bundle yet.")


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
        )
    return answer_written(result)


def _delete(entry: Entry, *, actor: Actor, now: datetime) -> Answer:
    kind = entry.resource_type
    if entry.id is None:
        version = delete_where(resource_type=kind, criteria=entry.query, actor=actor, now=now)
    else:
        version = delete(
            resource_type=kind, id=entry.id, actor=actor, now=now, if_match=entry.if_match
        )
    return answer_deleted(version)
