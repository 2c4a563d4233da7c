"""What a definition needs of its project: deployments of the assets that its steps name."""

from collections.abc import Iterator, Mapping
from typing import Final

from django.conf import settings

from assets.queries import deployment_of
from assets.registry import all_assets, find
from fhir.definitions import is_resource_type, resource_types
from fhir.search.errors import UnknownSearchParameter
from fhir.search.parser import parse as parse_search
from healthcloud.errors import HealthCloudError, ValidationFailed
from healthcloud.events import catalog
from healthcloud.tenancy.scope import active_project
from workflows import queries
from workflows.definition import Definition, Problem, Step
from workflows.reading import nearest

_CLINICAL: Final = {
    "fhir_read": "reference",
    "fhir_search": "query",
    "fhir_create": "resource",
    "fhir_update": "resource",
    "fhir_patch": "reference",
}
_NAMING: Final = {"agent": "agent", "connector": "connector", "model": "model"}
EMITTABLE: Final = ("custom.", "diagnostic.", "eligibility.", "prior_auth.", "care_gap.")


def missing(definition: Definition) -> Iterator[Problem]:
    """Yield errors for what does not exist, warnings for assets that are not deployed."""
    for step in definition.walk():
        yield from _needs(definition, step)
    for at, trigger in definition.placed_triggers():
        if trigger["kind"] == "event":
            yield from _pattern(None, f"{at}.type", trigger["type"])
        elif trigger["kind"] == "fhir":
            yield from _search(None, f"{at}.criteria", trigger["criteria"])


def _needs(definition: Definition, step: Step) -> Iterator[Problem]:
    if step.kind in _NAMING:
        yield from _asset(step, step.kind)
    elif step.kind == "emit":
        yield from _event(step)
    elif step.kind == "workflow":
        yield from _child(definition, step)
    elif step.kind == "wait" and "event" in step.arguments:
        yield from _pattern(step.id, "with.event", str(step.arguments["event"]))
    elif step.kind == "http_request":
        yield from _host(step)
    elif step.kind in _CLINICAL:
        yield from _clinical(step, _CLINICAL[step.kind])


def may_emit(type_: str) -> bool:
    """Tell whether a workflow may publish events of this type: facts of its own, not ours."""
    return type_.startswith(EMITTABLE)


def _asset(step: Step, kind: str) -> Iterator[Problem]:
    name = str(step.arguments.get(kind, ""))
    if "{{" in name or not name:
        return
    at = f"with.{kind}"
    manifest = find(name)
    if manifest is None or manifest.kind != kind:
        known = [asset.id for asset in all_assets() if asset.kind == kind]
        yield Problem(step.id, at, f"There is no {kind} `{name}`.", nearest(name, known))
        return
    project_id, _ = active_project()
    deployment = deployment_of(name, project_id)
    if deployment is None:
        message = f"`{name}` is not deployed in this project; a run would fail at this step."
        suggestion = f'POST /v1/deployments {{"asset_id": "{manifest.id}"}}'
        yield Problem(step.id, at, message, suggestion, severity="warning")


def _event(step: Step) -> Iterator[Problem]:
    type_ = str(step.arguments.get("type", ""))
    if not type_:
        return
    try:
        catalog.lookup(type_)
    except catalog.UnknownEventType as error:
        yield Problem(step.id, "with.type", error.message, nearest(type_, list(catalog.CATALOG)))
        return
    if not may_emit(type_):
        message = f"`{type_}` is published by the platform only."
        yield Problem(step.id, "with.type", message, f"custom.{type_}")


def _child(definition: Definition, step: Step) -> Iterator[Problem]:
    slug = str(step.arguments.get("workflow", ""))
    if "{{" in slug or slug in ("", definition.slug):
        return
    published = queries.workflows().filter(published_number__isnull=False)
    known = list(published.values_list("slug", flat=True))
    if slug not in known:
        message = f"Workflow `{slug}` is not published in this project; a run would fail here."
        near = nearest(slug, known)
        yield Problem(step.id, "with.workflow", message, near, severity="warning")


def _pattern(step: str | None, at: str, pattern: str) -> Iterator[Problem]:
    try:
        catalog.check_pattern(pattern)
    except ValidationFailed as error:
        yield Problem(step, at, error.message, nearest(pattern, list(catalog.CATALOG)))


def _clinical(step: Step, argument: str) -> Iterator[Problem]:
    """Yield what is wrong with a resource type, and with a search, that no expression decides."""
    value, at = step.arguments.get(argument), f"with.{argument}"
    if value is None:
        return  # that it is missing is said elsewhere
    if isinstance(value, Mapping):
        yield from _type(step.id, f"{at}.resourceType", str(value.get("resourceType", "")))
        return
    text = str(value).strip().lstrip("/")
    if argument == "query":
        yield from _search(step.id, at, text)
    else:
        yield from _type(step.id, at, text.partition("/")[0])


def _type(step: str | None, at: str, name: str) -> Iterator[Problem]:
    if "{{" not in name and not is_resource_type(name):
        message = f"`{name[:64]}` is not a resource type of FHIR R4."
        yield Problem(step, at, message, nearest(name, resource_types()))


def _search(step: str | None, at: str, text: str) -> Iterator[Problem]:
    """Yield why a search is refused.

    A parameter that is not known is passed over when a step runs, but none may be in a trigger.
    """
    resource_type, _, query = text.partition("?")
    if found := list(_type(step, at, resource_type)):
        yield from found
        return
    if step is not None and "{{" in text:
        return
    try:
        parse_search(resource_type, query, strict=True)
    except HealthCloudError as error:
        if step is not None and isinstance(error, UnknownSearchParameter):
            yield Problem(step, at, error.message, severity="warning")
        else:
            yield Problem(step, at, f"Not a search: {error.message}")


def _host(step: Step) -> Iterator[Problem]:
    """Warn of a constant address whose host this deployment does not allow."""
    url = str(step.arguments.get("url", ""))
    host = url.partition("://")[2].partition("/")[0].partition(":")[0].lower()
    if "{{" in host or not host:
        return
    allowed = settings.WORKFLOW_HTTP_HOSTS
    names = [name.partition(":")[0] for name in allowed]
    if not any(host == n or (n.startswith("*.") and host.endswith(n[1:])) for n in names):
        message = f"`{host}` is not among the hosts that workflows may call here."
        hint = f"HEALTHCLOUD_WORKFLOW_HTTP_HOSTS={','.join([*allowed, host])}"
        yield Problem(step.id, "with.url", message, hint, severity="warning")
