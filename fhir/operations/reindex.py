"""$reindex: index anew what is stored, as a job; this platform's own operation."""

from typing import Final

from fhir import jobs
from fhir.definitions import is_resource_type, resource_types
from fhir.documents import JsonObject
from fhir.interactions.read import read
from fhir.operations.operation import Answer, Call, Operation
from fhir.operations.parameters import InvalidParameter
from fhir.parameters.reindexing import KIND
from healthcloud.tenancy.scope import active_scope

_DEFINITION: Final = "https://healthcloud.dev/fhir/OperationDefinition/reindex"


def kick_off(call: Call) -> Answer:
    """Ask for the system, a type or a resource to be indexed; the answer says where to watch."""
    types = [call.resource_type] if call.resource_type else _types(call)
    request: JsonObject = {"types": types, "sight": active_scope().sight}
    if call.level == "instance":
        read(resource_type=call.resource_type, id=call.id)
        request["id"] = call.id
    scopes = [f"{name}:write" for name in types] if len(types) == 1 else ["fhir:write"]
    job = jobs.start(kind=KIND, request=request, scopes=scopes, actor=call.actor, now=call.now)
    return Answer(status=202, headers={"Content-Location": f"{call.base}/_jobs/{job.id}"})


def _types(call: Call) -> list[str]:
    asked = call.parameters.texts("type", commas=True)
    for name in asked:
        if not is_resource_type(name):
            raise InvalidParameter(f"`{name[:80]}` is not a FHIR R4 type.", param="type")
    return sorted(set(asked) or resource_types())


OPERATIONS = (
    Operation(
        name="reindex",
        run=kick_off,
        levels=frozenset({"system"}),
        summary="Index all resources anew.",
        inputs=frozenset({"type"}),
        definition=_DEFINITION,
        affects_state=True,
        starts_job=True,
        needs_whole=True,
        heeds_consents=True,
        weight=20,
    ),
    Operation(
        name="reindex",
        run=kick_off,
        levels=frozenset({"type", "instance"}),
        summary="Index the resources of a type, or one of them, anew.",
        definition=_DEFINITION,
        affects_state=True,
        starts_job=True,
        needs_whole=True,
        heeds_consents=True,
        weight=20,
    ),
)
