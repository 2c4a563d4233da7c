"""Conditions of conditional interactions, safe in races. https://hl7.org/fhir/R4/http.html#cond-update

Whoever acts on a condition first takes an advisory lock on it and keeps it until the transaction
ends: of sixteen equal conditional creates one creates, and fifteen find what it made. A project
has a fixed number of these locks, so that a bundle of thousands of conditions takes no more; it
takes them in their order before anything else, so that two bundles never wait in a circle.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from fhir.errors import MultipleMatches
from fhir.hashes import hash64
from fhir.identity import check_type
from fhir.search.parser import parse, parse_pairs
from fhir.search.request import SearchRequest
from fhir.search.service import search
from fhir.sql import Statement, fetch
from fhir.stored import StoredResource
from healthcloud.errors import BadRequest
from healthcloud.tenancy.scope import active_scope

LOCKS: Final = 1024
_AGAIN: Final = LOCKS
Condition = tuple[str, str]
"""A type and the query of a search in it."""

_LOCK: Final = (
    "SELECT count(pg_advisory_xact_lock(%s::integer, k)) FROM"
    " (SELECT unnest(%s::integer[]) AS k ORDER BY k) AS keys"
)


class EmptyCondition(BadRequest):
    """A condition that names no search parameter would match everything."""

    issue_code = "invalid"


def lock_conditions(keys: Iterable[int]) -> None:
    """Wait until nobody else acts on conditions with these keys in this project."""
    wanted = sorted(set(keys))
    if wanted:
        fetch(*_locking(wanted))


def lock_repetition() -> None:
    """Wait until no other bundle of the project is done again, having met others in a circle."""
    lock_conditions([_AGAIN])


def locking(resource_type: str, query: str) -> Statement:
    """Return the statement that waits until nobody else acts on a condition."""
    return Statement(*_locking([lock_key(resource_type, query)]), prepare=True)


def _locking(keys: list[int]) -> tuple[str, tuple[int, list[int]]]:
    scope = active_scope()
    project = hash64(f"{scope.schema}:{scope.project_number}") >> 32
    return _LOCK, (project, keys)


def lock_key(resource_type: str, query: str) -> int:
    """Return the number of the lock of a condition; equal conditions have the same."""
    return hash64("?".join(normal((resource_type, query)))) % LOCKS


def normal(condition: Condition) -> Condition:
    """Return a condition in the one way in which equal ones are written."""
    resource_type, query = condition
    pairs = parse_pairs(criteria_of(query))
    return resource_type, "&".join(sorted(f"{name}={value}" for name, value in pairs))


def criteria_of(query: str) -> str:
    """Return the criteria of a condition, which may be written as `Patient?identifier=1`."""
    return query.partition("?")[2] if "?" in query else query


def _pairs_of(query: str, limit: int) -> list[tuple[str, str]]:
    """Return the parameters of a condition; raise EmptyCondition where it has no criterion."""
    pairs = [(name, value) for name, value in parse_pairs(criteria_of(query)) if value]
    if not any(not name.startswith("_") or name in _CRITERIA for name, _ in pairs):
        raise EmptyCondition("A condition needs at least one search parameter.", param="condition")
    return [*pairs, ("_count", str(limit))]


_CRITERIA: Final = frozenset({"_id", "_tag", "_profile", "_security", "_source", "_lastUpdated"})


def match_all(
    resource_type: str, query: str, *, now: datetime, limit: int = 2
) -> list[StoredResource]:
    """Return the resources that match a condition, under its lock; parameters must be known."""
    pairs = _pairs_of(query, limit)
    lock_conditions([lock_key(resource_type, query)])
    return search(resource_type=resource_type, query=pairs, now=now, strict=True).entries


def match_one(resource_type: str, query: str, *, now: datetime) -> StoredResource | None:
    """Return the one resource that matches, None without one; raises MultipleMatches."""
    return only(resource_type, match_all(resource_type, query, now=now))


def only(resource_type: str, matches: Sequence[StoredResource]) -> StoredResource | None:
    """Return the one match, None without one; raises MultipleMatches."""
    if len(matches) > 1:
        raise MultipleMatches(
            f"Several {resource_type} resources match the condition: make it more precise."
        )
    return matches[0] if matches else None


def meant_by(condition: Condition, matches: Sequence[StoredResource]) -> str:
    """Return the reference that a conditional reference stands for: to its one match."""
    if len(matches) == 1:
        return matches[0].reference
    how_many = "several resources" if matches else "no resource"
    raise MultipleMatches(f"The reference `{'?'.join(condition)}` matches {how_many}.")


def read_condition(resource_type: str, query: str, *, limit: int = 2) -> SearchRequest:
    """Return the search for a condition's matches, whose parameters must be known."""
    check_type(resource_type)
    return parse(resource_type, _pairs_of(query, limit), strict=True)
