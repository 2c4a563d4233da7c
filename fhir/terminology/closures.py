"""Closure tables: which of a client's codes are below which, kept up to date by versions.

https://hl7.org/fhir/R4/terminology-service.html#closure
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from fhir.documents import JsonObject, instant
from fhir.sql import fetch
from fhir.terminology.canonical import require_system
from fhir.terminology.coded import Coded
from fhir.terminology.errors import UnknownCanonical, UnknownCode
from healthcloud.tenancy.scope import active_project

_BEGIN: Final = (
    "INSERT INTO fhir_closure (project, name, updated) VALUES (%s::integer, %s::text,"
    " %s::timestamptz) ON CONFLICT (project, name) DO UPDATE SET version = 0,"
    " updated = EXCLUDED.updated RETURNING pk"
)
_CLEAR: Final = tuple(
    f"DELETE FROM {table} WHERE closure = %s::integer"
    for table in ("fhir_closure_concept", "fhir_closure_pair")
)
_FIND: Final = (
    "SELECT pk, version FROM fhir_closure WHERE project = %s::integer AND name = %s::text"
    " FOR UPDATE"
)
_CONCEPTS: Final = (
    "SELECT system, code FROM fhir_closure_concept WHERE closure = %s::integer"
    " ORDER BY system, code"
)
_ADD_CONCEPTS: Final = (
    "INSERT INTO fhir_closure_concept (closure, project, system, code, display)"
    " SELECT %s::integer, %s::integer, * FROM unnest(%b::text[], %b::text[], %b::text[])"
    " ON CONFLICT DO NOTHING"
)
_ADD_PAIRS: Final = (
    "INSERT INTO fhir_closure_pair (closure, project, version, system, child, parent)"
    " SELECT %s::integer, %s::integer, %s::integer, * FROM unnest(%b::text[], %b::text[],"
    " %b::text[]) ON CONFLICT DO NOTHING"
)
_SET: Final = (
    "UPDATE fhir_closure SET version = %s::integer, updated = %s::timestamptz"
    " WHERE pk = %s::integer"
)
_PAIRS: Final = (
    "SELECT system, child, parent FROM fhir_closure_pair WHERE closure = %s::integer"
    " AND version > %s::integer ORDER BY version, system, child, parent"
)


def begin(name: str, *, now: datetime) -> JsonObject:
    """Make an empty table of this name, over the one there was."""
    _, project = active_project()
    pk = fetch(_BEGIN, (project, name, now))[0][0]
    for statement in _CLEAR:
        fetch(statement, (pk,))
    return _answer(name, 0, [], now)


def add(name: str, codes: Sequence[Coded], *, now: datetime) -> JsonObject:
    """Add codes and return the relations that are new; raises UnknownCanonical, UnknownCode."""
    _, project = active_project()
    pk, version = _require(name, project)
    known = [(system.decode(), code.decode()) for system, code in fetch(_CONCEPTS, (pk,))]
    fresh: dict[tuple[str, str], str] = {}
    for coded in codes:
        found = require_system(coded.system, coded.version).find(coded.code)
        if found is None:
            raise UnknownCode(coded.system, coded.code)
        if (coded.system, found.code) not in known:
            fresh[(coded.system, found.code)] = coded.display or found.display
    if not fresh:
        return _answer(name, version, [], now)
    pairs = _relations(list(fresh), known)
    systems, own = [key[0] for key in fresh], [key[1] for key in fresh]
    fetch(_ADD_CONCEPTS, (pk, project, systems, own, list(fresh.values())))
    columns = [[pair[i] for pair in pairs] for i in range(3)]
    fetch(_ADD_PAIRS, (pk, project, version + 1, *columns))
    fetch(_SET, (version + 1, now, pk))
    return _answer(name, version + 1, pairs, now)


def since(name: str, version: int, *, now: datetime) -> JsonObject:
    """Return the relations that came after a version."""
    _, project = active_project()
    pk, current = _require(name, project)
    rows = fetch(_PAIRS, (pk, version))
    pairs = [(a.decode(), b.decode(), c.decode()) for a, b, c in rows]
    return _answer(name, current, pairs, now)


def _relations(
    fresh: Sequence[tuple[str, str]], known: Sequence[tuple[str, str]]
) -> list[tuple[str, str, str]]:
    """Return `(system, child, parent)` of every relation with a new code in it."""
    found: list[tuple[str, str, str]] = []
    for url in dict.fromkeys(system for system, _ in fresh):
        system = require_system(url)
        added = {code for other, code in fresh if other == url}
        present = added | {code for other, code in known if other == url}
        for child in sorted(present):
            above = system.ancestors(child) & (present if child in added else added)
            found += [(url, child, parent) for parent in sorted(above)]
    return found


def _require(name: str, project: int) -> tuple[int, int]:
    rows = fetch(_FIND, (project, name))
    if not rows:
        raise UnknownCanonical(
            "closure table", name, hint="Make it first: call $closure with its `name` only."
        )
    return rows[0][0], rows[0][1]


def _answer(
    name: str, version: int, pairs: Sequence[tuple[str, str, str]], now: datetime
) -> JsonObject:
    """Return the relations as a ConceptMap: `target subsumes element`."""
    groups: dict[str, dict[str, list[JsonObject]]] = {}
    for system, child, parent in pairs:
        target = {"code": parent, "equivalence": "subsumes"}
        groups.setdefault(system, {}).setdefault(child, []).append(target)
    answer: JsonObject = {
        "resourceType": "ConceptMap",
        "version": str(version),
        "name": name,
        "status": "active",
        "experimental": True,
        "date": instant(now),
    }
    if groups:
        answer["group"] = [
            {
                "source": system,
                "target": system,
                "element": [{"code": code, "target": found} for code, found in elements.items()],
            }
            for system, elements in groups.items()
        ]
    return answer
