"""`fhir_patch`: change parts of a resource by JSON Patch; the output is that of `fhir_create`."""

from typing import Any
from urllib.parse import unquote

import orjson

from fhir import store
from fhir.patches import read_patch
from workflows.steps.errors import InvalidArgument
from workflows.steps.fhir_create import written
from workflows.steps.fhir_read import REFERENCE
from workflows.steps.registry import Call, register


def patch(call: Call) -> dict[str, Any]:
    """Apply the operations to the current version; all or none."""
    reference = call.arguments["reference"]
    found = REFERENCE.fullmatch(unquote(reference)) if isinstance(reference, str) else None
    if found is None:
        raise InvalidArgument("with.reference must be such as `ServiceRequest/order-1`")
    operations = call.arguments["patch"]
    if not isinstance(operations, list):
        raise InvalidArgument("with.patch must be a list of JSON Patch operations")
    resource_type, resource_id, _ = found.groups()
    if_match = call.arguments.get("if_match")
    return written(
        store.patch(
            resource_type=resource_type,
            id=resource_id,
            patch=read_patch(orjson.dumps(operations), "application/json-patch+json"),
            actor=call.actor,
            now=call.now,
            if_match=None if if_match is None else f'W/"{if_match}"',
        )
    )


register("fhir_patch", patch)
