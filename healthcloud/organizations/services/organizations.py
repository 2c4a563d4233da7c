"""Create an organization with its two tenants; rename it; empty its sandbox."""

import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db import IntegrityError, transaction

from healthcloud import secrets
from healthcloud.actors import Actor
from healthcloud.errors import Conflict, NotFound
from healthcloud.identifiers import slugify
from healthcloud.ledger.models import Queue
from healthcloud.ledger.services import enqueue
from healthcloud.organizations.models import Environment, Membership, Organization, Role, User
from healthcloud.organizations.services.announce import Change, announce, environments_of
from healthcloud.tenancy.provisioning import create_tenant, drop_tenant, reset_tenant
from healthcloud.tenancy.scope import public_scope

LOOK_AFTER_KIND: Final = "organization.look_after"
_LOOK_AFTER: Final = timedelta(minutes=5)  # what no creation takes
_SLUG_ATTEMPTS = 50


class SlugTaken(Conflict):
    """Another organization, or another project of this one, has this slug."""


class OrganizationNotFound(NotFound):
    """There is no such organization for this caller."""


def create_organization(
    *,
    name: str,
    owner: User | None,
    actor: Actor,
    now: datetime,
    slug: str | None = None,
    plan: str = Organization.Plan.STARTER,
) -> Organization:
    """Create an organization with sandbox and production, and make `owner` its owner.

    The tenants' schemas are made on the owner's connection, each in a transaction of its own; if
    one fails, schemas and rows are taken back. A process that dies in between leaves that to due
    work, which is asked for with the rows. Raises SlugTaken for a slug that was asked for.
    """
    with public_scope():
        organization = _insert(name=name, slug=slug, plan=plan)
        environments = [
            Environment.objects.create(
                organization=organization, kind=kind, data_key=secrets.new_data_key()
            )
            for kind in Environment.Kind
        ]
        if owner is not None:
            Membership.objects.create(organization=organization, user=owner, role=Role.OWNER)
        enqueue(
            scope=environments[0].scope(),
            kind=LOOK_AFTER_KIND,
            ref=organization.id,
            queue=Queue.BULK,
            due_at=now + _LOOK_AFTER,
        )
    try:
        for environment in environments:
            create_tenant(environment)
        with transaction.atomic():
            _open(organization, environments, actor=actor, now=now)
    except BaseException:
        _take_back(organization, environments)
        raise
    return organization


def _insert(*, name: str, slug: str | None, plan: str) -> Organization:
    base = slug or slugify(name, fallback="organization")
    for attempt in range(1, _SLUG_ATTEMPTS):
        candidate = base if attempt == 1 else f"{base[:46]}-{attempt}"
        with contextlib.suppress(IntegrityError), transaction.atomic():
            return Organization.objects.create(name=name, slug=candidate, plan=plan)
        if slug is not None:
            break
    raise SlugTaken(f"The slug `{base}` is taken; choose another.", param="slug")


def _open(
    organization: Organization, environments: list[Environment], *, actor: Actor, now: datetime
) -> None:
    with public_scope():
        rows = Environment.objects.filter(organization=organization)
        if rows.update(status=Environment.Status.ACTIVE) != len(environments):
            raise Conflict("Creating the organization took too long. Create it again.")
    for environment in environments:
        environment.status = Environment.Status.ACTIVE
    change = Change(
        action="organization.create",
        target_type="organization",
        target_id=organization.id,
        event="organization.created",
        payload={"organization_id": organization.id, "slug": organization.slug},
    )
    announce(change, environments=environments, actor=actor, now=now)


def take_back_abandoned(*, organization_id: str) -> bool:
    """Take back an organization whose creation was broken off; return whether it was one."""
    with public_scope():
        organization = Organization.objects.filter(pk=organization_id).first()
        environments = list(Environment.objects.filter(organization_id=organization_id))
    begun = [e for e in environments if e.status == Environment.Status.PROVISIONING]
    if organization is None or len(begun) != len(environments):
        return False
    _take_back(organization, environments)
    return True


def _take_back(organization: Organization, environments: list[Environment]) -> None:
    for environment in environments:
        drop_tenant(environment)
    with public_scope():
        Environment.objects.filter(organization=organization).delete()
        Organization.objects.filter(pk=organization.pk).delete()


def update_organization(
    *,
    organization_id: str,
    actor: Actor,
    now: datetime,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
    plan: str | None = None,
) -> Organization:
    """Change name, metadata or plan; what is None stays. Raises OrganizationNotFound."""
    with transaction.atomic():
        with public_scope():
            organization = (
                Organization.objects.select_for_update().filter(pk=organization_id).first()
            )
            if organization is None:
                raise OrganizationNotFound(f"There is no organization `{organization_id}` here.")
            changed = {"name": name, "metadata": metadata, "plan": plan}
            fields = [field for field, value in changed.items() if value is not None]
            for field in fields:
                setattr(organization, field, changed[field])
            if fields:
                organization.save(update_fields=fields)
        change = Change(
            action="organization.update",
            target_type="organization",
            target_id=organization.id,
            details={"fields": fields},
        )
        announce(change, environments=environments_of(organization.id), actor=actor, now=now)
    return organization


def reset_sandbox(*, organization_id: str, actor: Actor, now: datetime) -> Environment:
    """Empty the sandbox of an organization: every record, run, event and installation in it.

    Projects, members and keys stay. Raises OrganizationNotFound. The audit trail begins anew
    with this reset.
    """
    environment: Environment | None = Environment.objects.filter(
        organization_id=organization_id, kind=Environment.Kind.SANDBOX
    ).first()
    if environment is None:
        raise OrganizationNotFound(f"There is no organization `{organization_id}` here.")
    reset_tenant(environment)
    with transaction.atomic():
        change = Change(action="sandbox.reset", target_type="environment", target_id=environment.id)
        announce(change, environments=[environment], actor=actor, now=now)
    return environment
