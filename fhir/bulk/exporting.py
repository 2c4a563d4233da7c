"""The export job: every resource as it was in the snapshot of the kick-off, page by page.

A page is one file and one transaction. What is written after the kick-off is not seen: the
versions come from the history, by the visibility of their transactions in the snapshot.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import orjson

from fhir import jobs
from fhir.bulk.associated import wanted_of
from fhir.bulk.patients import SUPPORTING, of_patients, referred_to
from fhir.definitions import type_number
from fhir.documents import JsonObject
from fhir.search.clause import Clause, all_of, any_of
from fhir.search.context import SearchContext
from fhir.search.parser import parse
from fhir.search.query import matching
from fhir.search.summary import subset
from fhir.sql import Row, fetch
from healthcloud.tenancy.scope import active_project, active_scope, tenant_scope

KIND: Final = "export"
PAGE: Final = 2_000
_BYTES: Final = 8 * 1024 * 1024
_SNAPSHOT: Final = "SELECT pg_current_snapshot()::text"
_ROWS: Final = """
SELECT r.rid, h.content FROM fhir_resource r CROSS JOIN LATERAL (
    SELECT v.content, v.updated FROM fhir_history v
    WHERE v.project = r.project AND v.rtype = r.rtype AND v.rid = r.rid
      AND pg_visible_in_snapshot(v.xid, %s::pg_snapshot)
    ORDER BY v.version DESC LIMIT 1) h
WHERE r.project = %s::integer AND r.rtype = %s::smallint AND r.rid > %s::text AND {condition}
ORDER BY r.rid LIMIT %s::integer
"""


def take_snapshot() -> str:
    """Return the snapshot of this moment: what is committed now will be exported."""
    return bytes(fetch(_SNAPSHOT)[0][0]).decode()


@dataclass(frozen=True, slots=True)
class Page:
    """What one step found: lines of resources and of deletions, and where to go on."""

    lines: list[bytes]
    deleted: list[bytes]
    last: str
    is_last: bool


@jobs.register(KIND)
def export_page(job: jobs.Job, now: datetime) -> jobs.Step:
    """Write the next page of the current type, or the manifest when no type is left."""
    types = [*job.request["types"], *(["Provenance"] if job.request.get("associated") else [])]
    at = int(job.position.get("at", 0))
    if at >= len(types):
        return jobs.Finished(_manifest(job))
    name = types[at]
    sight = tuple((str(key), str(value)) for key, value in job.request.get("sight", ()))
    with tenant_scope(replace(active_scope(), sight=sight)):  # of who asked: Consents hold here
        page = _page(job, name, str(job.position.get("after", "")), now)
    for role, lines in (("output", page.lines), ("deleted", page.deleted)):
        if lines:
            kind = name if role == "output" else "Bundle"
            content = b"\n".join(lines) + b"\n"
            jobs.add_file(job.id, role=role, type=kind, count=len(lines), content=content)
    count = int(job.position.get("count", 0)) + len(page.lines)
    position = {"at": at + page.is_last, "after": "" if page.is_last else page.last, "count": count}
    progress = f"{count} resources, {at + page.is_last} of {len(types)} types"
    return jobs.Unfinished(position, progress)


def _page(job: jobs.Job, name: str, after: str, now: datetime) -> Page:
    _, project = active_project()
    condition = _condition(job.request, name, SearchContext(project, now))
    values = [job.request["snapshot"], project, type_number(name), after, *condition.params]
    rows = fetch(_ROWS.format(condition=condition.sql), [*values, PAGE], prepare=False)
    taken = _within_budget(rows)
    last = taken[-1][0].decode() if taken else ""
    is_last = len(taken) == len(rows) < PAGE
    if name not in job.request["types"]:
        taken = _associated(job, taken, now)
    elements = _elements(job.request, name)
    lines, deleted = [], []
    for rid, content in taken:
        if content is not None:
            lines.append(subset(name, content, elements=elements) if elements else content)
        elif job.request.get("since") and name in job.request["types"]:
            deleted.append(_deletion(name, rid.decode()))
    return Page(lines, deleted, last, is_last)


def _associated(job: jobs.Job, rows: list[Row], now: datetime) -> list[Row]:
    """Return those of some Provenances that belong to what is exported."""
    _, project = active_project()
    context = SearchContext(project, now)
    return wanted_of(
        rows,
        types=job.request["types"],
        snapshot=job.request["snapshot"],
        condition=lambda name: _condition(job.request, name, context),
        kind=job.request["associated"],
    )


def _within_budget(rows: list[Row]) -> list[Row]:
    """Return as many rows as one file should hold."""
    size = 0
    for number, (_, content) in enumerate(rows):
        size += len(content or b"")
        if size > _BYTES and number:
            return rows[:number]
    return rows


def _condition(request: JsonObject, name: str, context: SearchContext) -> Clause:
    parts = [Clause("true")]
    if name not in request["types"]:  # a Provenance is judged by what it is about
        return parts[0]
    if request.get("since"):
        parts.append(Clause("h.updated >= %s::text::timestamptz", (request["since"],)))
    queries = request.get("filters", {}).get(name, ())
    if queries:
        parts.append(any_of([matching(parse(name, q, strict=True), context) for q in queries]))
    if request["level"] != "system":
        belongs = referred_to if name in SUPPORTING else of_patients
        parts.append(belongs(name, request.get("patients")))
    return all_of(parts)


def _elements(request: JsonObject, name: str) -> list[str]:
    """Return the elements of a type that are asked for: `Patient.name`, `birthDate`."""
    found = []
    for element in request.get("elements", ()):
        head, dot, rest = element.partition(".")
        if not dot:
            found.append(head)
        elif head == name:
            found.append(rest)
    return found


def _deletion(name: str, rid: str) -> bytes:
    entry = {"request": {"method": "DELETE", "url": f"{name}/{rid}"}}
    return orjson.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})


def _manifest(job: jobs.Job) -> JsonObject:
    """Return what the status address answers at the end."""
    request = job.request
    written = jobs.files(job.id)

    def named(role: str) -> list[JsonObject]:
        return [
            {
                "type": file.type,
                "url": f"{request['base']}/_jobs/{job.id}/{file.number}",
                "count": file.count,
            }
            for file in written
            if file.role == role
        ]

    return {
        "transactionTime": request["time"],
        "request": request["address"],
        "requiresAccessToken": True,
        "output": named("output"),
        "deleted": named("deleted"),
        "error": named("error"),
    }
