"""Entries of a Bundle that call an operation, or ask for the server's capabilities.

https://hl7.org/fhir/R4/http.html#transaction
"""

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from urllib.parse import parse_qsl

import orjson

from fhir import parameters
from fhir.api.access import require, require_whole
from fhir.api.capability import capability_statement, with_parameters
from fhir.documents import JsonObject
from fhir.errors import InvalidBundle, NotSupported
from fhir.identity import check_id, check_type
from fhir.interactions.bundle import READS, Answer, Entry
from fhir.operations.calling import given_to
from fhir.operations.operation import Answer as Given
from fhir.operations.operation import Call, Level, Operation
from fhir.operations.registry import R4_OPERATIONS, named, where
from healthcloud.api.principal import Principal
from healthcloud.errors import BadRequest, HealthCloudError, NotFound


@dataclass(frozen=True, slots=True)
class EntryCalls:
    """Answers the calls among the entries of one Bundle."""

    principal: Principal
    now: datetime
    base: str

    def __call__(self, entry: Entry) -> Answer:
        """Return the answer to an entry; what is no resource stands in a Binary."""
        if entry.call == "metadata":
            statement = capability_statement(self.base)
            return _content(entry, with_parameters(statement, parameters.current()))
        operation, level = require_call(self.principal, entry)
        if operation.is_refused_to_a_part(narrowed=self.principal.is_narrowed):
            require_whole(f"`${operation.name}`")
        given, body = given_to(
            operation, parse_qsl(entry.query, keep_blank_values=True), entry.resource
        )
        call = Call(
            level=level,
            parameters=given,
            principal=self.principal,
            now=self.now,
            base=self.base,
            address=f"{self.base}/{entry.path}",
            method="POST" if entry.method == "POST" else "GET",
            resource_type=entry.resource_type,
            id=entry.id or "",
            body=body,
            query=entry.query,
        )
        return _content(entry, operation.run(call))


def require_call(principal: Principal, entry: Entry) -> tuple[Operation, Level]:
    """Return the operation that an entry calls and its level; refuse who may not call it."""
    operation, level = operation_of(entry)
    require(principal, operation.scope or f"{entry.resource_type or 'fhir'}:{operation.access}")
    _check(operation, entry)
    return operation, level


def operation_of(entry: Entry) -> tuple[Operation, Level]:
    """Return the operation that an entry calls and its level; raise where there is none."""
    name = entry.call.removeprefix("$")
    level: Level = "instance" if entry.id else "type" if entry.resource_type else "system"
    known = named(name)
    for operation in known:
        serves = level == "system" or not operation.types or entry.resource_type in operation.types
        if level in operation.levels and serves:
            return operation, level
    raise _unknown(name, entry, known)


def _unknown(name: str, entry: Entry, known: list[Operation]) -> HealthCloudError:
    if known:
        places = ", ".join(place for operation in known for place in where(operation))
        return BadRequest(
            f"`${name[:60]}` is not called at `{entry.path[:120]}`; it is at {places}."
        )
    if name in R4_OPERATIONS:
        return NotSupported(f"This server does not do the operation `${name}`.")
    return NotFound(f"There is no operation `${name[:60]}`; /v1/fhir/metadata lists all.")


def _check(operation: Operation, entry: Entry) -> None:
    if entry.resource_type and entry.resource_type not in operation.types:
        check_type(entry.resource_type)
    if entry.id:
        check_id(entry.id)
    if operation.affects_state and entry.method in READS:
        raise InvalidBundle(f"`{entry.call}` changes something: call it by POST.")
    if operation.own_transaction:
        raise NotSupported(f"`{entry.call}` is not called in a Bundle: call it by itself.")


def _content(entry: Entry, found: Given | JsonObject | bytes) -> Answer:
    given = found if isinstance(found, Given) else Given(found)
    content = given.content
    if isinstance(content, bytes) and given.content_type:
        data = b64encode(content).decode()
        kind = given.content_type.partition(";")[0]
        content = {"resourceType": "Binary", "contentType": kind, "data": data}
    body = orjson.dumps(content) if isinstance(content, dict) else content
    return Answer(
        status=f"{given.status} {HTTPStatus(given.status).phrase}",
        content=None if entry.method == "HEAD" else body,
        location=given.headers.get("Content-Location", ""),
        is_read=True,
    )
