"""`fhir_read`: read one resource; the output is the resource."""

import re
from typing import Any
from urllib.parse import unquote

from fhir import store
from workflows.steps.errors import InvalidArgument
from workflows.steps.registry import Call, register

REFERENCE = re.compile(r"(?:.*/)?([A-Z][A-Za-z]+)/([A-Za-z0-9\-._]{1,64})(?:/_history/(\d+))?")


def read(call: Call) -> Any:  # noqa: ANN401  # a resource
    """Return the resource that `reference` names (also with a version)."""
    reference = call.arguments["reference"]
    found = REFERENCE.fullmatch(unquote(reference)) if isinstance(reference, str) else None
    if found is None:
        raise InvalidArgument("with.reference must be such as `Patient/pat_123`")
    resource_type, resource_id, version = found.groups()
    if version:
        return store.vread(
            resource_type=resource_type, id=resource_id, version=int(version)
        ).resource
    return store.read(resource_type=resource_type, id=resource_id).resource


register("fhir_read", read, lockless=lambda arguments: True)
