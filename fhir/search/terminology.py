"""What searches ask of terminology: members of value sets, what a code subsumes.

https://hl7.org/fhir/R4/search.html#token (`:in`, `:not-in`, `:above`, `:below`). What is asked
for becomes the codes it stands for, so that the index of tokens answers.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Final

import orjson

from fhir.definitions import type_number
from fhir.search.errors import SearchRefused
from fhir.sql import fetch
from healthcloud.errors import HealthCloudError
from healthcloud.tenancy.scope import active_project

Codes = list[tuple[str, str]]

MAX_CODES: Final = 20_000
_BY_ID: Final = (
    "SELECT content FROM fhir_resource WHERE project = %s::integer AND rtype = %s::smallint"
    " AND rid = %s::text AND content IS NOT NULL"
)


class UnknownConcepts(SearchRefused):
    """The value set or code system that a search names is not here, or too large."""

    issue_code = "not-found"


def members(value_set: str, *, param: str) -> Codes:
    """Return system and code of every member of a value set, named by URL or `ValueSet/id`."""
    named = _stored(value_set, param) if ":" not in value_set else value_set
    return _codes(lambda terminology: terminology.codes_in(named), param)


def subsumed(system: str, code: str, *, param: str) -> Codes:
    """Return a code and all codes below it."""
    _check_system(system, param)
    return _codes(
        lambda terminology: [(system, c) for c in terminology.descendants(system, code)], param
    )


def subsuming(system: str, code: str, *, param: str) -> Codes:
    """Return a code and all codes above it."""
    _check_system(system, param)
    return _codes(
        lambda terminology: [(system, c) for c in terminology.ancestors(system, code)], param
    )


def _check_system(system: str, param: str) -> None:
    if not system:
        raise SearchRefused(f"`{param}` needs a system: write system|code.", param=param)


def _codes(ask: Callable[[Any], Iterable[tuple[str, str]]], param: str) -> Codes:
    """Return the answer of the terminology room, which is loaded by the first who asks."""
    try:
        found = sorted(ask(import_module("fhir.terminology")))
    except SearchRefused:
        raise
    except HealthCloudError as error:
        raise UnknownConcepts(error.message, param=param) from None
    if len(found) > MAX_CODES:
        raise UnknownConcepts(
            f"`{param}` stands for {len(found)} codes; a search may have {MAX_CODES}.", param=param
        )
    return found


def _stored(name: str, param: str) -> dict[str, Any]:
    """Return the value set with an id in the project."""
    _, project = active_project()
    rid = name.removeprefix("ValueSet/")
    rows = fetch(_BY_ID, (project, type_number("ValueSet"), rid))
    if not rows:
        raise UnknownConcepts(f"There is no ValueSet/{rid[:64]}.", param=param)
    found: dict[str, Any] = orjson.loads(rows[0][0])
    return found
