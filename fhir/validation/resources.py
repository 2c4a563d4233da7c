"""Validates a resource with everything in it: contained, entries of bundles, parameters."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fhir.definitions import is_resource_type, resource_types
from fhir.validation.invariants.rule import Context
from fhir.validation.issues import Issue
from fhir.validation.references import entry_types
from fhir.validation.structure import preload_schemas, structure_issues
from fhir.validation.walk import resource_table, rule_issues

Resource = dict[str, Any]
Json = Any  # any parsed JSON value: that is what is being validated


def validate(
    resource: Resource, *, resource_type: str | None = None, warnings: bool = False
) -> list[Issue]:
    """Answer every fault of a resource; an empty list means that it is valid FHIR R4.

    `resource_type` is the type the caller expects, for instance from the url. `warnings` adds
    the invariants that R4 calls warnings, as `$validate` does.
    """
    try:
        return _type_issues(resource, resource_type) or _resource_issues(
            Context(resource, resource), warnings
        )
    except RecursionError:
        text = "The resource is nested hundreds of levels deep: flatten it."
        return [Issue("error", "too-costly", "", text)]
    except UnicodeEncodeError:
        text = "A string holds half of a surrogate pair, which is no character: correct it."
        return [Issue("error", "value", "", text)]


def is_valid(resource: Resource, *, resource_type: str | None = None) -> bool:
    """Say whether a resource is valid, without saying why not."""
    return not validate(resource, resource_type=resource_type)


def preload() -> None:
    """Compile everything for all types, for servers that fork."""
    preload_schemas()
    for resource_type in resource_types():
        resource_table(resource_type)


def _resource_issues(context: Context, warnings: bool) -> list[Issue]:
    resource = context.resource
    issues = structure_issues(resource, resource["resourceType"])
    issues += rule_issues(context, warnings=warnings, is_sound=not issues)
    entries = entry_types(resource) if "entry" in resource else context.entries
    for place, inner, is_contained in inner_resources(resource):
        wrong = _type_issues(inner, None)
        if not wrong:
            root = context.root if is_contained else inner
            wrong = _resource_issues(Context(inner, root, entries), warnings)
        issues += [moved(issue, place, inner) for issue in wrong]
    return issues


def _type_issues(resource: Json, expected: str | None) -> list[Issue]:
    """Answer what keeps us from knowing the type, which ends the validation."""
    if not isinstance(resource, dict):
        text = "A resource must be a JSON object with a resourceType."
        return [Issue("error", "structure", "", text)]
    found = resource.get("resourceType")
    if found is None:
        hint = f'"{expected}"' if expected else "the name of its type"
        text = f"resourceType is required and is missing: add it as {hint}."
        return [Issue("error", "required", "resourceType", text)]
    if not isinstance(found, str) or not is_resource_type(found):
        text = f"resourceType is {found!r}, which is none of the {len(resource_types())} of R4."
        return [Issue("error", "structure", "resourceType", text)]
    if expected is not None and found != expected:
        text = f"resourceType is {found}, but a {expected} is expected here: send it as {found}."
        return [Issue("error", "structure", "resourceType", text)]
    return []


def inner_resources(resource: Resource) -> Iterator[tuple[str, Json, bool]]:
    """Yield what stands inside with its place, and whether it is contained (lives not alone)."""
    kind = resource["resourceType"]
    if "contained" in resource:
        for index, inner in enumerate(_items(resource["contained"])):
            yield f"{kind}.contained[{index}]", inner, True
    if kind == "Bundle":
        yield from ((place, inner, False) for place, inner in _bundled(resource))
    elif kind == "Parameters":
        parameters = _parameters("Parameters.parameter", resource.get("parameter"))
        yield from ((place, inner, False) for place, inner in parameters)


def _bundled(bundle: Resource) -> Iterator[tuple[str, Json]]:
    for index, entry in enumerate(_items(bundle.get("entry"))):
        if not isinstance(entry, dict):
            continue
        if "resource" in entry:
            yield f"Bundle.entry[{index}].resource", entry["resource"]
        response = entry.get("response")
        if isinstance(response, dict) and "outcome" in response:
            yield f"Bundle.entry[{index}].response.outcome", response["outcome"]


def _parameters(place: str, parameters: Json) -> Iterator[tuple[str, Json]]:
    for index, parameter in enumerate(_items(parameters)):
        if not isinstance(parameter, dict):
            continue
        if "resource" in parameter:
            yield f"{place}[{index}].resource", parameter["resource"]
        if "part" in parameter:
            yield from _parameters(f"{place}[{index}].part", parameter["part"])


def _items(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def moved(issue: Issue, place: str, inner: Json) -> Issue:
    """Move an issue of an inner resource to its place in the outer one."""
    kind = inner.get("resourceType") if isinstance(inner, dict) else None
    below = issue.expression.removeprefix(str(kind)) if isinstance(kind, str) else ""
    if below and not below.startswith("."):
        below = f".{below}"
    return replace(issue, expression=place + below, diagnostics=f"{place}: {issue.diagnostics}")
