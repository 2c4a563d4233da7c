"""From a key or a person to a Principal: the one place where callers are made."""

import ipaddress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest

from healthcloud.actors import Actor
from healthcloud.api.principal import Principal, ProjectReference, RateLimit
from healthcloud.errors import Forbidden, NotFound, ServiceUnavailable, Unauthorized
from healthcloud.organizations import queries
from healthcloud.organizations.models import (
    ApiKey,
    Environment,
    Membership,
    Project,
    User,
)
from healthcloud.organizations.permissions import scopes_of
from healthcloud.organizations.queries import KeyRow
from healthcloud.tenancy.scope import Scope

_USE_NOTED_EVERY: Final = timedelta(minutes=1)


class KeyRefused(Unauthorized):
    """The key is unknown, revoked or expired."""


class AddressRefused(Forbidden):
    """The key may not be used from this address."""


class EnvironmentNotReady(ServiceUnavailable):
    """The environment is being made or taken down."""


def is_unlimited(environment: str) -> bool:
    """Return whether no plan limits an environment: a sandbox of one machine."""
    return environment == Environment.Kind.SANDBOX and settings.SANDBOX_UNLIMITED


def rate_limit_for(plan: str, environment: str) -> RateLimit | None:
    """Return the limit of an organization's plan on requests."""
    return None if is_unlimited(environment) else queries.PLAN_LIMITS.get(plan)


def run_limit_for(plan: str, environment: str) -> RateLimit | None:
    """Return how many runs an organization's plan starts."""
    return None if is_unlimited(environment) else queries.RUN_LIMITS.get(plan)


def run_duration_for(plan: str, environment: str) -> timedelta | None:
    """Return how long a run may go on by an organization's plan."""
    return None if is_unlimited(environment) else queries.RUN_DURATIONS.get(plan)


def principal_for_key(
    key: KeyRow,
    *,
    digest: bytes | None,
    now: datetime,
    client_ip: str | None,
    remembered: bool = False,
) -> Principal:
    """Return the caller that a key stands for; `digest` is None when a token named the key.

    A caller made of a key that was `remembered` has a guard, which must hold when it acts.

    Raises KeyRefused for a revoked or expired key or an outdated secret, and AddressRefused for
    an address outside the key's list.
    """
    _check_key(key, digest=digest, now=now)
    if key.allowed_addresses and not _is_allowed(client_ip, key.allowed_addresses):
        raise AddressRefused(
            "This key may not be used from your address. Add it to the key's `allowed_addresses`."
        )
    _check_ready(key.environment, key.environment_status)
    return Principal(
        actor=Actor(kind="api_key", id=key.id, label=key.name),
        organization_id=key.organization_id,
        environment=key.environment,
        environment_id=key.environment_id,
        schema=key.schema,
        project=_project_of(key),
        scopes=frozenset(key.scopes),
        key_id=key.id,
        rate_limit=rate_limit_for(key.plan, key.environment),
        run_limit=run_limit_for(key.plan, key.environment),
        find_project=partial(_find_project, key),
        guard=partial(queries.unchanged, key) if remembered else None,
    )


def _project_of(key: KeyRow) -> ProjectReference | None:
    project = (key.project_id, key.project_number, key.project_status, key.project_profiles)
    return _reference(*project, consent=key.project_consent)


def _find_project(key: KeyRow, project_id: str) -> ProjectReference | None:
    """Return a project of the key's organization; the one the request names came with the key."""
    if project_id == key.named_id:
        named = (key.named_id, key.named_number, key.named_status, key.named_profiles)
        return _reference(*named, consent=key.named_consent)
    return queries.find_project_reference(key.organization_id, project_id)


def _reference(
    project_id: str | None,
    number: int | None,
    status: str | None,
    profiles: str | None,
    *,
    consent: bool | None,
) -> ProjectReference | None:
    if project_id is None or number is None:
        return None
    archived = status == Project.Status.ARCHIVED
    return ProjectReference(
        project_id,
        number,
        archived=archived,
        profiles=profiles,
        enforces_consent=bool(consent),
    )


