"""Write workflows: drafts, published versions, what assets bring, deletion.

Each function runs inside `tenant_scope` with a project, in the caller's transaction.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, transaction

from assets.hooks import Installed
from healthcloud.actors import Actor
from healthcloud.audit.services import record
from healthcloud.errors import Conflict, PreconditionFailed, ValidationFailed
from healthcloud.events.services import publish as publish_event
from healthcloud.tenancy.scope import active_project
from workflows import housekeeping, queries
from workflows.availability import missing
from workflows.definition import Definition, Problem
from workflows.models import Workflow, WorkflowVersion
from workflows.parsing import Parsed
from workflows.triggers import services as triggers
from workflows.triggers.services import put_in_force
from workflows.validation import validate

Json = Mapping[str, Any]
MAX_BYTES: Final = 1_048_576


class InvalidDefinition(ValidationFailed):
    """The definition has problems; `details` lists all of them by step and field."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        errors = [problem for problem in problems if problem.severity == "error"]
        first = errors[0]
        place = f"step `{first.step}`, {first.field}" if first.step else first.field or "definition"
        more = f" (and {len(errors) - 1} more in details)" if len(errors) > 1 else ""
        super().__init__(
            f"The definition has problems. In {place}: {first.message}{more}",
            param=first.field or None,
            details=[problem.as_dict() for problem in problems],
        )


class SlugTaken(Conflict):
    """The project has a workflow of that slug already."""

    def __init__(self, slug: str) -> None:
        super().__init__(
            f"This project has a workflow `{slug}` already. PUT /v1/workflows/{slug} changes it.",
            param="slug",
        )


class StaleRevision(PreconditionFailed):
    """Somebody else saved the draft meanwhile."""

    def __init__(self, slug: str, revision: int) -> None:
        super().__init__(
            f"The draft of `{slug}` was changed meanwhile; its revision is {revision}."
            " Read it again, and send that revision.",
            param="revision",
            details={"revision": revision},
        )


def check(definition: object) -> tuple[Definition | None, list[Problem]]:
    """Return the parsed definition (None with errors) and all problems, also missing assets."""
    parsed = _validated(definition)
    problems = list(parsed.problems)
    if parsed.readable is not None:
        problems.extend(missing(parsed.readable))
    failed = any(problem.severity == "error" for problem in problems)
    return (None if failed else parsed.definition), problems


def check_shape(definition: object) -> tuple[Definition | None, list[Problem]]:
    """Return the parsed definition and its problems, whatever the project has of what it names."""
    parsed = _validated(definition)
    return parsed.definition, list(parsed.problems)


def _validated(definition: object) -> Parsed:
    if len(json.dumps(definition, default=str)) > MAX_BYTES:
        return Parsed(None, [Problem(None, "", f"A definition has at most {MAX_BYTES} bytes.")])
    return validate(definition)


@transaction.atomic
def create_workflow(
    *, definition: Json, actor: Actor, now: datetime, source: str = "", publish: bool = False
) -> Workflow:
    """Create a workflow with this draft; `publish` makes it version 1 at once.

    A draft may have problems, but needs a usable slug. Raises SlugTaken, InvalidDefinition.
    """
    slug = _slug(definition)
    project_id, _ = active_project()
    workflow = Workflow(
        project_id=project_id,
        slug=slug,
        name=str(definition.get("name") or slug)[:200],
        description=str(definition.get("description") or ""),
        draft=dict(definition),
        metadata=_metadata(definition),
        source=source,
        created_at=now,
        updated_at=now,
    )
    try:
        with transaction.atomic():
            workflow.save(force_insert=True)
    except IntegrityError:
        raise SlugTaken(slug) from None
    _note("workflow.create", workflow, actor, now)
    publish_event(type="workflow.created", payload={"workflow_id": slug}, actor=actor, now=now)
    if publish:
        return publish_draft(slug=slug, actor=actor, now=now)
    return workflow


@transaction.atomic
def save_draft(
    *,
    slug: str,
    definition: Json,
    actor: Actor,
    now: datetime,
    revision: int | None = None,
    publish: bool = False,
) -> Workflow:
    """Replace the draft, if `revision` (when given) is still the current one.

    `publish` makes it the next version too. Runs go on with the version they began with. Raises
    WorkflowNotFound, StaleRevision, InvalidDefinition; then the draft is as it was.
    """
    workflow = _locked(slug)
    if revision is not None and revision != workflow.revision:
        raise StaleRevision(slug, workflow.revision)
    if _slug(definition) != slug:
        raise ValidationFailed(f"The slug of `{slug}` can't be changed.", param="slug")
    workflow.draft = dict(definition)
    workflow.name = str(definition.get("name") or slug)[:200]
    workflow.description = str(definition.get("description") or "")
    workflow.metadata = _metadata(definition)
    workflow.revision += 1
    workflow.updated_at = now
    workflow.save()
    _note("workflow.update", workflow, actor, now)
    publish_event(type="workflow.updated", payload={"workflow_id": slug}, actor=actor, now=now)
    return publish_draft(slug=slug, actor=actor, now=now) if publish else workflow


