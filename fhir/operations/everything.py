"""`$everything` of a patient or an encounter: the whole compartment and what it refers to.

https://hl7.org/fhir/R4/operation-patient-everything.html
https://hl7.org/fhir/R4/operation-encounter-everything.html
"""

from collections.abc import Sequence
from typing import Final

from fhir import hashes, store
from fhir.bundles import searchset
from fhir.definitions import compartment_parameters, type_number
from fhir.identity import check_type
from fhir.index_rows import NO_DATE, microseconds
from fhir.indexing import MANY_PATIENTS
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter
from fhir.rows import STORED_COLUMNS, stored_of
from fhir.search.clause import Clause, all_of, any_of, array
from fhir.search.includes import CUT, included
from fhir.search.request import Include, SearchRequest
from fhir.search.service import SearchResult
from fhir.sql import fetch
from fhir.stored import StoredResource
from healthcloud.tenancy.scope import active_project

PAGE: Final = 1000
MAX_PAGE: Final = 5000
_REFERENCES: Final = (Include("", "", ""),)
# Gathered by the index of tokens first: of so many tokens the planner of the database expects that
# most rows have one, and would look at all rows in their order.
_OF_ONE: Final = (
    "r.pk = ANY(ARRAY(SELECT m.pk FROM fhir_resource m WHERE m.self = %s::bigint UNION ALL"
    " SELECT m.pk FROM fhir_resource m WHERE m.tokens && ARRAY(SELECT unnest(%s::bigint[]))))"
)


def everything(call: Call) -> bytes:
    """Answer one page of a compartment, oldest rows first, the record itself at its head.

    `start` and `end` keep what has a date of care outside of them away; what has none stays.
    `_since` keeps what was written later, `_type` lists types, `_count` is the size of a page
    (1,000 unless said). Linked resources that no patient's compartment holds come along as
    includes.
    """
    if call.id:
        store.read(resource_type=call.resource_type, id=call.id)
    types = _types(call)
    count = call.parameters.integer("_count", minimum=1, maximum=MAX_PAGE) or PAGE
    _, project = active_project()
    where = all_of([_members(call), *_limits(call, types)])
    rows = fetch(
        f"SELECT {STORED_COLUMNS}, r.pk FROM fhir_resource r WHERE r.project = %s::integer"
        f" AND r.content IS NOT NULL AND {where.sql} ORDER BY r.pk LIMIT %s::integer",
        (project, *where.params, count + 1),
        prepare=False,
    )
    found = [stored_of(row) for row in rows[:count]]
    request = SearchRequest(call.resource_type, includes=_REFERENCES)
    beside = included(request, found, project)
    return searchset(
        SearchResult(
            entries=found,
            included=_linked(call, beside.resources, types),
            total=None if len(rows) > count or "_cursor" in call.parameters else len(found),
            next_query=_next(call, rows[count - 1][-1]) if len(rows) > count else None,
            self_query=call.query,
            notes=(CUT,) if beside.is_cut else (),
            request=request,
        ),
        now=call.now,
        base=call.base,
        address=call.address,
    )


def _types(call: Call) -> frozenset[str]:
    """Return the types asked for, none for all; the caller must be allowed to read them."""
    types = frozenset(call.parameters.texts("_type", commas=True))
    for name in types:
        check_type(name)
    call.require(*(f"{name}:read" for name in sorted(types)) if types else ("fhir:read",))
    return types


def _members(call: Call) -> Clause:
    """Return the condition that a row is in the compartment, or in that of any patient."""
    if not call.id:
        number = array(type_number(name) for name in sorted(MANY_PATIENTS))
        present = [
            hashes.param_salt(name, code) ^ hashes.PRESENT
            for name in sorted(MANY_PATIENTS)
            for code in compartment_parameters("Patient").get(name, ())
        ]
        many = Clause(
            "(r.rtype = ANY(%s::smallint[]) AND r.tokens && %s::bigint[])", (number, array(present))
        )
        return any_of([Clause("r.patient IS NOT NULL"), many])
    key = hashes.self_hash(call.resource_type, call.id)
    tokens = [
        hashes.param_salt(name, code) ^ key
        for name, codes in compartment_parameters(call.resource_type).items()
        for code in codes
    ]
    return Clause(_OF_ONE, (key, array(tokens)))


def _limits(call: Call, types: frozenset[str]) -> list[Clause]:
    limits: list[Clause] = []
    start, end = call.parameters.range("start"), call.parameters.range("end")
    undated = Clause("r.date_low = %s::bigint", (NO_DATE,))
    patient = Clause("r.rtype = %s::smallint", (type_number("Patient"),))
    if start is not None:
        later = Clause("r.date_high > %s::bigint", (microseconds(start[0]),))
        limits.append(any_of([patient, undated, later]))
    if end is not None:
        earlier = Clause("r.date_low < %s::bigint", (microseconds(end[1]),))
        limits.append(any_of([patient, undated, earlier]))
    since = call.parameters.moment("_since")
    if since is not None:
        limits.append(Clause("r.updated >= %s::timestamptz", (since,)))
    if types:
        numbers = array(type_number(name) for name in sorted(types))
        limits.append(Clause("r.rtype = ANY(%s::smallint[])", (numbers,)))
    cursor = call.parameters.text("_cursor")
    if cursor is not None:
        limits.append(Clause("r.pk > %s::bigint", (_position(cursor),)))
    return limits


def _position(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise InvalidParameter(
            "`_cursor` comes from the `next` link of an answer.", param="_cursor"
        )
    return int(cursor)


def _linked(
    call: Call, others: Sequence[StoredResource], types: frozenset[str]
) -> list[StoredResource]:
    """Return what may come along: of a wanted type, readable, and in no compartment of its own."""
    personal = {*compartment_parameters("Patient"), "Patient"}
    return [
        other
        for other in others
        if other.resource_type not in personal or call.resource_type == "Encounter"
        if not types or other.resource_type in types
        if call.can(f"{other.resource_type}:read")
    ]


def _next(call: Call, position: int) -> str:
    kept = [pair for pair in call.query.split("&") if pair and not pair.startswith("_cursor=")]
    return "&".join([*kept, f"_cursor={position}"])


_INPUTS: Final = frozenset({"_since", "_type", "_count", "_cursor"})

OPERATIONS = (
    Operation(
        name="everything",
        run=everything,
        levels=frozenset({"type", "instance"}),
        types=frozenset({"Patient"}),
        summary="Answer all that is recorded of a patient, and what it refers to.",
        inputs=_INPUTS | {"start", "end"},
        definition=f"{HL7}Patient-everything",
        weight=5,
    ),
    Operation(
        name="everything",
        run=everything,
        levels=frozenset({"instance"}),
        types=frozenset({"Encounter"}),
        summary="Answer all that is recorded of an encounter, and what it refers to.",
        inputs=_INPUTS,
        definition=f"{HL7}Encounter-everything",
        weight=5,
    ),
)
