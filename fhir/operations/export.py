"""$export of the system, of all patients and of a group. https://hl7.org/fhir/uv/bulkdata/"""

from typing import Final

import orjson

from fhir import jobs
from fhir.bulk.associated import KINDS, LATEST, RELEVANT
from fhir.bulk.exporting import KIND, take_snapshot
from fhir.bulk.patients import SUPPORTING, members_of, patient_id
from fhir.bundles import warnings
from fhir.definitions import compartment_parameters, is_resource_type, resource_types
from fhir.documents import JsonObject, instant
from fhir.operations.operation import Answer, Call, Level, Operation
from fhir.operations.parameters import InvalidParameter
from fhir.search.parser import parse
from fhir.search.request import Ignored, types_touched
from healthcloud.tenancy.scope import active_scope

_FORMATS: Final = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
_BULK: Final = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/"
_INPUTS: Final = frozenset(
    {"_outputFormat", "_since", "_type", "_typeFilter", "_elements", "includeAssociatedData"}
)


def kick_off(call: Call) -> Answer:
    """Ask for an export of what is stored now; the answer says where to watch it."""
    given = call.parameters
    ignored = _ignored(call)
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
        "associated": _associated(call, types),
        "snapshot": take_snapshot(),
        "time": instant(call.now),
        "address": call.address + (f"?{call.query}" if call.query else ""),
        "base": call.base,
    }
    request["sight"] = active_scope().sight  # the Consents' part in it, which holds for the pages
    scopes = _scopes(call, types, filters)
    job = jobs.start(kind=KIND, request=request, scopes=scopes, actor=call.actor, now=call.now)
    if ignored:
        outcome = orjson.dumps(warnings(ignored)) + b"\n"
        jobs.add_file(job.id, role="error", type="OperationOutcome", count=1, content=outcome)
    return Answer(status=202, headers={"Content-Location": f"{call.base}/_jobs/{job.id}"})


def _ignored(call: Call) -> list[Ignored]:
    """Return the parameters that are left out, which the client must want; raise for others."""
    own = _INPUTS | ({"patient"} if call.level != "system" else set())
    unknown = sorted(call.parameters.names() - own)
    if unknown and call.prefer.get("handling") != "lenient":
        raise InvalidParameter(
            f"$export has no parameter `{unknown[0][:60]}` here. It takes:"
            f" {', '.join(sorted(own))}.",
            param=unknown[0],
        )
    return [Ignored(name[:60], "$export has no such parameter.") for name in unknown]


def _associated(call: Call, types: list[str]) -> str | None:
    """Return which Provenances come besides, None where all do or none."""
    wanted = call.parameters.texts("includeAssociatedData", commas=True)
    for kind in wanted:
        if kind not in KINDS:
            raise InvalidParameter(
                f"`includeAssociatedData` is {' or '.join(KINDS)}.", param="includeAssociatedData"
            )
    if not wanted or "Provenance" in types:
        return None
    call.require("Provenance:read")
    return RELEVANT if RELEVANT in wanted else LATEST


def _types(call: Call) -> list[str]:
    """Return the types to export: those asked for, or all that the level has."""
    within = set(resource_types())
    if call.level != "system":
        codes = {name for name in within if compartment_parameters("Patient").get(name)}
        within = codes | {"Patient"} | SUPPORTING
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
    if "includeAssociatedData" in call.parameters:
        needed.append("Provenance:read")
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


def _declared(level: Level, resource_type: str, what: str) -> Operation:
    """Return the operation at one of the three places where an export is asked for."""
    of_patients = frozenset({"patient"}) if resource_type else frozenset()
    name = f"{resource_type.lower()}-export" if resource_type else "export"
    return Operation(
        name="export",
        run=kick_off,
        levels=frozenset({level}),
        types=frozenset({resource_type} if resource_type else ()),
        summary=f"Export {what} as newline-delimited JSON.",
        inputs=_INPUTS | of_patients,
        any_input=True,
        definition=f"{_BULK}{name}",
        scope="*",
        starts_job=True,
        needs_whole=True,
        heeds_consents=True,
        weight=20,
    )


OPERATIONS = (
    _declared("system", "", "all resources"),
    _declared("type", "Patient", "what belongs to patients"),
    _declared("instance", "Group", "what belongs to the patients of a group"),
)