@transaction.atomic
def publish_draft(*, slug: str, actor: Actor, now: datetime, notes: str = "") -> Workflow:
    """Make the draft the next immutable version; publishing what is published already is no-op.

    Raises WorkflowNotFound, InvalidDefinition.
    """
    workflow = _locked(slug)
    definition, problems = check(workflow.draft)
    if definition is None:
        raise InvalidDefinition(problems)
    digest = _digest(workflow.draft)
    latest = queries.versions(workflow).order_by("-number").first()
    if latest is not None and latest.digest == digest:
        return _point_to(workflow, latest.number, actor, now)
    number = latest.number + 1 if latest else 1
    WorkflowVersion.objects.create(
        project_id=workflow.project_id,
        workflow=workflow,
        number=number,
        definition=workflow.draft,
        digest=digest,
        notes=notes,
        published_by=actor.as_dict(),
        published_at=now,
    )
    return _point_to(workflow, number, actor, now)


@transaction.atomic
def roll_back(*, slug: str, number: int, actor: Actor, now: datetime) -> Workflow:
    """Publish an earlier version again; new runs use it. Raises VersionNotFound."""
    workflow = _locked(slug)
    queries.version(workflow, number)
    return _point_to(workflow, number, actor, now)


def publish_version(
    *, slug: str, number: int | None, actor: Actor, now: datetime, notes: str = ""
) -> Workflow:
    """Publish the draft, or with a `number` that earlier version again."""
    if number is not None:
        return roll_back(slug=slug, number=number, actor=actor, now=now)
    return publish_draft(slug=slug, actor=actor, now=now, notes=notes)


@transaction.atomic
def delete_workflow(*, slug: str, actor: Actor, now: datetime) -> None:
    """Remove a workflow; its runs stay, and those under way go on to their end."""
    workflow = _locked(slug)
    workflow.deleted_at = now
    workflow.save(update_fields=["deleted_at"])
    triggers.end(workflow)
    _note("workflow.delete", workflow, actor, now)
    publish_event(type="workflow.deleted", payload={"workflow_id": slug}, actor=actor, now=now)


def install_definition(
    *, definition: Json, actor: Actor, now: datetime, source: str = ""
) -> Workflow:
    """Create and publish a definition, unless the project has that slug: then its own is kept."""
    project_id, _ = active_project()
    found = queries.workflows().filter(project_id=project_id, slug=definition.get("slug")).first()
    if found is not None:
        return found
    return create_workflow(definition=definition, actor=actor, now=now, source=source, publish=True)


@transaction.atomic
def import_definition(
    *, definition: Json, actor: Actor, now: datetime, publish: bool = False
) -> Workflow:
    """Create a workflow from a document, or replace the draft of the one with its slug.

    With `publish` it is the published version then. Unlike a draft that is being written, a
    document must be right: raises InvalidDefinition.
    """
    parsed, problems = check(definition)
    if parsed is None:
        raise InvalidDefinition(problems)
    project_id, _ = active_project()
    if queries.workflows().filter(project_id=project_id, slug=parsed.slug).exists():
        return save_draft(
            slug=parsed.slug, definition=definition, actor=actor, now=now, publish=publish
        )
    return create_workflow(definition=definition, actor=actor, now=now, publish=publish)


def install_from_asset(*, installed: Installed, actor: Actor, now: datetime) -> None:
    """Install the workflows that an asset brings, in the transaction of its installation."""
    for definition in installed.workflows:
        install_definition(definition=definition, actor=actor, now=now, source=installed.asset_id)


def _locked(slug: str) -> Workflow:
    project_id, _ = active_project()
    found = queries.workflows().select_for_update().filter(project_id=project_id, slug=slug).first()
    if found is None:
        raise queries.WorkflowNotFound(slug)
    return found


def _point_to(workflow: Workflow, number: int, actor: Actor, now: datetime) -> Workflow:
    if workflow.published_number == number:
        return workflow
    workflow.published_number = number
    workflow.updated_at = now
    housekeeping.ask(now)
    put_in_force(workflow, queries.version(workflow, number).definition, now)
    workflow.save(update_fields=["published_number", "updated_at"])
    _note("workflow.publish", workflow, actor, now, version=number)
    publish_event(
        type="workflow.published",
        payload={"workflow_id": workflow.slug, "version": number},
        actor=actor,
        now=now,
    )
    return workflow


def _metadata(definition: Json) -> dict[str, object]:
    """Return what is kept beside a draft, which may have every other problem."""
    found = definition.get("metadata") or {}
    if not isinstance(found, Mapping):
        raise ValidationFailed("`metadata` is an object of text pairs.", param="metadata")
    return dict(found)


def _slug(definition: Json) -> str:
    _, problems = check(definition)
    if any(problem.step is None and problem.field == "slug" for problem in problems):
        raise InvalidDefinition(problems)
    return str(definition["slug"])


def _digest(definition: Json) -> str:
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()


def _note(action: str, workflow: Workflow, actor: Actor, now: datetime, **details: object) -> None:
    record(
        actor=actor,
        action=action,
        target_type="workflow",
        target_id=workflow.slug,
        now=now,
        details=details,
    )
