"""`_sort` as SQL expressions that are never null. https://hl7.org/fhir/R4/search.html#_sort"""

from dataclasses import dataclass
from typing import Final

from fhir.definitions import type_number
from fhir.index_rows import NO_DATE
from fhir.indexing import primary_date
from fhir.search.clause import Clause, array
from fhir.search.context import SearchContext, salts
from fhir.search.request import SearchRequest, SortKey
from fhir.search.sort_values import content_value

_TABLES: Final = {
    "date": ("date", "low", "high", "bigint"),
    "string": ("string", "folded", "folded", "text"),
    "uri": ("string", "folded", "folded", "text"),
    "number": ("quantity", "low", "high", "double precision"),
    "quantity": ("quantity", "canonical_low", "canonical_high", "double precision"),
}
LAST_DATE: Final = 2**63 - 1
# What stands for "no value", so that it sorts last in either direction.
_LAST: Final = {
    "bigint": (str(LAST_DATE), str(NO_DATE)),
    "text": ("chr(1114111)", "''"),
    "double precision": ("'infinity'::double precision", "'-infinity'::double precision"),
}
RISING: Final = f"(CASE WHEN r.date_low = {NO_DATE} THEN {_LAST['bigint'][0]} ELSE r.date_low END)"


@dataclass(frozen=True, slots=True)
class Order:
    """One key to order by: its SQL, its type for the cursor, and its direction."""

    expression: Clause
    sql_type: str
    descending: bool


def orders(request: SearchRequest, context: SearchContext) -> list[Order]:
    """Return the keys of the search, newest first by default; `pk` always makes the order total."""
    if not request.sort:
        return [Order(Clause("r.updated"), "timestamptz", descending=True)]
    return [_order(request.resource_type, key, context) for key in request.sort]


def _order(resource_type: str, key: SortKey, context: SearchContext) -> Order:
    code = key.parameter.code
    if code == "_lastUpdated":
        return Order(Clause("r.updated"), "timestamptz", key.descending)
    if code == "_id":
        return Order(Clause("r.rid"), "text", key.descending)
    if code == primary_date(resource_type):
        return Order(Clause("r.date_low" if key.descending else RISING), "bigint", key.descending)
    if key.parameter.type in _TABLES:
        return _side_order(resource_type, key, context)
    return _content_order(resource_type, key)


def _side_order(resource_type: str, key: SortKey, context: SearchContext) -> Order:
    table, low, high, sql_type = _TABLES[key.parameter.type]
    value = f"max(v.{high})" if key.descending else f"min(v.{low})"
    last = _LAST[sql_type][1 if key.descending else 0]
    sql = (
        f"coalesce((SELECT {value} FROM fhir_{table} v WHERE v.resource = r.pk"
        " AND v.project = %s::integer AND v.rtype = %s::smallint AND v.param = ANY(%s::bigint[])),"
        f" {last})"
    )
    wanted = array(salts(resource_type, key.parameter.code))
    params = (context.project, type_number(resource_type), wanted)
    return Order(Clause(sql, params), sql_type, key.descending)


def _content_order(resource_type: str, key: SortKey) -> Order:
    """Sort by what the stored text says, where the index holds hashes only."""
    value = content_value(resource_type, key.parameter, descending=key.descending)
    last = _LAST["text"][1 if key.descending else 0]
    return Order(Clause(f"coalesce({value.sql}, {last})", value.params), "text", key.descending)
