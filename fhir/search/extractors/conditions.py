"""Conditions of search paths that are more than one comparison, judged value by value.

https://hl7.org/fhirpath/N1/#equality: a comparison with several values is false, one with none
is neither true nor false.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from fhir.search.extractors.converters import refers_to
from fhir.search.extractors.paths import Access, Condition

Json = Any  # a parsed JSON value, whose shape the definitions give


def holds(condition: Condition, value: Json, resource: Json) -> bool:
    """Say whether a condition is true of a value."""
    match condition.kind:
        case "all":
            return all(holds(part, value, resource) for part in condition.parts)
        case "any":
            return any(holds(part, value, resource) for part in condition.parts)
        case "not":
            return not holds(condition.parts[0], value, resource)
    found = list(_values(condition.paths, value, resource))
    match condition.kind:
        case "exists":
            return bool(found)
        case "holds":
            return bool(found) and found != [False]
        case "resolves":
            return any(refers_to(item, str(condition.literal), resource) for item in found)
        case "=":
            return _equal(found, condition.literal)
        case _:
            return bool(found) and not _equal(found, condition.literal)


def _equal(found: list[Json], literal: object) -> bool:
    """Compare one value; true is no 1."""
    if len(found) != 1 or isinstance(found[0], bool) != isinstance(literal, bool):
        return False
    return bool(found[0] == literal)


def _values(paths: Iterable[tuple[Access, ...]], value: Json, resource: Json) -> Iterator[Json]:
    for steps in paths:
        found = [value]
        for access in steps:
            found = [inner for outer in found for inner in step(access, outer, resource)]
        yield from found


def step(access: Access, value: Json, resource: Json) -> Iterator[Json]:
    """Yield what one step in JSON leads to."""
    match access.kind:
        case "key":
            inner = value.get(access.name)
            if inner is not None:
                yield inner
        case "each":
            yield from (inner for inner in value.get(access.name, ()) if inner is not None)
        case "item":
            at = int(str(access.literal))
            yield from value.get(access.name, ())[at : at + 1]
        case _:
            if _passes(access, value, resource):
                yield value


def _passes(access: Access, value: Json, resource: Json) -> bool:
    match access.kind:
        case "equals":
            return bool(value.get(access.name) == access.literal)
        case "resolves":
            return refers_to(value, access.name, resource)
        case "where" if access.test is not None:
            return holds(access.test, value, resource)
        case _:
            return any(e.get("url") == access.name for e in value.get("extension", ()))