def _check_key(key: KeyRow, *, digest: bytes | None, now: datetime) -> None:
    if key.revoked_at is not None and key.revoked_at <= now:
        raise KeyRefused("This API key was revoked. Create a new one in Studio under Settings.")
    if key.expires_at is not None and key.expires_at <= now:
        raise KeyRefused("This API key has expired. Create or rotate a key in Studio.")
    if digest is None or bytes(key.digest) == digest:
        return
    if key.previous_expires_at is None or key.previous_expires_at <= now:
        raise KeyRefused("This API key was rotated more than 24 hours ago. Use the new secret.")


def _check_ready(kind: str, status: str) -> None:
    if status != Environment.Status.ACTIVE:
        raise EnvironmentNotReady(f"The {kind} environment is {status}. Try again in a moment.")


def _is_allowed(client_ip: str | None, allowed: list[str]) -> bool:
    try:
        address = ipaddress.ip_address(client_ip or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return any(address in ipaddress.ip_network(entry, strict=False) for entry in allowed)


def client_address(request: HttpRequest) -> str | None:
    """Return the caller's address; forwarded ones count only behind the trusted proxies."""
    trusted = settings.TRUSTED_PROXIES
    if trusted:
        forwarded = str(request.META.get("HTTP_X_FORWARDED_FOR", ""))
        hops = [hop.strip() for hop in forwarded.split(",")]
        if len(hops) >= trusted and hops[-trusted]:
            return hops[-trusted]
    return str(request.META.get("REMOTE_ADDR") or "") or None


def is_use_unnoted(key: KeyRow, *, now: datetime) -> bool:
    """Tell whether `last_used_at` is so old that this use is to be written."""
    return key.last_used_at is None or now - key.last_used_at >= _USE_NOTED_EVERY


def steady_until(key: KeyRow) -> datetime:
    """Return when time alone may change what a key that was used is, or ask to note its use."""
    used_at = key.last_used_at or datetime.min.replace(tzinfo=UTC)
    moments = (key.expires_at, key.revoked_at, key.previous_expires_at)
    return min([used_at + _USE_NOTED_EVERY, *(moment for moment in moments if moment)])


def note_key_use(key: KeyRow, *, now: datetime) -> None:
    """Write `last_used_at`, at most once a minute, and never wait for a lock to do so."""
    if not is_use_unnoted(key, now=now):
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - _USE_NOTED_EVERY)
    free = ApiKey.objects.select_for_update(skip_locked=True).filter(stale, pk=key.id)
    with transaction.atomic():
        ApiKey.objects.filter(pk__in=free.values("pk")).update(last_used_at=now)


def principal_for_member(
    membership: Membership, environment: Environment, project: Project | None = None
) -> Principal:
    """Return the caller that a signed-in member is, in one environment."""
    user = membership.user
    _check_ready(environment.kind, environment.status)
    return Principal(
        actor=Actor(kind="user", id=user.id, label=user.get_full_name()),
        organization_id=membership.organization_id,
        environment=environment.kind,
        environment_id=environment.id,
        schema=environment.schema_name,
        project=queries.reference_of(project) if project else None,
        scopes=scopes_of(membership.role),
        user_id=user.id,
        role=membership.role,
        rate_limit=rate_limit_for(membership.organization.plan, environment.kind),
        run_limit=run_limit_for(membership.organization.plan, environment.kind),
        find_project=partial(queries.find_project_reference, membership.organization_id),
    )


def scope_for(
    user: User, organization_slug: str, environment: str, project_slug: str | None
) -> tuple[Scope, Principal]:
    """Return where a person's Studio address points, and who they are there.

    Raises NotFound for an organization in which the person is no member, an environment that is
    neither `sandbox` nor `production`, or a project that the organization does not have.
    """
    membership = queries.find_membership(user.pk, slug=organization_slug)
    if membership is None:
        raise NotFound(f"You are not a member of an organization `{organization_slug}`.")
    tenant = queries.find_environment(membership.organization_id, environment)
    if tenant is None:
        raise NotFound(f"There is no environment `{environment}`.")
    project: Project | None = None
    if project_slug is not None:
        rows = queries.projects_of(membership.organization_id).filter(slug=project_slug)
        project = rows.first()
        if project is None:
            raise NotFound(f"There is no project `{project_slug}` in this organization.")
    principal = principal_for_member(membership, tenant)
    reference: ProjectReference | None = queries.reference_of(project) if project else None
    return principal.scope_of(reference), principal
