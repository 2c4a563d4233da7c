"""The rows of a project's own search parameters in the active tenant."""

import secrets
from dataclasses import dataclass
from typing import Final, Literal

import orjson

from fhir.documents import JsonObject
from fhir.sql import Row, fetch

State = Literal["indexing", "ready"]

_GENERATION: Final = "SELECT generation FROM fhir_parameter_state WHERE project = %s::integer"
_CHANGE: Final = (
    "INSERT INTO fhir_parameter_state (project, generation) VALUES (%s::integer, %s::bigint)"
    " ON CONFLICT (project) DO UPDATE SET generation = EXCLUDED.generation"
)
_ALL: Final = (
    "SELECT rid, state, job, stamp, definition FROM fhir_search_parameter"
    " WHERE project = %s::integer ORDER BY rid"
)
_PUT: Final = (
    "INSERT INTO fhir_search_parameter (project, rid, state, job, stamp, definition)"
    " VALUES (%s::integer, %s::text, 'indexing', %s::text, %s::bigint, %s::text)"
    " ON CONFLICT (project, rid) DO UPDATE SET state = EXCLUDED.state, job = EXCLUDED.job,"
    " stamp = EXCLUDED.stamp, definition = EXCLUDED.definition"
)
_REMOVE: Final = "DELETE FROM fhir_search_parameter WHERE project = %s::integer AND rid = %s::text"
_READY: Final = (
    "UPDATE fhir_search_parameter SET state = 'ready' WHERE project = %s::integer"
    " AND stamp = ANY(%s::bigint[]) AND state = 'indexing'"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A search parameter as it is kept.

    `stamp` is another number after every change; `job` the one that indexes what was stored before.
    """

    rid: str
    state: str
    job: str
    stamp: int
    definition: JsonObject


def generation(project: int) -> int:
    """Return the number of the parameters' present state: another after every change, 0 of none."""
    rows = fetch(_GENERATION, (project,), prepare=True)
    return int(rows[0][0]) if rows else 0


def change(project: int) -> None:
    """Give the state another number; others who change it wait until this transaction ends."""
    fetch(_CHANGE, (project, new_number()))


def new_number() -> int:
    """Return a number that no state had, also none of a transaction that was undone."""
    return secrets.randbelow(2**63 - 1) + 1


def all_of(project: int) -> list[Stored]:
    """Return the parameters of a project."""
    return [_stored(row) for row in fetch(_ALL, (project,))]


def put(project: int, rid: str, *, job: str, stamp: int, definition: JsonObject) -> None:
    """Keep a parameter, which is to be indexed by a job."""
    fetch(_PUT, (project, rid, job, stamp, orjson.dumps(definition).decode()))


def remove(project: int, rid: str) -> None:
    """Forget a parameter."""
    fetch(_REMOVE, (project, rid))


def make_ready(project: int, stamps: list[int]) -> None:
    """Let searches use the parameters with these stamps."""
    fetch(_READY, (project, stamps))


def _stored(row: Row) -> Stored:
    rid, state, job, stamp, definition = row
    return Stored(rid.decode(), state.decode(), job.decode(), stamp, orjson.loads(definition))
