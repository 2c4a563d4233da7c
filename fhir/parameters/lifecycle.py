"""What a written SearchParameter changes: which parameters there are, and what is indexed anew.

Each function is part of the transaction that writes the resource.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import orjson

from fhir import jobs
from fhir.definitions import SearchParameter
from fhir.documents import JsonObject
from fhir.parameters import table
from fhir.parameters.definition import (
    TYPE,
    InvalidSearchParameter,
    is_active,
    members,
    read,
)
from fhir.parameters.known import by_url
from fhir.parameters.reindexing import KIND
from fhir.rows import NewVersion
from healthcloud.actors import Actor

MAX_PARAMETERS: Final = 500


def written(versions: Sequence[NewVersion], *, project: int, actor: Actor, now: datetime) -> None:
    """Let SearchParameters that were just written come, change or go.

    Raises InvalidSearchParameter where the project has another parameter with the code.
    """
    resources = [(v.rid, orjson.loads(v.content) if v.content else None) for v in versions]
    table.change(project)
    for rid, resource in sorted(resources, key=_composites_last):
        if resource is None or not is_active(resource):
            table.remove(project, rid)
        else:
            _settle(project, rid, members(resource), actor=actor, now=now)


def _composites_last(entry: tuple[str, JsonObject | None]) -> bool:
    return "component" in (entry[1] or {})


def _settle(project: int, rid: str, definition: JsonObject, *, actor: Actor, now: datetime) -> None:
    stored = table.all_of(project)
    if any(entry.rid == rid and entry.definition == definition for entry in stored):
        return  # what changed is no matter of searches
    found = read(definition, lambda url, kind: by_url(stored, url, kind))
    if not found:  # R4 has it
        table.remove(project, rid)
        return
    others = [entry for entry in stored if entry.rid != rid]
    if len(others) >= MAX_PARAMETERS:
        raise InvalidSearchParameter(
            TYPE, f"A project has at most {MAX_PARAMETERS} search parameters.", "too-costly"
        )
    _refuse_taken(found, others)
    stamp = table.new_number()
    job = jobs.start(
        kind=KIND,
        request={"types": sorted(found), "stamp": stamp},
        scopes=[f"{TYPE}:read"],
        actor=actor,
        now=now,
    )
    table.put(project, rid, job=job.id, stamp=stamp, definition=definition)


def _refuse_taken(found: Mapping[str, SearchParameter], others: Sequence[table.Stored]) -> None:
    for entry in others:
        taken = read(entry.definition, lambda url, kind: by_url(others, url, kind), compiles=False)
        for resource_type in found.keys() & taken.keys():
            code = found[resource_type].code
            if taken[resource_type].code == code:
                raise InvalidSearchParameter(
                    f"{TYPE}.code",
                    f"{TYPE}/{entry.rid} has the code `{code}` for {resource_type}: retire it, or"
                    " choose another.",
                    "duplicate",
                )
