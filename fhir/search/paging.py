"""Keyset paging: a cursor holds the sort values of a row, and no page is skipped or doubled.

A page begins after its cursor, or ends before it where a hyphen stands first.
https://hl7.org/fhir/R4/http.html#paging
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from urllib.parse import quote_plus

import msgspec

from fhir.search import sorting
from fhir.search.clause import Clause, all_of, any_of
from fhir.search.context import SearchContext
from fhir.search.errors import SearchRefused
from fhir.search.request import SearchRequest
from fhir.search.sorting import Order
from healthcloud.remembering import of_short_texts

Key = datetime | int | float | str
BEFORE: Final = "-"


def encode_cursor(keys: Sequence[object], pk: int) -> str:
    """Return the cursor that stands after a row."""
    values = [_plain(key) for key in keys]
    return base64.urlsafe_b64encode(msgspec.json.encode([*values, pk])).decode().rstrip("=")


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, float) else value


def is_before(cursor: str) -> bool:
    """Tell whether a page ends at its cursor, instead of beginning there."""
    return cursor.startswith(BEFORE)


def backwards(orders: Sequence[Order]) -> list[Order]:
    """Return the opposite order, in which a page that ends at its cursor is read."""
    return [replace(order, descending=not order.descending) for order in orders]


def reading_orders(request: SearchRequest, context: SearchContext) -> list[Order]:
    """Return the orders in which the rows of a page are read: one before its cursor backwards."""
    keys = sorting.orders(request, context)
    return backwards(keys) if is_before(request.cursor) else keys


def after(cursor: str, orders: Sequence[Order]) -> Clause:
    """Return the condition that a row comes after the cursor in the given order.

    Raises SearchRefused for a cursor that this search did not hand out.
    """
    return beyond(decode_cursor(cursor, orders), [*orders, pk_order(orders[-1])])


def pk_order(last: Order) -> Order:
    """Return the order of rows whose keys are all the same, the last of which is given."""
    return Order(Clause("r.pk"), "bigint", last.descending)


def beyond(keys: Sequence[object], columns: Sequence[Order]) -> Clause:
    """Return the condition that a row comes after these keys in the order of columns."""
    if len({order.descending for order in columns}) == 1:
        return _row_comparison(columns, keys)
    alternatives = []
    for position, order in enumerate(columns):
        equal = [
            _compare(earlier, "=", key)
            for earlier, key in zip(columns[:position], keys, strict=False)
        ]
        beyond = _compare(order, "<" if order.descending else ">", keys[position])
        alternatives.append(all_of([*equal, beyond]))
    return any_of(alternatives)


def _row_comparison(columns: Sequence[Order], keys: Sequence[object]) -> Clause:
    """All keys rise or all fall: one comparison of rows, which an index serves."""
    operator = "<" if columns[0].descending else ">"
    left = ", ".join(column.expression.sql for column in columns)
    right = ", ".join(f"%s::{column.sql_type}" for column in columns)
    params = tuple(value for column in columns for value in column.expression.params)
    return Clause(f"({left}) {operator} ({right})", (*params, *keys))


def _compare(order: Order, operator: str, key: object) -> Clause:
    sql = f"{order.expression.sql} {operator} %s::{order.sql_type}"
    return Clause(sql, (*order.expression.params, key))


def decode_cursor(cursor: str, orders: Sequence[Order]) -> list[object]:
    """Return the keys of a cursor's row, its number last.

    Raises SearchRefused for a cursor that this search did not hand out.
    """
    cursor = cursor.removeprefix(BEFORE)
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        values = msgspec.json.decode(raw, type=list[int | str])
        keys = [
            _typed(value, order.sql_type) for value, order in zip(values[:-1], orders, strict=True)
        ]
        return [*keys, _typed(values[-1], "bigint")]
    except (ValueError, IndexError, binascii.Error, msgspec.MsgspecError):
        raise SearchRefused(
            "`_cursor` belongs to no page of this search: follow the `next` link of an answer.",
            param="_cursor",
        ) from None


def _typed(value: int | str, sql_type: str) -> object:
    if sql_type == "bigint":
        number = int(value)
        if not -(2**63) <= number < 2**63:
            raise ValueError("out of range")
        return number
    if sql_type == "timestamptz":
        return datetime.fromisoformat(str(value))
    if sql_type == "double precision":
        return float(value)
    if "\0" in str(value):
        raise ValueError("NUL")
    return str(value)


def query_of(request: SearchRequest, cursor: str = "") -> str:
    """Return the query of the first page, or of the page at a cursor."""
    pairs = [*request.used, *request.carried]
    if cursor:
        pairs.append(("_cursor", cursor))
    return "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in pairs])


@of_short_texts(maxsize=4096)
def _quoted(text: str) -> str:
    return quote_plus(text)
