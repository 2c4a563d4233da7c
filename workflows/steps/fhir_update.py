"""`fhir_update`: replace a resource; the output is that of `fhir_create`."""

from typing import Any

from fhir import store
from workflows.steps.errors import InvalidArgument
from workflows.steps.fhir_create import written
from workflows.steps.registry import Call, register


def update(call: Call) -> dict[str, Any]:
    """Write `resource` under its id; with `if_match` only over that version."""
    resource = call.arguments["resource"]
    if not isinstance(resource, dict) or not all(
        isinstance(resource.get(member), str) for member in ("resourceType", "id")
    ):
        raise InvalidArgument("with.resource must be a resource with its resourceType and id")
    if_match = call.arguments.get("if_match")
    return written(
        store.update(
            resource_type=resource["resourceType"],
            id=resource["id"],
            resource=resource,
            actor=call.actor,
            now=call.now,
            if_match=None if if_match is None else f'W/"{if_match}"',
        )
    )


register("fhir_update", update)
