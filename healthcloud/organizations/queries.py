"""Reads of the public schema: keys, projects, members."""

from typing import Final

from django.db.models import Q, QuerySet

from healthcloud.api.principal import ProjectReference, RateLimit
from healthcloud.organizations.models import (
    ApiKey,
    Environment,
    Invitation,
    Membership,
    Organization,
    Project,
)

PLAN_LIMITS: Final[dict[str, RateLimit | None]] = {
    "starter": RateLimit(per_minute=500, burst=50),
    "growth": RateLimit(per_minute=2000, burst=200),
    "unlimited": None,
}


def keys_by_digest(digest: bytes) -> QuerySet[ApiKey]:
    """Return the key whose current or previous secret has this digest, with what it belongs to."""
    return _keys().filter(Q(digest=digest) | Q(previous_digest=digest))


def keys_by_id(key_id: str) -> QuerySet[ApiKey]:
    """Return the key of this id, with what it belongs to."""
    return _keys().filter(pk=key_id)


def _keys() -> QuerySet[ApiKey]:
    return ApiKey.objects.select_related("organization", "environment", "project").order_by()


def reference_of(project: Project) -> ProjectReference:
    """Return a project as the REST kit knows it."""
    return ProjectReference(
        project.id, project.number, archived=project.status == Project.Status.ARCHIVED
    )


def find_project_reference(organization_id: str, project_id: str) -> ProjectReference | None:
    """Return a project of the organization, None for any other id."""
    if "\x00" in project_id:
        return None
    row = (
        Project.objects.filter(organization_id=organization_id, pk=project_id)
        .values_list("id", "number", "status")
        .first()
    )
    return row and ProjectReference(row[0], row[1], archived=row[2] == Project.Status.ARCHIVED)


def projects_of(organization_id: str) -> QuerySet[Project]:
    """Return the projects of an organization."""
    return Project.objects.filter(organization_id=organization_id)


def keys_of(organization_id: str, environment: str) -> QuerySet[ApiKey]:
    """Return the keys of one environment of an organization, revoked ones too."""
    return ApiKey.objects.filter(organization_id=organization_id, environment__kind=environment)


def members_of(organization_id: str) -> QuerySet[Membership]:
    """Return the members of an organization with their people."""
    return Membership.objects.filter(organization_id=organization_id).select_related("user")


def invitations_of(organization_id: str) -> QuerySet[Invitation]:
    """Return the invitations of an organization, also the answered ones."""
    return Invitation.objects.filter(organization_id=organization_id)


def organizations_of(user_id: str) -> QuerySet[Organization]:
    """Return the organizations in which a person is a member, by name."""
    return Organization.objects.filter(memberships__user_id=user_id).order_by("name", "id")


def find_membership(
    user_id: str, *, slug: str | None = None, organization_id: str | None = None
) -> Membership | None:
    """Return a person's membership in the organization named, or the first without a name."""
    rows = Membership.objects.filter(user_id=user_id, user__is_active=True)
    if slug is not None:
        rows = rows.filter(organization__slug=slug)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    return rows.select_related("organization", "user").order_by("created_at", "id").first()


def find_environment(organization_id: str, kind: str) -> Environment | None:
    """Return one environment of an organization."""
    found: Environment | None = Environment.objects.filter(
        organization_id=organization_id, kind=kind
    ).first()
    return found
