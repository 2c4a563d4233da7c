"""Stream tickets: one minute, one use, so that no key ever stands in a URL."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

from django.apps import apps
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from healthcloud.actors import Actor, ActorKind
from healthcloud.api.principal import Principal, ProjectReference
from healthcloud.errors import Unauthorized
from healthcloud.events.models import StreamTicket
from healthcloud.tenancy.scope import Scope, tenant_scope

LIFE: Final = timedelta(seconds=60)
_PREFIX: Final = "tkt_"
_SCOPES: Final = frozenset({"events:read"})


class TicketRefused(Unauthorized):
    """The ticket is unknown, used, or older than a minute."""

    def __init__(self) -> None:
        super().__init__(
            "This ticket is unknown, used or older than a minute. Get a new one from "
            "POST /v1/stream-tickets for each connection."
        )


@dataclass(frozen=True, slots=True)
class IssuedTicket:
    """A ticket, shown once, and until when it opens a stream."""

    text: str
    expires_at: datetime


def issue(principal: Principal, scope: Scope, *, now: datetime) -> IssuedTicket:
    """Return a ticket for a caller and the project of their request; inside `tenant_scope`."""
    StreamTicket.objects.filter(expires_at__lt=now).delete()
    token = secrets.token_urlsafe(32)
    StreamTicket.objects.create(
        project_id=scope.project_id or "",
        project_number=scope.project_number,
        digest=_digest(token),
        actor_kind=principal.actor.kind,
        actor_id=principal.actor.id,
        actor_label=principal.actor.label[:200],
        key_id=principal.key_id or "",
        user_id=principal.user_id or "",
        expires_at=now + LIFE,
    )
    tenant = scope.environment_id.removeprefix("env_")
    return IssuedTicket(f"{_PREFIX}{tenant}.{token}", now + LIFE)


def redeem(text: str, *, now: datetime) -> Principal:
    """Return the caller a ticket stands for, and use it up; raise TicketRefused."""
    if "\0" in text:
        raise TicketRefused
    tenant, _, token = text.removeprefix(_PREFIX).partition(".")
    environments: Any = apps.get_model("organizations", "Environment").objects
    environment = environments.filter(pk=f"env_{tenant}", status="active").first()
    if environment is None or not text.startswith(_PREFIX):
        raise TicketRefused
    scope = cast(Scope, environment.scope())
    with tenant_scope(scope):
        ticket = (
            StreamTicket.objects.select_for_update()
            .filter(digest=_digest(token), expires_at__gt=now)
            .first()
        )
        if ticket is None:
            raise TicketRefused
        ticket.delete()
    return _principal(ticket, scope)


def _principal(ticket: StreamTicket, scope: Scope) -> Principal:
    project = None
    if ticket.project_id and ticket.project_number is not None:
        project = ProjectReference(ticket.project_id, ticket.project_number)
    return Principal(
        actor=Actor(cast(ActorKind, ticket.actor_kind), ticket.actor_id, ticket.actor_label),
        organization_id=scope.organization_id,
        environment=scope.environment,
        environment_id=scope.environment_id,
        schema=scope.schema,
        project=project,
        scopes=_SCOPES,
        key_id=ticket.key_id or None,
        user_id=ticket.user_id or None,
    )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class TicketAuthentication(BaseAuthentication):
    """`?ticket=tkt_…` on the two streaming routes."""

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        """Return the caller, None without a ticket; raise TicketRefused for a bad one."""
        ticket = request.query_params.get("ticket")
        if ticket is None:
            return None
        principal = redeem(ticket, now=timezone.now())
        return principal, principal

    def authenticate_header(self, request: Request) -> str:
        """Return what WWW-Authenticate says."""
        return 'Bearer realm="healthcloud"'
