"""Promotion: a published version goes from the sandbox to production, with a list of what lacks.

Both environments are touched, so the caller needs rights in both, which only a person has: in
Studio, or over the API with their session. A key belongs to one environment and never reaches the
other: a production key may bring the exported definition along, a sandbox key is refused. Nothing
but the definition crosses; data, secrets and runs stay where they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps

from assets.queries import deployment_of, installation_of
from assets.registry import find
from healthcloud.actors import Actor
from healthcloud.api.principal import Principal
from healthcloud.audit.services import record
from healthcloud.errors import Conflict, Forbidden, NotFound, ValidationFailed
from healthcloud.tenancy.scope import Scope, active_project, tenant_scope
from workflows import queries, services
from workflows.definition import Definition, Problem
from workflows.models import Workflow
from workflows.reading import nearest

Json = dict[str, Any]
_NAMING = ("agent", "connector", "model")


class NotReady(Conflict):
    """Something is missing in production; `details` lists it."""

    def __init__(self, slug: str, missing: list[Problem]) -> None:
        names = ", ".join(f"`{problem.field}`" for problem in missing)
        super().__init__(
            f"`{slug}` can't run in production yet: {len(missing)} things are missing ({names})."
            ' Add them, or send "force": true to promote it all the same.',
            details=[problem.as_dict() for problem in missing],
        )


@dataclass(frozen=True, slots=True)
class Promotion:
    """What a promotion came to: the workflow in production, and what it still lacks there."""

    workflow: Workflow | None
    number: int | None
    missing: list[Problem]


def promote(
    *,
    slug: str,
    principal: Principal,
    project: tuple[str, int],
    now: datetime,
    number: int | None = None,
    definition: Json | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> Promotion:
    """Publish a version in production, unless something it needs is missing there.

    A person promotes the sandbox's version `number` (the published one by default); a production
    key sends the `definition` that was exported. Opens its own transactions. Raises Forbidden,
    WorkflowNotFound, NotPublished, VersionNotFound, NotReady, InvalidDefinition.
    """
    origin = "an exported definition"
    if principal.key_id is None:
        definition, number = _published(slug, _scope(principal, "sandbox", project), number)
        origin = f"sandbox version {number}"
    elif principal.environment != "production":
        raise Forbidden(
            "A sandbox key can't touch production. Promote in Studio, or export the workflow and"
            " send it with a production key (`hc_live_sk_…`)."
        )
    elif definition is None:
        raise Forbidden(
            "A production key can't read the sandbox. Promote in Studio, or send the exported"
            " `definition` in the body."
        )
    if definition is None or definition.get("slug") != slug:
        raise ValidationFailed(f"The definition's slug is not `{slug}`.", param="definition")
    parsed, problems = services.check_shape(definition)
    if parsed is None:
        raise services.InvalidDefinition(problems)
    with tenant_scope(_scope(principal, "production", project)):
        missing = list(_missing(parsed))
        if dry_run:
            return Promotion(None, number, missing)
        if missing and not force:
            raise NotReady(slug, missing)
        workflow = _put(definition, principal.actor, now, note=f"Promoted from {origin}")
        _note(slug, principal.actor, now, origin=origin, force=force)
        return Promotion(workflow, number, missing)


def _published(slug: str, source: Scope, number: int | None) -> tuple[Json, int]:
    with tenant_scope(source, readonly=True):
        found = queries.version(queries.workflow(slug), number)
        return found.definition, found.number


def _put(definition: Json, actor: Actor, now: datetime, *, note: str) -> Workflow:
    saved = services.import_definition(definition=definition, actor=actor, now=now)
    return services.publish_draft(slug=saved.slug, actor=actor, now=now, notes=note)


def _note(slug: str, actor: Actor, now: datetime, **details: object) -> None:
    record(
        actor=actor,
        action="workflow.promote",
        target_type="workflow",
        target_id=slug,
        now=now,
        details=details,
    )


def _scope(principal: Principal, kind: str, project: tuple[str, int]) -> Scope:
    """Return the same project in one of the organization's environments."""
    environments: Any = apps.get_model("organizations", "Environment").objects
    found = environments.filter(
        organization_id=principal.organization_id, kind=kind, status="active"
    ).first()
    if found is None:
        raise NotFound(f"This organization has no {kind}.")
    scope: Scope = found.scope()
    return scope.in_project(*project)


def _missing(definition: Definition) -> Iterator[Problem]:
    """Yield what the active environment lacks: assets, deployments, credentials, workflows."""
    project_id, _ = active_project()
    for step in definition.walk():
        if step.kind in _NAMING:
            name = str(step.arguments.get(step.kind, ""))
            yield from _asset(step.id, step.kind, name, project_id)
        if step.kind == "workflow":
            slug = str(step.arguments.get("workflow", ""))
            known = queries.workflows().filter(published_number__isnull=False)
            if slug != definition.slug and not known.filter(slug=slug).exists():
                message = f"Workflow `{slug}` is not published in production."
                near = nearest(slug, list(known.values_list("slug", flat=True)))
                yield Problem(step.id, "workflow", message, near or "Promote it first.")


def _asset(step: str, kind: str, name: str, project_id: str) -> Iterator[Problem]:
    manifest = find(name)
    if manifest is None:
        yield Problem(step, kind, f"There is no {kind} `{name}`.")
        return
    installation = installation_of(manifest.id, project_id)
    if installation is None:
        ask = f'POST /v1/assets/install {{"asset_id": "{manifest.id}"}}'
        yield Problem(step, "installation", f"`{name}` is not installed in production.", ask)
        return
    given = {credential.name for credential in installation.credentials.all()}
    for secret in manifest.secrets:
        if secret.required and secret.name not in given:
            message = f"The credential `{secret.name}` of `{name}` is not set in production."
            ask = f"PUT /v1/asset-installations/{installation.id}/credentials"
            yield Problem(step, f"credentials.{secret.name}", message, ask)
    deployment = deployment_of(manifest.id, project_id)
    if deployment is None or deployment.status not in {"active", "degraded"}:
        ask = f'POST /v1/deployments {{"asset_id": "{manifest.id}"}}'
        yield Problem(step, "deployment", f"`{name}` is not deployed in production.", ask)
