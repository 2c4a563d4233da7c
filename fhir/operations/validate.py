"""`$validate`: what the definitions and profiles say of a resource; nothing is stored.

https://hl7.org/fhir/R4/resource-operation-validate.html
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from fhir import store
from fhir.checking import MODES, judge
from fhir.documents import JsonObject
from fhir.errors import ResourceMismatch
from fhir.operations.operation import GENERAL, Call, Operation
from fhir.operations.parameters import InvalidParameter, Parameters
from fhir.validation import outcome

_INPUTS: Final = frozenset({"resource", "mode", "profile"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asks: which resource (None: that of the address), against what, and for what."""

    resource: JsonObject | None
    mode: str | None
    profiles: tuple[str, ...]


def validate(call: Call) -> JsonObject:
    """Answer an OperationOutcome with all issues of the resource that was sent, or is stored.

    Raises InvalidParameter for a call that names no resource, or a mode that is none.
    """
    asked = _asked(call)
    if asked.mode == "delete":
        if not call.id:
            raise InvalidParameter("mode=delete is for an instance: {type}/{id}/$validate.")
        store.read(resource_type=call.resource_type, id=call.id)
        return outcome([])
    data = asked.resource
    if data is None and call.id:
        data = store.read(resource_type=call.resource_type, id=call.id).resource
    if data is None:
        raise InvalidParameter("Send the resource, or Parameters with one named `resource`.")
    if call.resource_type and data.get("resourceType") != call.resource_type:
        raise ResourceMismatch(f"The body is no {call.resource_type}.", param="resourceType")
    return outcome(judge(data, profiles=asked.profiles, mode=asked.mode, id=call.id))


def _asked(call: Call) -> Asked:
    """Read a call: Parameters of the operation, or the resource itself, which may be Parameters."""
    body, given = call.body, call.parameters
    if body is None or body.resource_type != "Parameters":
        return _read(body.data if body is not None else None, given)
    if "resource" in given or call.resource_type != "Parameters":
        return _read(given.resource("resource"), given)
    pairs = parse_qsl(call.query, keep_blank_values=True)
    return _read(body.data, Parameters.from_query((n, v) for n, v in pairs if n not in GENERAL))


def _read(resource: JsonObject | None, given: Parameters) -> Asked:
    for name in sorted(given.names() - _INPUTS):
        known = ", ".join(sorted(_INPUTS))
        raise InvalidParameter(
            f"$validate has no parameter `{name[:60]}`. It takes: {known}.", param=name
        )
    mode, profiles = given.text("mode"), tuple(dict.fromkeys(given.texts("profile")))
    if mode is not None and mode not in MODES:
        raise InvalidParameter(f"`mode` is one of {', '.join(MODES)}.", param="mode")
    if mode == "profile" and not profiles:
        raise InvalidParameter(
            "mode=profile needs a `profile` to validate against.", param="profile"
        )
    return Asked(resource, mode, profiles)


OPERATION = Operation(
    name="validate",
    run=validate,
    levels=frozenset({"system", "type", "instance"}),
    summary="Answer all issues of a resource, of its profiles too; nothing is stored.",
    inputs=_INPUTS,
    any_input=True,
    bare="resource",
    keeps_parameters=True,
)
