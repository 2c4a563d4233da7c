"""The job that indexes anew what is stored, in chunks, beside everybody who reads and writes.

It begins when all writers have ended that may not know the present parameters; whoever writes
after them does. A chunk locks its rows, so that it never puts an older version's index over a
newer one's; chunk and position are one transaction, so that a killed worker repeats one chunk.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import orjson

from fhir import jobs
from fhir.definitions import type_number
from fhir.documents import JsonObject
from fhir.hashes import self_hash
from fhir.indexing import index_resource
from fhir.parameters import table
from fhir.parameters.known import Known, current
from fhir.rows import (
    NewVersion,
    date_columns,
    quantity_columns,
    resource_columns,
    string_columns,
)
from fhir.sql import Row, fetch
from healthcloud.tenancy.scope import active_project

KIND: Final = "reindex"
CHUNK: Final = 200
_PAUSE_SECONDS: Final = 0.1

# Whoever writes resources holds this lock from before their statement sees what is committed.
_WRITERS: Final = (
    "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE locktype = 'relation'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND relation = 'fhir_resource'::regclass AND mode = 'RowExclusiveLock'"
    " AND pid <> pg_backend_pid() ORDER BY 1"
)
_NEXT: Final = (
    "SELECT pk, rid FROM fhir_resource WHERE project = %s::integer AND rtype = %s::smallint"
    " AND rid > %s::text ORDER BY rid LIMIT %s::integer"
)
_ONE: Final = (
    "SELECT pk, rid FROM fhir_resource WHERE project = %s::integer AND rtype = %s::smallint"
    " AND rid = %s::text"
)
_LOCK: Final = (
    "SELECT pk, rid, version, content FROM fhir_resource WHERE pk = ANY(%s::bigint[])"
    " AND content IS NOT NULL ORDER BY pk FOR NO KEY UPDATE"
)
_REWRITE: Final = """
WITH x AS (
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
        %b::text[]) AS x(pk, self, patient, date_low, date_high, tokens)
), r AS (
    UPDATE fhir_resource AS current SET patient = x.patient, date_low = x.date_low,
        date_high = x.date_high, tokens = x.tokens::bigint[]
    FROM x WHERE current.pk = x.pk AND (NOT (current.tokens @> x.tokens::bigint[]
        AND current.tokens <@ x.tokens::bigint[]) OR (current.patient, current.date_low,
        current.date_high) IS DISTINCT FROM (x.patient, x.date_low, x.date_high))
), clear_date AS (DELETE FROM fhir_date WHERE resource IN (SELECT pk FROM x)
), clear_quantity AS (DELETE FROM fhir_quantity WHERE resource IN (SELECT pk FROM x)
), clear_string AS (DELETE FROM fhir_string WHERE resource IN (SELECT pk FROM x)
), d AS (
    INSERT INTO fhir_date (resource, low, high, project, param, rtype)
    SELECT x.pk, v.low, v.high, %s::integer, v.param, %s::smallint
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS v(self, param, low, high)
    JOIN x USING (self)
), q AS (
    INSERT INTO fhir_quantity (resource, low, high, canonical_low, canonical_high, unit, code,
        printed, project, param, rtype)
    SELECT x.pk, v.low, v.high, v.canonical_low, v.canonical_high, v.unit, v.code, v.printed,
        %s::integer, v.param, %s::smallint
    FROM unnest(%s::bigint[], %s::bigint[], %s::double precision[], %s::double precision[],
        %s::double precision[], %s::double precision[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS v(self, param, low, high, canonical_low, canonical_high, unit, code, printed)
    JOIN x USING (self)
)
INSERT INTO fhir_string (resource, project, param, rtype, folded, exact)
SELECT x.pk, %s::integer, v.param, %s::smallint, v.folded, v.exact
FROM unnest(%s::bigint[], %s::bigint[], %b::text[], %b::text[]) AS v(self, param, folded, exact)
JOIN x USING (self)
"""


def pause(job: jobs.Job) -> object:
    """Give the writers that the job waits for a moment, with no transaction open."""
    if job.position.get("writers"):
        time.sleep(_PAUSE_SECONDS)
    return None


@jobs.register(KIND, before=pause)
def reindex(job: jobs.Job, now: datetime) -> jobs.Step:
    """Wait for earlier writers, or index the next chunk, or let searches use what is indexed."""
    _, project = active_project()
    position = job.position
    if "writers" not in position:
        return _begin(job, project)
    if position["writers"]:
        still = sorted({*position["writers"]} & {*_writers()})
        return jobs.Unfinished({**position, "writers": still}, "waiting for earlier writers")
    types: list[str] = job.request["types"]
    if position["type"] >= len(types):
        return _finish(position, project)
    name = types[position["type"]]
    chosen = _chosen(job, project, name)
    written = _index(project, name, [pk for pk, _ in chosen], current()) if chosen else 0
    position = {**position, "indexed": position["indexed"] + written}
    if len(chosen) < CHUNK:
        position |= {"type": position["type"] + 1, "after": ""}
    else:
        position |= {"after": chosen[-1][1].decode()}
    return jobs.Unfinished(position, f"{position['indexed']} resources, at {name}")


def _begin(job: jobs.Job, project: int) -> jobs.Step:
    """Note who writes now, and which parameters wait for what this job does."""
    waiting = [entry for entry in table.all_of(project) if entry.state != "ready"]
    own = job.request.get("stamp")
    if own is not None and own not in {entry.stamp for entry in waiting}:
        return jobs.Finished(_result(0))  # it was changed since, or another job was sooner
    types = set(job.request["types"])
    whole = "id" not in job.request
    known = current()
    stamps = [entry.stamp for entry in waiting if whole and _types(known, entry) <= types]
    writers = _writers()
    start: JsonObject = {"type": 0, "after": "", "indexed": 0, "stamps": stamps}
    return jobs.Unfinished({**start, "writers": writers}, "begun")


def _types(known: Known, entry: table.Stored) -> set[str]:
    code, url = entry.definition["code"], entry.definition["url"]
    return {
        name
        for name, found in known.by_type.items()
        if code in found.by_code and found.by_code[code].url == url
    }


def _writers() -> list[str]:
    return [row[0].decode() for row in fetch(_WRITERS)]


def _chosen(job: jobs.Job, project: int, name: str) -> list[Row]:
    """Return key and id of the next resources."""
    number = type_number(name)
    if "id" in job.request:
        return fetch(_ONE, (project, number, job.request["id"]))
    return fetch(_NEXT, (project, number, job.position["after"], CHUNK))


def _index(project: int, name: str, keys: Sequence[int], known: Known) -> int:
    """Index resources as they are now; return how many there are."""
    custom, number = known.extractor(name), type_number(name)
    found = fetch(_LOCK, ([*keys],))
    batch = [
        NewVersion(
            type_number=number,
            rid=rid.decode(),
            key=self_hash(name, rid.decode()),
            version=version,
            method="PUT",
            content=content,
            index=index_resource(name, rid.decode(), orjson.loads(content), custom),
            pk=pk,
        )
        for pk, rid, version, content in found
    ]
    if batch:
        own, _, _, _, _, patient, low, high, tokens, _ = resource_columns(batch)
        params = [[row[0] for row in found], own, patient, low, high, tokens]
        for columns in (date_columns, quantity_columns, string_columns):
            params += [project, number, *columns(batch)]
        fetch(_REWRITE, params)
    return len(batch)


def _finish(position: JsonObject, project: int) -> jobs.Step:
    if position["stamps"]:
        table.change(project)
        table.make_ready(project, position["stamps"])
    return jobs.Finished(_result(position["indexed"]))


def _result(indexed: int) -> JsonObject:
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": "indexed", "valueInteger": indexed}],
    }
