"""Writes a release into the tables: batch by batch, seen by nobody until it is complete."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

import orjson

from fhir.search.extractors import fold
from fhir.sql import fetch
from fhir.terminology.concepts import Concept
from healthcloud.actors import Actor
from healthcloud.audit.services import record
from healthcloud.tenancy.scope import Scope, tenant_scope

BATCH: Final = 2_000
_DROP: Final = tuple(
    f"DELETE FROM {table} WHERE system IN (SELECT pk FROM fhir_code_system"
    " WHERE url = %s::text AND version = %s::text)"
    for table in ("fhir_concept", "fhir_concept_edge", "fhir_concept_property")
)
_FORGET: Final = "DELETE FROM fhir_code_system WHERE url = %s::text AND version = %s::text"
_BEGIN: Final = (
    "INSERT INTO fhir_code_system (url, version, name, value_set, imported, source)"
    " VALUES (%s::text, %s::text, %s::text, %s::text, %s::timestamptz, %s::text) RETURNING pk"
)
_CONCEPTS: Final = (
    "INSERT INTO fhir_concept (system, ordinal, inactive, abstract, code, display, folded, more)"
    " SELECT %s::integer, * FROM unnest(%b::integer[], %b::boolean[], %b::boolean[], %b::text[],"
    " %b::text[], %b::text[], %b::text[]) ON CONFLICT DO NOTHING"
)
_EDGES: Final = (
    "INSERT INTO fhir_concept_edge (system, child, parent)"
    " SELECT %s::integer, * FROM unnest(%b::text[], %b::text[]) ON CONFLICT DO NOTHING"
)
_PROPERTIES: Final = (
    "INSERT INTO fhir_concept_property (system, code, property, value)"
    " SELECT %s::integer, * FROM unnest(%b::text[], %b::text[], %b::text[])"
)
_END: Final = (
    "UPDATE fhir_code_system SET ready = true, concepts ="
    " (SELECT count(*) FROM fhir_concept WHERE system = %s::integer) WHERE pk = %s::integer"
    " RETURNING concepts"
)


@dataclass(frozen=True, slots=True)
class Release:
    """A version of a code system, its concepts read one after the other."""

    url: str
    version: str
    name: str
    concepts: Iterable[Concept]
    value_set: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an import wrote."""

    url: str
    version: str
    concepts: int


def load(*, scope: Scope, release: Release, source: str, actor: Actor, now: datetime) -> Loaded:
    """Write a release into a tenant's tables, over the same version; safe to repeat.

    Each batch is a transaction; what an interrupted import left is dropped by the next one.
    """
    key = (release.url, release.version)
    with tenant_scope(scope):
        for statement in (*_DROP, _FORGET):
            fetch(statement, key)
        values = (*key, release.name, release.value_set, now, source)
        pk = fetch(_BEGIN, values)[0][0]
    concepts = iter(release.concepts)
    ordinal = 0
    while batch := list(islice(concepts, BATCH)):
        with tenant_scope(scope):
            _write(pk, batch, ordinal)
        ordinal += len(batch)
    with tenant_scope(scope):
        count = fetch(_END, (pk, pk))[0][0]
        record(
            actor=actor,
            action="terminology.import",
            target_type="CodeSystem",
            target_id=release.url[:200],
            now=now,
            details={"version": release.version, "concepts": count},
        )
    return Loaded(release.url, release.version, count)


def _write(pk: int, batch: Sequence[Concept], ordinal: int) -> None:
    columns: list[list[Any]] = [
        list(range(ordinal, ordinal + len(batch))),
        [concept.inactive for concept in batch],
        [concept.abstract for concept in batch],
        [concept.code for concept in batch],
        [concept.display for concept in batch],
        [_folded(concept) for concept in batch],
        [_more(concept) for concept in batch],
    ]
    fetch(_CONCEPTS, (pk, *columns))
    edges = [(concept.code, parent) for concept in batch for parent in concept.parents]
    if edges:
        fetch(_EDGES, (pk, [child for child, _ in edges], [parent for _, parent in edges]))
    found = [(c.code, p.code.lower(), p.text) for c in batch for p in c.properties]
    if found:
        fetch(_PROPERTIES, (pk, *(list(column) for column in zip(*found, strict=True))))


def _folded(concept: Concept) -> str:
    return " " + " ".join(fold(name) for name in [*concept.texts(), concept.code])


def _more(concept: Concept) -> str | None:
    more: dict[str, Any] = {}
    if concept.parents:
        more["parents"] = concept.parents
    if concept.designations:
        more["designations"] = [designation.as_fhir() for designation in concept.designations]
    if concept.properties:
        more["properties"] = [[p.code, p.kind, p.value] for p in concept.properties]
    return orjson.dumps(more).decode() if more else None
