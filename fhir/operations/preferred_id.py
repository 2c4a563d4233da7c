"""NamingSystem/$preferred-id: another name of the same system.

https://hl7.org/fhir/R4/namingsystem-operation-preferred-id.html
"""

from typing import Final

from fhir.documents import JsonObject
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter, parameters, part
from fhir.search import search
from fhir.search.values import escape
from healthcloud.errors import NotFound

_TYPES: Final = ("oid", "uuid", "uri", "other")


def preferred_id(call: Call) -> JsonObject:
    """Answer the identifier of a type that a NamingSystem knows for the one that is given.

    Several are no answer unless one is preferred. Raises NotFound where no NamingSystem of the
    project has the identifier, or none of the type beside it.
    """
    known, kind = call.parameters.required("id"), call.parameters.required("type")
    if kind not in _TYPES:
        raise InvalidParameter(f"`type` is one of {', '.join(_TYPES)}.", param="type")
    found = search(
        resource_type="NamingSystem", query=[("value:exact", escape(known))], now=call.now
    )
    names = [name for entry in found.entries for name in entry.resource["uniqueId"]]
    ours = [name for name in names if name["type"] == kind]
    values = {name["value"] for name in ours if name.get("preferred")} or {
        name["value"] for name in ours
    }
    if not values:
        raise NotFound(f"No NamingSystem here has an identifier of type {kind} for that one.")
    if len(values) > 1:
        raise InvalidParameter(
            f"There are several identifiers of type {kind}, and none is preferred.", param="type"
        )
    return parameters(part("result", valueString=values.pop()))


OPERATION = Operation(
    name="preferred-id",
    run=preferred_id,
    levels=frozenset({"type"}),
    types=frozenset({"NamingSystem"}),
    summary="Find another identifier of the same system.",
    inputs=frozenset({"id", "type"}),
    definition=f"{HL7}NamingSystem-preferred-id",
)
