"""Searches inside `contained`. https://hl7.org/fhir/R4/search.html#contained

What holds a contained resource of a type has a token that says so. Such holders are read in
portions, and what they hold is judged by the criteria as stored rows are. Pages follow the order
of storing; one that takes long ends early and leads on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from fhir import hashes
from fhir.rows import STORED_COLUMNS, stored_of
from fhir.search.clause import array
from fhir.search.errors import SearchRefused
from fhir.search.judging import Candidate, matching
from fhir.search.request import SearchRequest
from fhir.sql import Row, fetch
from fhir.stored import StoredResource

PORTION: Final = 250
MAX_PORTIONS: Final = 20
_CURSOR: Final = "c"
_HOLDERS: Final = (
    f"SELECT {STORED_COLUMNS}, r.pk FROM fhir_resource r WHERE r.project = %s::integer"
    " AND r.content IS NOT NULL AND r.tokens @> %s::bigint[] AND r.pk >= %s::bigint"
    " ORDER BY r.pk LIMIT %s::integer"
)


@dataclass(unsafe_hash=True)
class ContainedResource(StoredResource):
    """A contained resource: its address is that of its container and a fragment."""

    container: str = ""

    @property
    def reference(self) -> str:
        """Return `Type/id#contained`."""
        return f"{self.container}#{self.id}"


@dataclass(frozen=True, slots=True)
class ContainedPage:
    """What was found, and where the next page begins, if anything may lie behind it."""

    entries: list[StoredResource]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """A holder, the number of its row, and the position of what it contains."""

    pk: int
    position: int
    holder: StoredResource
    resource: ContainedResource


def is_contained_cursor(cursor: str) -> bool:
    """Tell whether a page is one of contained resources."""
    return cursor.startswith(_CURSOR)


def find_contained(
    request: SearchRequest, *, cursor: str, count: int, project: int, now: datetime
) -> ContainedPage:
    """Return the contained resources that match, or what contains them, after a cursor.

    Raises SearchRefused for a cursor that no page handed out.
    """
    start, position = _read_cursor(cursor)
    entries: list[StoredResource] = []
    for number, portion in enumerate(_portions(request.resource_type, project, start)):
        if number == MAX_PORTIONS:
            return ContainedPage(entries, f"{_CURSOR}{portion[0][-1]}.0")
        for place in _matching(request, portion, project, now):
            if (place.pk, place.position) < (start, position):
                continue
            if len(entries) == count:
                return ContainedPage(entries, f"{_CURSOR}{place.pk}.{place.position}")
            is_inner = request.contained_type == "contained"
            entries.append(place.resource if is_inner else place.holder)
    return ContainedPage(entries, None)


def count_contained(request: SearchRequest, *, project: int, now: datetime) -> int:
    """Return how many there are; raise SearchRefused where that would take too long."""
    total = 0
    for number, portion in enumerate(_portions(request.resource_type, project, 0)):
        if number == MAX_PORTIONS:
            raise SearchRefused(
                f"More than {PORTION * MAX_PORTIONS} resources contain a {request.resource_type}:"
                " they are not counted. Page through them without `_total`.",
                param="_total",
            )
        total += sum(1 for _ in _matching(request, portion, project, now))
    return total


def _portions(resource_type: str, project: int, start: int) -> Iterator[list[Row]]:
    token = array([hashes.contains(resource_type)])
    while True:
        rows = fetch(_HOLDERS, (project, token, start, PORTION))
        if rows:
            yield rows
        if len(rows) < PORTION:
            return
        start = rows[-1][-1] + 1


def _matching(
    request: SearchRequest, rows: Sequence[Row], project: int, now: datetime
) -> Iterator[_Place]:
    """Yield what matches in the order of storing: each contained resource, or each holder once."""
    places = [place for row in rows for place in _inside(row, request.resource_type)]
    candidates = [
        Candidate(
            key=key,
            resource_type=request.resource_type,
            id=f"{place.holder.reference}#{place.position}",
            version=place.holder.version,
            updated_at=place.holder.updated_at,
            content=place.resource.content,
        )
        for key, place in enumerate(places)
    ]
    found = matching(request, candidates, project=project, now=now)
    seen: set[int] = set()
    for key in sorted(found):
        place = places[key]
        if request.contained_type == "container" and place.pk in seen:
            continue
        seen.add(place.pk)
        yield place


def _inside(row: Row, resource_type: str) -> Iterator[_Place]:
    holder = stored_of(row)
    for position, data in enumerate(holder.resource.get("contained", ())):
        if data.get("resourceType") == resource_type:
            resource = ContainedResource(
                resource_type=resource_type,
                id=str(data.get("id", "")),
                version=holder.version,
                updated_at=holder.updated_at,
                content=orjson.dumps(data),
                container=holder.reference,
            )
            yield _Place(row[-1], position, holder, resource)


def _read_cursor(cursor: str) -> tuple[int, int]:
    if not cursor:
        return 0, 0
    pk, _, position = cursor.removeprefix(_CURSOR).partition(".")
    try:
        numbers = int(pk), int(position)
    except ValueError:
        numbers = -1, -1
    if not all(0 <= number < 2**63 for number in numbers):
        raise SearchRefused(
            "`_cursor` belongs to no page of this search: follow the `next` link of an answer.",
            param="_cursor",
        )
    return numbers
