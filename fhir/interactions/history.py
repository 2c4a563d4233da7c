"""history of an instance, a type and the system. https://hl7.org/fhir/R4/http.html#history"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypedDict
from urllib.parse import urlencode

from fhir.definitions import is_resource_type, type_name, type_number
from fhir.documents import is_id
from fhir.errors import ResourceNotFound
from fhir.identity import check_type
from fhir.indexing import own_base
from fhir.interactions.read import read
from fhir.rows import METHODS
from fhir.search.clause import array
from fhir.search.errors import SearchRefused
from fhir.search.extractors import date_range
from fhir.sql import Row, Statement, fetch_all
from fhir.stored import StoredResource
from healthcloud.tenancy.scope import active_project

MAX_COUNT: Final = 1000
MOST_COUNTED: Final = 10_000  # versions of a type or the project, of which there may be millions


class HistoryOptions(TypedDict):
    """What a request may ask of a history."""

    since: datetime | None
    at: tuple[datetime, datetime] | None
    count: int
    after: int | None
    before: int | None
    oldest_first: bool
    listed: str | None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One version and how it came to be; a deletion has no content.

    `created` says that there was no resource before, or a deleted one.
    """

    version: StoredResource
    method: str
    created: bool = False

    @property
    def deleted(self) -> bool:
        """Tell whether the version is a deletion."""
        return self.method == "DELETE"


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Versions, newest first; `next_after` continues where more follow.

    `total` is None where more than 10,000 versions of a type or the project would be counted;
    `previous_before` leads back where others came before.
    """

    entries: list[HistoryEntry]
    total: int | None
    next_after: int | None
    previous_before: int | None = None


def history(
    *,
    resource_type: str | None = None,
    id: str | None = None,
    since: datetime | None = None,
    at: tuple[datetime, datetime] | None = None,
    count: int = 50,
    after: int | None = None,
    before: int | None = None,
    oldest_first: bool = False,
    listed: str | None = None,
) -> HistoryPage:
    """Return versions of an id, a type or (without both) the project, newest first.

    `since` keeps what was written then or later, `at` what was current at some moment of a
    period, its end exclusive; `after` is the `next_after` of the page before, `before` the
    `previous_before` of the page behind; `listed` is the id of a List whose entries alone are
    kept, in the version that they name or in all. Raises
    ResourceNotFound for an id that never was.
    """
    _, project = active_project()
    where, params = ["h.project = %s::integer"], [project]
    if resource_type is not None:
        check_type(resource_type)
        where.append("h.rtype = %s::smallint")
        params.append(type_number(resource_type))
    conditions = _Conditions(where, params)
    if id is not None:
        if not is_id(id):
            raise ResourceNotFound(resource_type or "", id)
        conditions.add("h.rid = %s::text", id)
    conditions.narrow(since, at, listed)
    bound = "" if id is not None else f" LIMIT {MOST_COUNTED + 1}"
    total = Statement(
        "SELECT count(*) FROM"
        f" (SELECT 1 FROM fhir_history h WHERE {conditions.sql}{bound}) AS counted",
        [*conditions.params],
    )
    order, beyond = ("ASC", ">") if oldest_first != (before is not None) else ("DESC", "<")
    edge = after if before is None else before
    if edge is not None:
        conditions.add(f"h.seq {beyond} %s::bigint", edge)
    page = Statement(
        "SELECT h.seq, h.rtype, h.rid, h.version, h.updated, h.method, h.content,"
        f" {_AFTER_DELETION} FROM fhir_history h WHERE {conditions.sql}"
        f" ORDER BY h.seq {order} LIMIT %s::integer",
        [*conditions.params, count + 1],
    )
    totals, rows = fetch_all([total, page])
    is_whole = since is None and at is None and listed is None
    if id is not None and not totals[0][0] and is_whole:
        raise ResourceNotFound(resource_type or "", id)
    is_counted = id is not None or totals[0][0] <= MOST_COUNTED
    found = totals[0][0] if is_counted else None
    return _page(rows, count, found, after=after, before=before)


def _page(
    rows: list[Row], count: int, total: int | None, *, after: int | None, before: int | None
) -> HistoryPage:
    """Return a page of rows, of which one too many was read; backwards they come in reverse."""
    shown, more = rows[:count], len(rows) > count
    if before is not None:
        shown = shown[::-1]
    first, last = (shown[0][0], shown[-1][0]) if shown else (None, None)
    return HistoryPage(
        *([_entry(row) for row in shown], total),
        next_after=last if more or before is not None else None,
        previous_before=first if after is not None or (before is not None and more) else None,
    )


def read_options(query: Mapping[str, str]) -> HistoryOptions:
    """Return `_since`, `_at`, `_count`, `_sort` and the position of the page.

    `_summary=count` is a page without entries. Raises SearchRefused for a value that can't be read.
    """
    sort = query.get("_sort", "-_lastUpdated")
    if sort not in {"-_lastUpdated", "_lastUpdated"}:
        raise SearchRefused("A history is sorted by -_lastUpdated or _lastUpdated.", param="_sort")
    count = min(_whole(query.get("_count"), "_count", 50), MAX_COUNT)
    return {
        "since": _moment(query.get("_since"), "_since"),
        "at": _period(query.get("_at"), "_at"),
        "count": 0 if query.get("_summary") == "count" else count,
        "after": _whole(query.get("_after"), "_after", 0) or None,
        "before": _whole(query.get("_until"), "_until", 0) or None,
        "oldest_first": sort == "_lastUpdated",
        "listed": query.get("_list"),
    }


def page_links(
    address: str, sent: Sequence[tuple[str, str]], page: HistoryPage
) -> list[tuple[str, str]]:
    """Return the links `self`, `first` and, where there are other versions, to the pages beside it.

    R4 writes `previous`, the registry of link relations and R5 `prev`: both are there.
    """
    pairs = [(name, value) for name, value in sent if name not in {"_after", "_until"}]
    queries = [("self", [*sent]), ("first", pairs)]
    if page.previous_before is not None:
        back = [*pairs, ("_until", str(page.previous_before))]
        queries += [("previous", back), ("prev", back)]
    if page.next_after is not None:
        queries.append(("next", [*pairs, ("_after", str(page.next_after))]))
    return [(name, f"{address}?{urlencode(q)}" if q else address) for name, q in queries]


def _whole(text: str | None, name: str, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise SearchRefused(f"`{name}` must be a whole number.", param=name)
    return int(text)


def _moment(text: str | None, name: str) -> datetime | None:
    found = _period(text, name)
    return None if found is None else found[0]


def _period(text: str | None, name: str) -> tuple[datetime, datetime] | None:
    """Return the time that a date, dateTime or instant stands for, its end exclusive."""
    if text is None:
        return None
    try:
        return date_range(text.replace(" ", "+"))
    except (ValueError, OverflowError):
        raise SearchRefused(f"`{name}` must be an instant.", param=name) from None


def _entries_of(list_id: str) -> tuple[str, list[str], str]:
    """Return types, ids and versions (0: all of them) of what a List refers to, as arrays."""
    found: list[tuple[int, str, int]] = []
    for entry in read(resource_type="List", id=list_id).resource.get("entry", ()):
        text = str(entry.get("item", {}).get("reference", "")).removeprefix(own_base())
        name, _, version = text.partition("/_history/")
        resource_type, _, rid = name.partition("/")
        if is_resource_type(resource_type) and is_id(rid):
            number = int(version) if version.isdecimal() and len(version) < 10 else 0
            found.append((type_number(resource_type), rid, number))
    return (
        array(number for number, _, _ in found),
        [rid for _, rid, _ in found],
        array(version for _, _, version in found),
    )


_LISTED = (
    "EXISTS (SELECT 1 FROM unnest(%s::smallint[], %b::text[], %s::integer[])"
    " AS l(rtype, rid, version) WHERE l.rtype = h.rtype AND l.rid = h.rid"
    " AND l.version IN (0, h.version))"
)
_AFTER_DELETION = (
    "h.version = 1 OR EXISTS (SELECT 1 FROM fhir_history before WHERE before.project = h.project"
    " AND before.rtype = h.rtype AND before.rid = h.rid AND before.version = h.version - 1"
    " AND before.content IS NULL)"
)
_CURRENT_AT = (
    "h.updated < %s::timestamptz AND NOT EXISTS (SELECT 1 FROM fhir_history later"
    " WHERE later.project = h.project AND later.rtype = h.rtype AND later.rid = h.rid"
    " AND later.version > h.version AND later.updated <= %s::timestamptz)"
)


class _Conditions:
    """WHERE, as it grows."""

    def __init__(self, where: list[str], params: list[int]) -> None:
        self._where, self.params = where, [*map(_as_object, params)]

    @property
    def sql(self) -> str:
        return " AND ".join(self._where)

    def add(self, condition: str, *values: object) -> None:
        self._where.append(condition)
        self.params.extend(values)

    def narrow(
        self, since: datetime | None, at: tuple[datetime, datetime] | None, listed: str | None
    ) -> None:
        """Add what a request may ask of a history."""
        if since is not None:
            self.add("h.updated >= %s::timestamptz", since)
        if at is not None:
            self.add(_CURRENT_AT, at[1], at[0])
        if listed is not None:
            self.add(_LISTED, *_entries_of(listed))


def _as_object(value: int) -> object:
    return value


def _entry(row: Row) -> HistoryEntry:
    _, number, rid, version, updated, method, content, created = row
    stored = StoredResource(type_name(number), rid.decode(), version, updated, content or b"")
    return HistoryEntry(stored, METHODS[method], created)
