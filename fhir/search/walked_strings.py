"""A page of a whole type in the order of a string, read from the index of strings.

Each resource counts by its first value in the order, as `fhir.search.sorting` says. What has none
comes last, in no index: where the strings end, the page is sorted as a whole.
"""

from collections.abc import Sequence
from typing import Final

from fhir.definitions import type_number
from fhir.search.clause import Clause
from fhir.search.context import SearchContext, salts
from fhir.search.paging import after, reading_orders
from fhir.search.query import COLUMNS, matching, page_statement
from fhir.search.request import SearchRequest
from fhir.search.sorting import Order
from fhir.sql import Statement

# Resources a page may have → strings that are read for it: a resource may have several.
_STEPS: Final = ((20, 2_000), (100, 10_000), (1000, 100_000))
_MARKS: Final = frozenset({"", "\U0010ffff"})  # what stands for no value
_ROWS: Final = (
    "FROM fhir_string {0} WHERE {0}.project = %s::integer AND {0}.rtype = %s::smallint"
    " AND {0}.param = %s::bigint"
)


def strings_page_statement(request: SearchRequest, context: SearchContext) -> Statement | None:
    """Return the statement of a page, None where it is in no order of one string parameter."""
    if request.criteria or len(request.sort) != 1 or request.sort[0].parameter.type != "string":
        return None
    [key] = request.sort
    params = salts(request.resource_type, key.parameter.code)
    keys = reading_orders(request, context)
    beyond = _beyond(request, keys)
    if len(params) != 1 or beyond is None:
        return None
    rows = (context.project, type_number(request.resource_type), params[0])
    most = request.count + 1
    whole = page_statement(request, matching(request, context), context)
    sql = (
        f"WITH walk AS MATERIALIZED ({_walk(request, keys[0], beyond)})"
        f" (SELECT * FROM walk WHERE (SELECT count(*) FROM walk) = {most})"
        f" UNION ALL (SELECT * FROM ({whole.sql}) AS whole"
        f" WHERE (SELECT count(*) FROM walk) < {most})"
    )
    values = [*rows, *beyond.params, *rows, *whole.params]
    return Statement(sql, values, prepare=True, is_fixed=True)


def _walk(request: SearchRequest, key: Order, beyond: Clause) -> str:
    direction = "DESC" if key.descending else "ASC"
    first = "max" if request.sort[0].descending else "min"
    steps = next(steps for most, steps in _STEPS if request.count <= most)
    return (
        f"SELECT {COLUMNS}, s.folded AS key_0 FROM (SELECT DISTINCT ON (v.folded, v.resource)"
        f" v.folded, v.resource {_ROWS.format('v')} AND v.folded > '' AND {beyond.sql}"
        f" ORDER BY v.folded {direction}, v.resource {direction} LIMIT {steps}) s"
        " JOIN fhir_resource r ON r.pk = s.resource AND r.content IS NOT NULL"
        f" WHERE s.folded = (SELECT {first}(w.folded) {_ROWS.format('w')}"
        " AND w.resource = s.resource)"
        f" ORDER BY s.folded {direction}, r.pk {direction} LIMIT {request.count + 1}"
    )


def _beyond(request: SearchRequest, keys: Sequence[Order]) -> Clause | None:
    """Return the condition that a string lies beyond the cursor, None where no string does."""
    if not request.cursor:
        return Clause("true")
    columns = after(request.cursor, keys)
    *_, value, pk = columns.params
    if value in _MARKS:
        return None
    sign = "<" if keys[0].descending else ">"
    return Clause(f"(v.folded, v.resource) {sign} (%s::text, %s::bigint)", (value, pk))
