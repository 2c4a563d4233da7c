"""Finds code systems, value sets and concept maps by canonical url and version.

The project's own resources come first, then imported systems, then the core package.
https://hl7.org/fhir/R4/references.html#canonical
"""

import re
from collections import OrderedDict
from functools import lru_cache
from threading import Lock
from typing import Any, Final

import orjson

from fhir import hashes
from fhir.definitions import core_resource, type_number
from fhir.definitions.terminology import Kind
from fhir.sql import fetch
from fhir.terminology.errors import UnknownCanonical
from fhir.terminology.memory import MemorySystem
from fhir.terminology.system import CodeSystem
from fhir.terminology.tables import find_tables
from healthcloud.tenancy.scope import active_project, active_scope

_BY_URL: Final = (
    "SELECT r.rid, r.version, r.content FROM fhir_resource r WHERE r.project = %s::integer"
    " AND r.rtype = %s::smallint AND r.tokens @> ARRAY[%s::bigint] AND r.content IS NOT NULL"
    " ORDER BY r.pk"
)
_STATUS: Final = {"active": 2, "draft": 1, "unknown": 1}
_KEPT: Final = 64
_WILD: Final = re.compile(r"(?:\d+\.)*[x*](?:\.(?:\d+|[x*]))*")


def split(canonical: str) -> tuple[str, str]:
    """Return url and version of `url|version`."""
    url, _, version = canonical.partition("|")
    return url, version


def find_resource(kind: Kind, url: str, version: str = "") -> dict[str, Any] | None:
    """Return the resource with a url; of several versions the one asked for, or the latest."""
    found = [resource for resource in _stored(kind, url) if _is_version(resource, version)]
    if found:
        return max(found, key=_rank)
    core = core_resource(kind, url)
    return core if core is not None and _is_version(core, version) else None


def require_resource(kind: Kind, url: str, version: str = "") -> dict[str, Any]:
    """Return the resource with a url; raise UnknownCanonical."""
    found = find_resource(kind, url, version)
    if found is None:
        raise UnknownCanonical(kind, url, version)
    return found


def find_system(url: str, version: str = "") -> CodeSystem | None:
    """Return a code system whose concepts are known here, None without one."""
    stored = [r for r in _stored("CodeSystem", url) if _is_version(r, version) and _has_codes(r)]
    if stored:
        best = max(stored, key=_rank)
        return _cached(best)
    tables = [table for table in find_tables(url) if matches(table.version, version)]
    if tables:
        return max(tables, key=lambda table: natural(table.version))
    core = _core_system(url)
    return core if core is not None and matches(core.version, version) else None


def require_system(url: str, version: str = "") -> CodeSystem:
    """Return a code system; raise UnknownCanonical."""
    found = find_system(url, version)
    if found is None:
        raise UnknownCanonical("CodeSystem", url, version)
    return found


def system_of(resource: dict[str, Any]) -> CodeSystem:
    """Return the code system that a CodeSystem resource is, or its imported concepts."""
    if not _has_codes(resource):
        return require_system(str(resource.get("url", "")), str(resource.get("version", "")))
    return MemorySystem(resource)


def natural(version: str) -> list[tuple[int, str]]:
    """Return the key that sorts `2.10` after `2.9`."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[.\-/]", version)
    ]


def _stored(kind: Kind, url: str) -> list[dict[str, Any]]:
    _, project = active_project()
    token = hashes.uri(url) ^ hashes.param_salt(kind, "url")
    rows = fetch(_BY_URL, (project, type_number(kind), token))
    return [orjson.loads(content) for _, _, content in rows]


def _is_version(resource: dict[str, Any], version: str) -> bool:
    return matches(str(resource.get("version", "")), version)


def matches(actual: str, wanted: str) -> bool:
    """Tell whether a version is the one wanted, or of the edition that is wanted (SNOMED CT).

    Numbers with points may have x for any, and nothing behind the last: `1.x`, `1.x.x`.
    """
    if not wanted or actual == wanted or actual.startswith(f"{wanted}/"):
        return True
    if not _WILD.fullmatch(wanted):
        return False
    parts, own = wanted.split("."), actual.split(".")
    return len(parts) <= len(own) and all(
        part in {"x", "*", there} for part, there in zip(parts, own, strict=False)
    )


def _has_codes(resource: dict[str, Any]) -> bool:
    return bool(resource.get("concept")) and resource.get("content") != "supplement"


def _rank(resource: dict[str, Any]) -> tuple[int, list[tuple[int, str]], str]:
    updated = str(resource.get("meta", {}).get("lastUpdated", ""))
    status = _STATUS.get(str(resource.get("status")), 0)
    return status, natural(str(resource.get("version", ""))), updated


@lru_cache(maxsize=256)
def _core_system(url: str) -> MemorySystem | None:
    core = core_resource("CodeSystem", url)
    return MemorySystem(core) if core is not None and _has_codes(core) else None


_systems: OrderedDict[tuple[str, int, str, str], MemorySystem] = OrderedDict()
_lock = Lock()


def _cached(resource: dict[str, Any]) -> MemorySystem:
    """Return the system of a stored resource; the versions used last are kept."""
    _, project = active_project()
    meta = resource.get("meta", {})
    key = (
        active_scope().schema,
        project,
        str(resource.get("id")),
        f"{meta.get('versionId')} {meta.get('lastUpdated')}",
    )
    with _lock:
        known = _systems.get(key)
        if known is not None:
            _systems.move_to_end(key)
            return known
    made = MemorySystem(resource)
    with _lock:
        _systems[key] = made
        while len(_systems) > _KEPT:
            _systems.popitem(last=False)
    return made
