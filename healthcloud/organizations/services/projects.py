"""Create, change, archive and restore projects."""

import contextlib
from collections.abc import Mapping
from datetime import datetime

from django.db import IntegrityError, transaction

from healthcloud.actors import Actor
from healthcloud.errors import Forbidden, NotFound
from healthcloud.identifiers import slugify
from healthcloud.organizations.models import Project, UsageDay
from healthcloud.organizations.services.announce import Change, announce, environments_of
from healthcloud.organizations.services.organizations import SlugTaken
from healthcloud.tenancy.scope import public_scope

_SLUG_ATTEMPTS = 200


class ProjectNotFound(NotFound):
    """There is no such project in this organization."""


class ProjectUsedElsewhere(Forbidden):
    """A sandbox key would archive or restore a project that production uses."""


def create_project(
    *,
    organization_id: str,
    name: str,
    actor: Actor,
    now: datetime,
    slug: str | None = None,
    blueprint: str = "",
    metadata: Mapping[str, str] | None = None,
) -> Project:
    """Create a project, in both environments at once. Raises SlugTaken for a slug asked for."""
    with transaction.atomic():
        with public_scope():
            project = _insert(
                organization_id=organization_id,
                name=name,
                slug=slug,
                blueprint=blueprint,
                metadata=dict(metadata or {}),
            )
        _announce(project, "project.create", "project.created", actor=actor, now=now)
    return project


def _insert(
    *, organization_id: str, name: str, slug: str | None, blueprint: str, metadata: dict[str, str]
) -> Project:
    base = slug or slugify(name, fallback="project")
    for attempt in range(1, _SLUG_ATTEMPTS):
        candidate = base if attempt == 1 else f"{base[:45]}-{attempt}"
        with contextlib.suppress(IntegrityError), transaction.atomic():
            project = Project.objects.create(
                organization_id=organization_id,
                name=name,
                slug=candidate,
                blueprint=blueprint,
                metadata=metadata,
            )
            project.refresh_from_db(fields=["number"])
            return project
        if slug is not None:
            break
    raise SlugTaken(f"A project with the slug `{base}` exists; choose another.", param="slug")


def update_project(
    *,
    organization_id: str,
    project_id: str,
    actor: Actor,
    now: datetime,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
    status: str | None = None,
    fhir_profile_validation: str | None = None,
    fhir_required_profiles: Mapping[str, list[str]] | None = None,
    enforces_consent: bool | None = None,
    only_environment: str | None = None,
) -> Project:
    """Change name, metadata, checks of clinical writes or of consent; what is None stays.

    Raises ProjectNotFound.

    `status` archives or restores the project in the same transaction, on the terms of
    `archive_project`.
    """
    with transaction.atomic():
        with public_scope():
            project = _locked(organization_id, project_id)
            rules = {"mode": fhir_profile_validation, "required": fhir_required_profiles}
            changed = {
                "name": name,
                "metadata": metadata,
                "fhir_profiles": _merged(project.fhir_profiles, rules),
                "enforces_consent": enforces_consent,
            }
            fields = [field for field, value in changed.items() if value is not None]
            for field in fields:
                setattr(project, field, changed[field])
            if fields:
                project.save(update_fields=fields)
        if fields:
            _announce(
                project, "project.update", "project.updated", actor=actor, now=now, fields=fields
            )
        if status is not None:
            change = archive_project if status == Project.Status.ARCHIVED else restore_project
            project = change(
                organization_id=organization_id,
                project_id=project_id,
                only_environment=only_environment,
                actor=actor,
                now=now,
            )
    return project


def _merged(
    before: Mapping[str, object], changes: Mapping[str, object | None]
) -> Mapping[str, object] | None:
    """Return a setting with what is not None changed, None where nothing is."""
    given = {name: value for name, value in changes.items() if value is not None}
    return {**before, **given} if given else None


def archive_project(
    *,
    organization_id: str,
    project_id: str,
    only_environment: str | None,
    actor: Actor,
    now: datetime,
) -> Project:
    """Archive a project: it can be read, not changed. Safe to repeat. Raises ProjectNotFound.

    A project belongs to both environments. `only_environment` is the id of the one that a
    sandbox key is confined to: when production has answered requests for the project, raises
    ProjectUsedElsewhere.
    """
    _refuse_if_used_elsewhere(organization_id, project_id, only_environment)
    return _set_status(
        organization_id, project_id, Project.Status.ARCHIVED, "archive", actor=actor, now=now
    )


def restore_project(
    *,
    organization_id: str,
    project_id: str,
    only_environment: str | None,
    actor: Actor,
    now: datetime,
) -> Project:
    """Make an archived project active again. Safe to repeat. Raises ProjectNotFound.

    `only_environment` as in `archive_project`.
    """
    _refuse_if_used_elsewhere(organization_id, project_id, only_environment)
    return _set_status(
        organization_id, project_id, Project.Status.ACTIVE, "restore", actor=actor, now=now
    )


def _refuse_if_used_elsewhere(
    organization_id: str, project_id: str, only_environment: str | None
) -> None:
    if only_environment is None:
        return
    with public_scope():
        used = UsageDay.objects.filter(
            environment__organization_id=organization_id, project_id=project_id, requests__gt=0
        ).exclude(environment_id=only_environment)
        if used.exists():
            raise ProjectUsedElsewhere(
                "The project is in use in production too, which a sandbox key"
                " can't touch. Use a production key (`hc_live_sk_…`) or Studio.",
                param="project_id",
            )


def _set_status(
    organization_id: str,
    project_id: str,
    status: Project.Status,
    verb: str,
    *,
    actor: Actor,
    now: datetime,
) -> Project:
    with transaction.atomic():
        with public_scope():
            project = _locked(organization_id, project_id)
            if project.status == status:
                return project
            project.status = status
            project.save(update_fields=["status"])
        past = "archived" if verb == "archive" else "restored"
        _announce(project, f"project.{verb}", f"project.{past}", actor=actor, now=now)
    return project


def _locked(organization_id: str, project_id: str) -> Project:
    rows = Project.objects.select_for_update().filter(
        organization_id=organization_id, pk=project_id
    )
    project = rows.first()
    if project is None:
        raise ProjectNotFound(f"There is no project `{project_id}` here.", param="project_id")
    return project


def _announce(
    project: Project,
    action: str,
    event: str,
    *,
    actor: Actor,
    now: datetime,
    fields: list[str] | None = None,
) -> None:
    payload: dict[str, object] = {"project_id": project.id, "slug": project.slug}
    if fields is not None:
        payload["fields"] = fields
    change = Change(
        action=action,
        target_type="project",
        target_id=project.id,
        event=event,
        payload=payload,
        details={"fields": fields} if fields is not None else {},
        project_id=project.id,
    )
    announce(change, environments=environments_of(project.organization_id), actor=actor, now=now)
