"""Conditions of conditional interactions, safe in races. https://hl7.org/fhir/R4/http.html#cond-update

Whoever acts on a condition first takes an advisory lock on it and keeps it until the transaction
ends: of sixteen equal conditional creates one creates, and fifteen find what it made.
"""

from datetime import datetime

from fhir.errors import MultipleMatches
from fhir.hashes import hash64
from fhir.search.parser import parse_pairs
from fhir.search.service import search
from fhir.sql import fetch
from fhir.stored import StoredResource
from healthcloud.errors import BadRequest
from healthcloud.tenancy.scope import active_scope


class EmptyCondition(BadRequest):
    """A condition that names no search parameter would match everything."""

    issue_code = "invalid"


def lock_condition(resource_type: str, query: str) -> None:
    """Wait until nobody else acts on the same condition in this project."""
    scope = active_scope()
    criteria = "&".join(sorted(f"{name}={value}" for name, value in parse_pairs(query)))
    key = hash64(f"{scope.schema}:{scope.project_number}:{resource_type}?{criteria}")
    fetch("SELECT pg_advisory_xact_lock(%s::bigint)", (key,))


def match_all(
    resource_type: str, query: str, *, now: datetime, limit: int = 2
) -> list[StoredResource]:
    """Return the resources that match a condition, under its lock; parameters must be known."""
    query = query.partition("?")[2] if "?" in query else query
    pairs = [(name, value) for name, value in parse_pairs(query) if value]
    if not any(not name.startswith("_") or name in {"_id", "_tag"} for name, _ in pairs):
        raise EmptyCondition("A condition needs at least one search parameter.", param="condition")
    lock_condition(resource_type, query)
    pairs.append(("_count", str(limit)))
    return search(resource_type=resource_type, query=pairs, now=now, strict=True).entries


def match_one(resource_type: str, query: str, *, now: datetime) -> StoredResource | None:
    """Return the one resource that matches, None without one; raises MultipleMatches."""
    matches = match_all(resource_type, query, now=now)
    if len(matches) > 1:
        raise MultipleMatches(
            f"Several {resource_type} resources match the condition: make it more precise."
        )
    return matches[0] if matches else None
