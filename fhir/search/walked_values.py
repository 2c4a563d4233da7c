"""A page of a whole type in the order of a parameter, read from the index of its values.

Dates, numbers, quantities, strings and URIs: each resource counts by its first value in the
order, as `fhir.search.sorting` says. What has none is in no index and comes last, in the order of
storing. `docs/decisions/0209`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fhir import hashes
from fhir.definitions import type_number
from fhir.indexing import primary_date
from fhir.search.clause import Clause, all_of, joined
from fhir.search.context import SearchContext, salts
from fhir.search.paging import beyond, decode_cursor, is_before, pk_order, reading_orders
from fhir.search.query import COLUMNS
from fhir.search.request import SearchRequest
from fhir.search.sorting import SORTED, Order, SortedColumn, last_value
from fhir.sql import Row, Statement, fetch_all

# Resources a page may have → values that are read for it: a resource may have several.
_STEPS: Final = ((20, 2_000), (100, 10_000), (1000, 100_000))
_FEWER: Final = 5  # where each unit has values of its own, or each resource other keys
_MORE: Final = 10  # where only some of those that are read match
_NO_COLUMN: Final = frozenset({"_lastUpdated", "_id"})


@dataclass(frozen=True, slots=True)
class Walk:
    """How a search is read by the values of its first key.

    `keys` are the orders in which the page is read; `at` is its cursor, the row's number last.
    """

    request: SearchRequest
    context: SearchContext
    column: SortedColumn
    salt: int
    keys: tuple[Order, ...]
    at: tuple[object, ...]
    steps: int

    @property
    def is_backward(self) -> bool:
        """Tell whether the page ends at its cursor."""
        return is_before(self.request.cursor)

    @property
    def ends_without(self) -> bool:
        """Tell whether the cursor is a row that has no value."""
        mark = last_value(self.column.sql_type, descending=self.request.sort[0].descending)
        return bool(self.at) and self.at[0] == mark

    @property
    def last(self) -> Order:
        """Return the order of rows that share all keys."""
        return pk_order(self.keys[-1])


def walk_of(request: SearchRequest, context: SearchContext) -> Walk | None:
    """Return how a search is read by the values of its first key, None where it can't be."""
    if not request.sort:
        return None
    key, several = request.sort[0], len(request.sort) > 1
    code, kind = key.parameter.code, key.parameter.type
    column, params = SORTED.get(kind), salts(request.resource_type, code)
    # The promoted date has its own index, which has no order of what rises and other keys.
    has_other = code == primary_date(request.resource_type) and (key.descending or not several)
    if column is None or len(params) != 1 or code in _NO_COLUMN or has_other or key.via:
        return None
    if several and column.by_unit:
        return None
    keys = tuple(reading_orders(request, context))
    at = tuple(decode_cursor(request.cursor, keys)) if request.cursor else ()
    steps = next(steps for most, steps in _STEPS if request.count <= most)
    fewer = _FEWER if several or column.by_unit else 1
    return Walk(request, context, column, params[0], keys, at, max(1, steps // fewer))


def read_walk(walk: Walk) -> list[Row] | None:
    """Return the rows of a page and one more, None where too many values lead to too few rows."""
    most = walk.request.count + 1
    if not walk.is_backward and walk.ends_without:
        return fetch_all([_statement(_without(walk, most, at=walk.at))])[0]
    if not walk.is_backward:
        return _checked(fetch_all([_statement(_with_then_without(walk, most))])[0], most, walk)
    if not walk.ends_without:
        return _checked(fetch_all([_statement(_with(walk, most, at=walk.at))])[0], most, walk)
    rows = fetch_all([_statement(_without(walk, most, at=walk.at))])[0]
    room = most - len(rows)
    if not room:
        return rows
    more = _checked(fetch_all([_statement(_with(walk, room, at=()))])[0], room, walk)
    return None if more is None else [*rows, *more]


def matching_statement(walk: Walk, probe: Clause) -> Statement | None:
    """Return the statement of a page among many matches of `probe`, as far as they have values.

    It may give fewer rows than there are. None where the cursor is a row without a value.
    """
    if walk.ends_without:
        return None
    longer = replace(walk, steps=walk.steps * _MORE)
    return _statement(_with(longer, walk.request.count + 1, at=walk.at, probe=probe))


def _checked(found: Sequence[Row], most: int, walk: Walk) -> list[Row] | None:
    """Return rows without the number of values that were read, None where that was too few."""
    if len(found) < most and (not found or found[0][-1] >= walk.steps):
        return None
    return [row[:-1] for row in found]


def _statement(clause: Clause) -> Statement:
    return Statement(clause.sql, clause.params, prepare=False)


# --- what has a value -----------------------------------------------------------------------------


def _with(walk: Walk, most: int, *, at: tuple[object, ...], probe: Clause | None = None) -> Clause:
    head = _tables(walk, most, at, probe)
    return joined(head, Clause("SELECT walk.*, (SELECT count(*) FROM found) FROM walk"))


def _with_then_without(walk: Walk, most: int) -> Clause:
    """Read what has a value, and behind it what has none, where there is room."""
    room = Clause(
        f"(SELECT count(*) FROM walk) < {most} AND (SELECT count(*) FROM found) < {walk.steps}"
    )
    return joined(
        _tables(walk, most, walk.at, None),
        Clause("(SELECT walk.*, (SELECT count(*) FROM found) FROM walk) UNION ALL ("),
        _without(walk, most, at=(), room=room),
        Clause(")"),
    )


def _tables(walk: Walk, most: int, at: tuple[object, ...], probe: Clause | None) -> Clause:
    """Return WITH: `found`, the next values in their order, and `walk`, the rows they lead to."""
    by = walk.keys[0].direction
    units = _units(walk) if walk.column.by_unit else Clause("")
    values = _values_of_units(walk, at) if walk.column.by_unit else _values(walk, at)
    others = _others(walk)
    first = "max" if walk.request.sort[0].descending else "min"
    own = _rows(walk, "w")
    tests = [_lies_beyond(walk, at)] if at and len(walk.keys) > 1 else []
    tests += [probe] if probe else []
    where = all_of(tests)
    order = ", ".join(
        [f"s.value {by}", *_names(walk), f"r.pk {walk.last.direction}"],
    )
    return joined(
        Clause("WITH RECURSIVE "),
        units,
        Clause("found AS MATERIALIZED ("),
        values,
        Clause(f"), walk AS MATERIALIZED (SELECT {COLUMNS}, {walk.column.key('s.value')} AS key_0"),
        others,
        Clause(
            " FROM (SELECT DISTINCT found.value, found.resource FROM found"
            f" ORDER BY found.value {by}, found.resource {by}) s"
            " JOIN fhir_resource r ON r.pk = s.resource AND r.content IS NOT NULL"
            f" WHERE s.value = (SELECT {first}(w.{walk.column.column}) "
        ),
        own,
        Clause(" AND w.resource = s.resource) AND ("),
        where,
        Clause(f") ORDER BY {order} LIMIT {most}) "),
    )


def _values(walk: Walk, at: tuple[object, ...]) -> Clause:
    column, by = f"v.{walk.column.column}", walk.keys[0].direction
    if len(walk.keys) > 1:  # all that share a value, since other keys put them in order
        sign = "<=" if walk.keys[0].descending else ">="
        from_here = _compared(f" AND {column} {sign} %s::{walk.column.sql_type}", walk, at[:1])
        end = f" ORDER BY {column} {by} FETCH FIRST {walk.steps} ROWS WITH TIES"
        return joined(
            Clause(f"SELECT {column} AS value, v.resource "),
            _rows(walk, "v"),
            from_here,
            Clause(end),
        )
    return joined(_distinct(walk), _rows(walk, "v"), _further(walk, at), _ordered(walk))


def _values_of_units(walk: Walk, at: tuple[object, ...]) -> Clause:
    by = walk.keys[0].direction
    own = joined(_distinct(walk), _rows(walk, "v"), _further(walk, at))
    return joined(
        Clause("SELECT DISTINCT ON (u.value, u.resource) u.value, u.resource FROM (SELECT one.* "),
        Clause("FROM units CROSS JOIN LATERAL ("),
        own,
        Clause(" AND v.unit = units.unit AND v.unit <> 0"),
        _ordered(walk),
        Clause(") AS one UNION ALL ("),
        own,
        Clause(" AND v.unit = 0"),
        _ordered(walk),
        Clause(f")) u ORDER BY u.value {by}, u.resource {by} LIMIT {walk.steps}"),
    )


def _units(walk: Walk) -> Clause:
    """Return the units of the parameter, one after the other by the index."""
    rows = _rows(walk, "v")
    return joined(
        Clause("units AS ((SELECT v.unit "),
        rows,
        Clause(" AND v.unit <> 0 ORDER BY v.unit LIMIT 1) UNION ALL SELECT (SELECT v.unit "),
        rows,
        Clause(
            " AND v.unit <> 0 AND v.unit > units.unit ORDER BY v.unit LIMIT 1)"
            " FROM units WHERE units.unit IS NOT NULL), "
        ),
    )


def _rows(walk: Walk, alias: str) -> Clause:
    number = type_number(walk.request.resource_type)
    return Clause(
        f"FROM fhir_{walk.column.table} {alias} WHERE {alias}.project = %s::integer"
        f" AND {alias}.rtype = %s::smallint AND {alias}.param = %s::bigint",
        (walk.context.project, number, walk.salt),
    )


def _distinct(walk: Walk) -> Clause:
    column = f"v.{walk.column.column}"
    return Clause(f"SELECT DISTINCT ON ({column}, v.resource) {column} AS value, v.resource ")


def _ordered(walk: Walk) -> Clause:
    by = walk.keys[0].direction
    return Clause(f" ORDER BY v.{walk.column.column} {by}, v.resource {by} LIMIT {walk.steps}")


def _further(walk: Walk, at: tuple[object, ...]) -> Clause:
    sign = "<" if walk.keys[0].descending else ">"
    column, kind = walk.column.column, walk.column.sql_type
    return _compared(f" AND (v.{column}, v.resource) {sign} (%s::{kind}, %s::bigint)", walk, at)


def _compared(sql: str, walk: Walk, at: tuple[object, ...]) -> Clause:
    return Clause(sql, (walk.column.stored(at[0]), *at[1:])) if at else Clause("")


def _lies_beyond(walk: Walk, at: tuple[object, ...]) -> Clause:
    own = replace(walk.keys[0], expression=Clause(walk.column.key("s.value")))
    return beyond(at, [own, *walk.keys[1:], walk.last])


# --- what has none --------------------------------------------------------------------------------


def _without(
    walk: Walk, most: int, *, at: tuple[object, ...], room: Clause | None = None
) -> Clause:
    """Read what has no value, by the other keys and the order of storing."""
    kind = walk.request.resource_type
    present = hashes.PRESENT ^ walk.salt
    tests = [
        walk.context.of_type("r", kind),
        Clause("NOT (r.tokens @> ARRAY[%s::bigint])", (present,)),
    ]
    tests += [beyond(at[1:], [*walk.keys[1:], walk.last])] if at else []
    tests += [room] if room else []
    mark = walk.column.last(descending=walk.request.sort[0].descending)
    count = ", (SELECT count(*) FROM found)" if room else ""
    order = ", ".join([*_names(walk), f"r.pk {walk.last.direction}"])
    return joined(
        Clause(f"SELECT {COLUMNS}, {mark} AS key_0"),
        _others(walk),
        Clause(f"{count} FROM fhir_resource r WHERE "),
        all_of(tests),
        Clause(f" ORDER BY {order} LIMIT {most}"),
    )


def _others(walk: Walk) -> Clause:
    """Return the keys after the first, to be selected."""
    others = walk.keys[1:]
    sql = "".join(f", {key.expression.sql} AS key_{n}" for n, key in enumerate(others, 1))
    return Clause(sql, tuple(value for key in others for value in key.expression.params))


def _names(walk: Walk) -> list[str]:
    return [f"key_{n} {key.direction}" for n, key in enumerate(walk.keys[1:], 1)]
