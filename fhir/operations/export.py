"""$export of the system, of all patients and of a group. https://hl7.org/fhir/uv/bulkdata/"""

from typing import Final

from fhir import jobs
from fhir.bulk.exporting import KIND, take_snapshot
from fhir.bulk.patients import members_of, patient_id
from fhir.definitions import compartment_parameters, is_resource_type, resource_types
from fhir.documents import JsonObject, instant
from fhir.operations.operation import Answer, Call, Operation
from fhir.operations.parameters import InvalidParameter
from fhir.search.parser import parse
from fhir.search.request import types_touched

_FORMATS: Final = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
_BULK: Final = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/"
_INPUTS: Final = frozenset({"_outputFormat", "_since", "_type", "_typeFilter", "_elements"})


def kick_off(call: Call) -> Answer:
    """Ask for an export of what is stored now; the answer says where to watch it."""
    given = call.parameters
    output = (given.text("_outputFormat") or "ndjson").replace(" ", "+")
    if output not in _FORMATS:
        raise InvalidParameter("`_outputFormat` is application/fhir+ndjson.", param="_outputFormat")
    types = _types(call)
    filters = _filters(call, types)
    since = given.moment("_since")
    request: JsonObject = {
        "level": call.level,
        "types": types,
        "filters": filters,
        "elements": given.texts("_elements", commas=True),
        "since": since.isoformat() if since else None,
        "patients": _patients(call),
        "snapshot": take_snapshot(),
        "time": instant(call.now),
        "address": call.address + (f"?{call.query}" if call.query else ""),
        "base": call.base,
    }
    scopes = _scopes(call, types, filters)
    job = jobs.start(kind=KIND, request=request, scopes=scopes, actor=call.actor, now=call.now)
    return Answer(status=202, headers={"Content-Location": f"{call.base}/_jobs/{job.id}"})


def _types(call: Call) -> list[str]:
    """Return the types to export: those asked for, or all that the level has."""
    within = set(resource_types())
    if call.level != "system":
        codes = {name for name in within if compartment_parameters("Patient").get(name)}
        within = codes | {"Patient"}
    asked = call.parameters.texts("_type", commas=True)
    for name in asked:
        if not is_resource_type(name):
            raise InvalidParameter(f"`{name[:80]}` is not a FHIR R4 type.", param="_type")
        if name not in within:
            raise InvalidParameter(f"{name} is never of a patient.", param="_type")
    return sorted(set(asked) or within)


def _filters(call: Call, types: list[str]) -> dict[str, list[str]]:
    """Return the queries of `_typeFilter` by type, each of which can be run."""
    found: dict[str, list[str]] = {}
    for text in call.parameters.texts("_typeFilter"):
        name, mark, query = text.partition("?")
        if not mark or name not in types:
            raise InvalidParameter(
                "`_typeFilter` is such as `Observation?status=final`, of a type that is exported.",
                param="_typeFilter",
            )
        for touched in types_touched(parse(name, query, strict=True)):
            call.require(f"{touched}:read")
        found.setdefault(name, []).append(query)
    return found


def _scopes(call: Call, types: list[str], filters: dict[str, list[str]]) -> list[str]:
    """Return the scopes that the export and its output need; raise Forbidden without them."""
    named = "_type" in call.parameters
    needed = [f"{name}:read" for name in types] if named else ["fhir:read"]
    if call.level == "instance":
        needed.append("Group:read")
    for name, queries in filters.items():
        for query in queries:
            touched = types_touched(parse(name, query))
            needed += [f"{other}:read" for other in sorted(touched)]
    call.require(*needed)
    return sorted(set(needed))


def _patients(call: Call) -> list[str] | None:
    """Return the ids of the patients meant, None for all of them."""
    chosen = [
        patient_id(reference.get("reference"), "patient")
        for reference in call.parameters.elements("patient", "Reference")
    ]
    if call.level != "instance":
        return chosen or None
    return [rid for rid in members_of(call.id) if not chosen or rid in chosen]


OPERATIONS = (
    Operation(
        name="export",
        run=kick_off,
        levels=frozenset({"system"}),
        summary="Export all resources as newline-delimited JSON.",
        inputs=_INPUTS,
        definition=f"{_BULK}export",
        scope="*",
        starts_job=True,
        weight=20,
    ),
    Operation(
        name="export",
        run=kick_off,
        levels=frozenset({"type"}),
        types=frozenset({"Patient"}),
        summary="Export what belongs to patients as newline-delimited JSON.",
        inputs=_INPUTS | {"patient"},
        definition=f"{_BULK}patient-export",
        scope="*",
        starts_job=True,
        weight=20,
    ),
    Operation(
        name="export",
        run=kick_off,
        levels=frozenset({"instance"}),
        types=frozenset({"Group"}),
        summary="Export what belongs to the patients of a group as newline-delimited JSON.",
        inputs=_INPUTS | {"patient"},
        definition=f"{_BULK}group-export",
        scope="*",
        starts_job=True,
        weight=20,
    ),
)
