"""Reads of the public schema: keys, projects, members."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import connection
from django.db.models import QuerySet

from healthcloud.api.principal import ProjectReference, RateLimit
from healthcloud.organizations.models import (
    ApiKey,
    Environment,
    Invitation,
    Membership,
    Organization,
    Project,
)
from healthcloud.tenancy.pipeline import Statement

PLAN_LIMITS: Final[dict[str, RateLimit | None]] = {
    "starter": RateLimit(per_minute=500, burst=50),
    "growth": RateLimit(per_minute=2000, burst=200),
    "unlimited": None,
}
RUN_LIMITS: Final[dict[str, RateLimit | None]] = {
    "starter": RateLimit(per_minute=300, burst=50),
    "growth": RateLimit(per_minute=1500, burst=200),
    "unlimited": None,
}
RUN_DURATIONS: Final[dict[str, timedelta | None]] = {
    "starter": timedelta(days=30),
    "growth": timedelta(days=365),
    "unlimited": None,
}


class KeyRow(NamedTuple):
    """A key with all that authentication needs of what it belongs to.

    `named_…` is the project that the request names, if it is one of the key's organization.
    """

    id: str
    name: str
    digest: bytes
    previous_expires_at: datetime | None
    scopes: list[str]
    allowed_addresses: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    organization_id: str
    plan: str
    environment_id: str
    environment: str
    schema: str
    environment_status: str
    project_id: str | None
    project_number: int | None
    project_status: str | None
    project_profiles: str | None
    project_consent: bool | None
    named_id: str | None
    named_number: int | None
    named_status: str | None
    named_profiles: str | None
    named_consent: bool | None
    stamps: list[str]
    """Which versions of key, environment, organization, project and named project these are."""


# Every request with a key runs this; as SQL it takes a quarter of the time of the same queryset.
_KEY: Final = """
SELECT k.id, k.name, k.digest, k.previous_expires_at, k.scopes, k.allowed_addresses, k.expires_at,
       k.revoked_at, k.last_used_at, o.id, o.plan, e.id, e.kind, e.schema_name, e.status,
       p.id, p.number, p.status, p.fhir_profiles::text, p.enforces_consent,
       n.id, n.number, n.status, n.fhir_profiles::text, n.enforces_consent,
       ARRAY[k.xmin::text, e.xmin::text, o.xmin::text, p.xmin::text, n.xmin::text]
FROM organizations_apikey k
JOIN organizations_environment e ON e.id = k.environment_id
JOIN organizations_organization o ON o.id = k.organization_id
LEFT JOIN organizations_project p ON p.id = k.project_id
LEFT JOIN organizations_project n ON n.id = %s AND n.organization_id = k.organization_id
WHERE """
# The rows that a caller was made of are those that they were: `xmin` is the transaction that
# wrote a version of a row, so that whatever changes one of them is noticed.
_UNCHANGED: Final = """
FROM organizations_apikey k, organizations_environment e, organizations_organization o,
     organizations_project p
WHERE k.id = %s AND k.xmin = %s AND e.id = %s AND e.xmin = %s AND o.id = %s AND o.xmin = %s
  AND p.id = %s AND p.xmin = %s
"""
_UNCHANGED_WITHOUT_PROJECT: Final = """
FROM organizations_apikey k, organizations_environment e, organizations_organization o
WHERE k.id = %s AND k.xmin = %s AND e.id = %s AND e.xmin = %s AND o.id = %s AND o.xmin = %s
"""
_PROJECT: Final = """
SELECT id, number, status, fhir_profiles::text, enforces_consent
FROM organizations_project WHERE id = %s AND organization_id = %s
"""


def find_key_by_digest(digest: bytes, *, named: str | None = None) -> KeyRow | None:
    """Return the key whose current or previous secret has this digest.

    `named` is the id of a project to look up with it, for a request that names one.
    """
    return _find_key("k.digest = %s OR k.previous_digest = %s", named, [digest, digest])


def find_key_by_id(key_id: str, *, named: str | None = None) -> KeyRow | None:
    """Return the key of this id, and the project named, as `find_key_by_digest` does."""
    return _find_key("k.id = %s", named, [key_id])


def _find_key(
    condition: str, named: str | None, parameters: Sequence[str | bytes]
) -> KeyRow | None:
    known = None if named is None or "\x00" in named else named
    with connection.cursor() as cursor:
        cursor.execute(_KEY + condition, [known, *parameters])
        row = cursor.fetchone()
    return None if row is None else KeyRow(*row)


def unchanged(key: KeyRow, project: ProjectReference | None) -> Statement:
    """Return the condition, from FROM on, that key and all it belongs to are as they were read."""
    of_key, of_environment, of_organization, of_project, of_named = key.stamps
    params = [
        *(key.id, of_key, key.environment_id, of_environment),
        *(key.organization_id, of_organization),
    ]
    if project is None:
        return Statement(_UNCHANGED_WITHOUT_PROJECT, params)
    stamp = of_project if project.id == key.project_id else of_named
    return Statement(_UNCHANGED, [*params, project.id, stamp])


def reference_of(project: Project) -> ProjectReference:
    """Return a project as the REST kit knows it."""
    return ProjectReference(
        project.id,
        project.number,
        archived=project.status == Project.Status.ARCHIVED,
        profiles=json.dumps(project.fhir_profiles),
        enforces_consent=project.enforces_consent,
    )


def find_project_reference(organization_id: str, project_id: str) -> ProjectReference | None:
    """Return a project of the organization, None for any other id."""
    if "\x00" in project_id:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_PROJECT, [project_id, organization_id])
        row = cursor.fetchone()
    if row is None:
        return None
    archived = row[2] == Project.Status.ARCHIVED
    return ProjectReference(
        row[0], row[1], archived=archived, profiles=row[3], enforces_consent=row[4]
    )


def ended_actors(
    organization_id: str, *, keys: set[str], users: set[str], now: datetime
) -> dict[str, str]:
    """Return which of these keys and people have no access any more, and why."""
    known = ApiKey.objects.filter(organization_id=organization_id, pk__in=keys)
    found = dict.fromkeys(keys, "The API key that asked for it is gone.")
    for key, revoked_at, expires_at in known.values_list("pk", "revoked_at", "expires_at"):
        if revoked_at is not None:
            found[key] = "The API key that asked for it was revoked."
        elif expires_at is not None and expires_at <= now:
            found[key] = "The API key that asked for it has expired."
        else:
            found.pop(key)
    members = Membership.objects.filter(
        organization_id=organization_id, user_id__in=users, user__is_active=True
    )
    gone = users - set(members.values_list("user_id", flat=True))
    return found | dict.fromkeys(gone, "The person who asked for it is no member any more.")


def projects_of(organization_id: str) -> QuerySet[Project]:
    """Return the projects of an organization."""
    return Project.objects.filter(organization_id=organization_id)


def keys_of(organization_id: str, environment: str) -> QuerySet[ApiKey]:
    """Return the keys of one environment of an organization, revoked ones too.

    The keys of SMART clients, which nobody holds, are not among them.
    """
    return ApiKey.objects.filter(
        organization_id=organization_id, environment__kind=environment, smart_client=None
    )


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
