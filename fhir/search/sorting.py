"""`_sort` as SQL expressions that are never null. https://hl7.org/fhir/R4/search.html#_sort"""

from dataclasses import dataclass, replace
from math import inf
from sys import float_info
from typing import Final

from fhir import hashes
from fhir.definitions import type_number
from fhir.index_rows import NO_DATE
from fhir.indexing import primary_date
from fhir.search.clause import Clause, array
from fhir.search.context import SearchContext, salts
from fhir.search.params.reference import is_promoted
from fhir.search.request import SearchRequest, SortKey
from fhir.search.sort_values import content_value

LAST_DATE: Final = 2**63 - 1
# What stands for "no value", so that it sorts last in either direction: as SQL and as it is read.
_LAST: Final[dict[str, tuple[tuple[str, object], tuple[str, object]]]] = {
    "bigint": ((str(LAST_DATE), LAST_DATE), (f"'{NO_DATE}'::bigint", NO_DATE)),
    "text": (("chr(1114111)", "\U0010ffff"), ("''", "")),
    "double precision": (
        ("'infinity'::double precision", inf),
        ("'-infinity'::double precision", -inf),
    ),
}
# Values that would be taken for none stand beside it, and are turned back where the index is asked.
_KEYS: Final = {
    "bigint": "{0}",
    "text": "greatest({0}, chr(1))",
    "double precision": (
        f"least(greatest({{0}}, '{-float_info.max}'::double precision),"
        f" '{float_info.max}'::double precision)"
    ),
}
_STORED: Final[dict[object, object]] = {
    "\x01": "",
    float_info.max: inf,
    -float_info.max: -inf,
}


@dataclass(frozen=True, slots=True)
class SortedColumn:
    """The column of a side table in whose order a type of parameter is sorted, both ways.

    `by_unit` says that an index leads through its values unit by unit.
    """

    table: str
    column: str
    sql_type: str
    by_unit: bool = False

    def key(self, value: str) -> str:
        """Return the SQL of what is compared of a value."""
        return _KEYS[self.sql_type].format(value)

    def stored(self, key: object) -> object:
        """Return the value of the column of which a key was made."""
        return _STORED.get(key, key) if isinstance(key, str | float) else key

    def last(self, *, descending: bool) -> str:
        """Return the SQL of what stands for no value."""
        return _LAST[self.sql_type][descending][0]


SORTED: Final = {
    "date": SortedColumn("date", "low", "bigint"),
    "string": SortedColumn("string", "folded", "text"),
    "uri": SortedColumn("string", "folded", "text"),
    "number": SortedColumn("quantity", "low", "double precision"),
    "quantity": SortedColumn("quantity", "canonical_low", "double precision", by_unit=True),
}


def last_value(sql_type: str, *, descending: bool) -> object:
    """Return what is read where there is no value."""
    return _LAST[sql_type][descending][1]


RISING: Final = f"(CASE WHEN r.date_low = {NO_DATE} THEN {LAST_DATE} ELSE r.date_low END)"


@dataclass(frozen=True, slots=True)
class Order:
    """One key to order by: its SQL, its type for the cursor, and its direction."""

    expression: Clause
    sql_type: str
    descending: bool

    @property
    def direction(self) -> str:
        """Return the direction as SQL."""
        return "DESC" if self.descending else "ASC"


def orders(request: SearchRequest, context: SearchContext) -> list[Order]:
    """Return the keys of the search, newest first by default; `pk` always makes the order total."""
    if not request.sort:
        return [Order(Clause("r.updated"), "timestamptz", descending=True)]
    return [_order(request.resource_type, key, context) for key in request.sort]


def _order(resource_type: str, key: SortKey, context: SearchContext) -> Order:
    return _chained(resource_type, key, context) if key.via else _own(resource_type, key, context)


def _chained(resource_type: str, key: SortKey, context: SearchContext) -> Order:
    """Sort by what a row refers to: of several, by the first in the direction asked for."""
    inner = _own(key.target, replace(key, via=None), context)
    link, values = _link(resource_type, key)
    of_type = context.of_type("r", key.target)
    function = "max" if key.descending else "min"
    last = _LAST[inner.sql_type][key.descending][0]
    sql = (
        f"coalesce((SELECT {function}(target.value) FROM (SELECT {link} AS keys) AS link"
        f" CROSS JOIN LATERAL (SELECT {inner.expression.sql} AS value FROM fhir_resource r"
        f" WHERE r.self = ANY(link.keys) AND {of_type.sql}) AS target), {last})"
    )
    params = (*values, *inner.expression.params, *of_type.params)
    return Order(Clause(sql, params), inner.sql_type, key.descending)


def _link(resource_type: str, key: SortKey) -> tuple[str, tuple[object, ...]]:
    """Return the SQL of the hashes of what a row refers to, among others that are nothing's."""
    if key.via is None or (key.target == "Patient" and is_promoted(resource_type, key.via)):
        return "ARRAY[r.patient]", ()
    salt = hashes.param_salt(resource_type, key.via.code)
    return "ARRAY(SELECT token # %s::bigint FROM unnest(r.tokens) AS token)", (salt,)


def _own(resource_type: str, key: SortKey, context: SearchContext) -> Order:
    code = key.parameter.code
    if code == "_lastUpdated":
        return Order(Clause("r.updated"), "timestamptz", key.descending)
    if code == "_id":
        return Order(Clause("r.rid"), "text", key.descending)
    if code == primary_date(resource_type):
        return Order(Clause("r.date_low" if key.descending else RISING), "bigint", key.descending)
    column = SORTED.get(key.parameter.type)
    if column is not None:
        return _side_order(resource_type, key, column, context)
    return _content_order(resource_type, key)


def _side_order(
    resource_type: str, key: SortKey, column: SortedColumn, context: SearchContext
) -> Order:
    """Sort by the first value in the direction asked for; of a range, its begin counts."""
    function = "max" if key.descending else "min"
    sql = (
        f"coalesce((SELECT {function}({column.key(f'v.{column.column}')})"
        f" FROM fhir_{column.table} v WHERE v.resource = r.pk"
        " AND v.project = %s::integer AND v.rtype = %s::smallint AND v.param = ANY(%s::bigint[])),"
        f" {column.last(descending=key.descending)})"
    )
    wanted = array(salts(resource_type, key.parameter.code))
    params = (context.project, type_number(resource_type), wanted)
    return Order(Clause(sql, params), column.sql_type, key.descending)


def _content_order(resource_type: str, key: SortKey) -> Order:
    """Sort by what the stored text says, where the index holds hashes only."""
    value = content_value(resource_type, key.parameter, descending=key.descending)
    last = _LAST["text"][key.descending][0]
    return Order(Clause(f"coalesce({value.sql}, {last})", value.params), "text", key.descending)
