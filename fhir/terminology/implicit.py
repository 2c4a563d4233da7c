"""Value sets that code systems imply, without a ValueSet resource.

`?fhir_vs` of SNOMED CT (https://hl7.org/fhir/R4/snomedct.html#implicit), `/vs` of LOINC
(https://hl7.org/fhir/R4/loinc.html#vs), `CodeSystem.valueSet` of imported systems.
"""

from collections.abc import Mapping
from typing import Any, Final

from fhir.sql import fetch

SNOMED: Final = "http://snomed.info/sct"
LOINC: Final = "http://loinc.org"
_BY_VALUE_SET: Final = (
    "SELECT url FROM fhir_code_system WHERE value_set = %s::text AND ready LIMIT 1"
)


def value_set(url: str) -> dict[str, Any] | None:
    """Return the value set that a url implies, None where it implies none."""
    if url.startswith(SNOMED) and "?fhir_vs" in url:
        return _snomed(url)
    if url == f"{LOINC}/vs":
        return _whole(url, LOINC)
    if url.startswith(f"{LOINC}/vs/LL"):
        return _filtered(url, LOINC, "answer-list", "=", url.rpartition("/")[2])
    rows = fetch(_BY_VALUE_SET, (url,))
    return _whole(url, rows[0][0].decode()) if rows else None


def _snomed(url: str) -> dict[str, Any] | None:
    base, _, query = url.partition("?fhir_vs")
    version = base if base != SNOMED else ""
    wanted = query.removeprefix("=")
    if not wanted:
        return _whole(url, SNOMED, version)
    kind, _, code = wanted.partition("/")
    if kind == "isa" and code:
        return _filtered(url, SNOMED, "concept", "is-a", code, version)
    if kind == "refset":
        if not code:
            return _filtered(url, SNOMED, "refset", "exists", "true", version)
        return _filtered(url, SNOMED, "refset", "=", code, version)
    return None


def _whole(url: str, system: str, version: str = "") -> dict[str, Any]:
    return _value_set(url, {"system": system}, version)


def _filtered(
    url: str, system: str, name: str, op: str, value: str, version: str = ""
) -> dict[str, Any]:
    rule = {"property": name, "op": op, "value": value}
    return _value_set(url, {"system": system, "filter": [rule]}, version)


def _value_set(url: str, include: Mapping[str, Any], version: str) -> dict[str, Any]:
    named = {**include, "version": version} if version else dict(include)
    return {
        "resourceType": "ValueSet",
        "url": url,
        "status": "active",
        "compose": {"include": [named]},
    }
