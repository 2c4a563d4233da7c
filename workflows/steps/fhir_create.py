"""`fhir_create`: create a resource; the output is `{"reference", "id", "version", "created"}`."""

from typing import Any, Final

from fhir import store
from workflows.steps.errors import InvalidArgument
from workflows.steps.registry import Call, register

_TAKING_EFFECT: Final = frozenset({"Subscription", "SearchParameter"})  # they ask for more


def create(call: Call) -> dict[str, Any]:
    """Create `resource`, or with `if_none_exist` answer the one that is there."""
    resource = call.arguments["resource"]
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        raise InvalidArgument("with.resource must be a resource with its resourceType")
    stored = store.create(
        resource=resource,
        resource_type=resource["resourceType"],
        actor=call.actor,
        now=call.now,
        if_none_exist=call.arguments.get("if_none_exist"),
    )
    return written(stored)


def written(stored: store.StoredResource) -> dict[str, Any]:
    """Return what a write answers."""
    return {
        "reference": stored.reference,
        "versioned_reference": stored.versioned_reference,
        "id": stored.id,
        "version": stored.version,
        "created": stored.created,
    }


def _is_lockless(arguments: dict[str, Any]) -> bool:
    """Return whether nobody may wait for the resource: equal conditions wait for each other."""
    resource = arguments["resource"]
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    return not arguments.get("if_none_exist") and kind not in _TAKING_EFFECT


register("fhir_create", create, lockless=_is_lockless)
