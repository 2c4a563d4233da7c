"""What a definition needs of its project: deployments of the assets that its steps name."""

from collections.abc import Iterator
from typing import Final

from assets.queries import deployment_of
from assets.registry import all_assets, find
from healthcloud.events import catalog
from healthcloud.tenancy.scope import active_project
from workflows.definition import Definition, Problem, Step
from workflows.reading import nearest

_NAMING: Final = {"agent": "agent", "connector": "connector", "model": "model"}
EMITTABLE: Final = ("custom.", "diagnostic.", "eligibility.", "prior_auth.", "care_gap.")


def missing(definition: Definition) -> Iterator[Problem]:
    """Yield errors for what does not exist, warnings for assets that are not deployed."""
    for step in definition.walk():
        if step.kind in _NAMING:
            yield from _asset(step, step.kind)
        elif step.kind == "emit":
            yield from _event(step)


def may_emit(type_: str) -> bool:
    """Tell whether a workflow may publish events of this type: facts of its own, not ours."""
    return type_.startswith(EMITTABLE)


def _asset(step: Step, kind: str) -> Iterator[Problem]:
    name = str(step.arguments.get(kind, ""))
    if "{{" in name:
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
    try:
        catalog.lookup(type_)
    except catalog.UnknownEventType as error:
        yield Problem(step.id, "with.type", error.message, nearest(type_, list(catalog.CATALOG)))
        return
    if not may_emit(type_):
        message = f"`{type_}` is published by the platform only."
        yield Problem(step.id, "with.type", message, f"custom.{type_}")
