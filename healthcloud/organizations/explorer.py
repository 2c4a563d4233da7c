"""/explorer: the API reference with a client, and the signed-in person's sandbox key filled in."""

import base64
import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from csp.constants import NONE, SELF
from csp.decorators import csp_replace
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from healthcloud import secrets
from healthcloud.actors import Actor
from healthcloud.errors import HealthCloudError
from healthcloud.organizations import queries, services
from healthcloud.organizations.authentication import authenticate_bearer
from healthcloud.organizations.models import Environment, Membership, Project, User
from healthcloud.organizations.permissions import scopes_of

KEY_NAME: Final = "API explorer"
_SESSION_NAME: Final = "explorer_key"
# The reference writes styles as it runs; scripts, fonts and calls stay on this server.
_POLICY: Final = {
    "default-src": [NONE],
    "script-src": [SELF],
    "style-src": [SELF, "'unsafe-inline'"],
    "img-src": [SELF, "data:"],
    "font-src": [SELF, "data:"],
    "connect-src": [SELF],
    "worker-src": [SELF, "blob:"],
    "frame-ancestors": [NONE],
    "base-uri": [NONE],
    "form-action": [SELF],
    "object-src": [NONE],
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person explores: the sandbox of one organization, in one project if it has any."""

    membership: Membership
    sandbox: Environment
    project: Project | None


@require_safe
@never_cache
@csp_replace(_POLICY)
def explorer(request: HttpRequest) -> HttpResponse:
    """Show the reference; sign-in adds a sandbox key that lives as long as the session."""
    place = _place(request)
    key = _session_key(request, place, now=timezone.now()) if place else None
    context = {
        "key": key,
        "project": place.project if place else None,
        "studio_url": "/studio/",
        "login_url": f"{reverse(settings.LOGIN_URL)}?next=/explorer",
    }
    return render(request, "explorer/explorer.html", context)


def _place(request: HttpRequest) -> Place | None:
    """Return where the query's `organization` and `project` slugs point, else the first of each."""
    user = request.user
    if not isinstance(user, User):
        return None
    membership = queries.find_membership(user.pk, slug=request.GET.get("organization") or None)
    if membership is None:
        return None
    sandbox = queries.find_environment(membership.organization_id, Environment.Kind.SANDBOX)
    if sandbox is None or sandbox.status != Environment.Status.ACTIVE:
        return None
    projects = queries.projects_of(membership.organization_id).filter(status="active")
    if slug := request.GET.get("project"):
        projects = projects.filter(slug=slug)
    return Place(membership, sandbox, projects.order_by("-created_at", "-id").first())


def _session_key(request: HttpRequest, place: Place, *, now: datetime) -> str:
    """Return the session's key for the place, made on the first visit and kept sealed."""
    project_id = place.project.id if place.project else None
    name = f"{place.sandbox.id}:{project_id}"
    scope = place.sandbox.scope()
    kept: dict[str, str] = request.session.get(_SESSION_NAME, {})
    if name in kept:
        with contextlib.suppress(HealthCloudError):  # revoked meanwhile: a new one follows
            text = secrets.open_sealed(scope, base64.b64decode(kept[name]))
            authenticate_bearer(text, now=now, client_ip=None)
            return text
    issued = _issue(place, project_id, now=now)
    kept[name] = base64.b64encode(secrets.seal(scope, issued)).decode()
    request.session[_SESSION_NAME] = kept
    return issued


def _issue(place: Place, project_id: str | None, *, now: datetime) -> str:
    user = place.membership.user
    return services.create_api_key(
        environment=place.sandbox,
        name=f"{KEY_NAME} ({user.get_full_name()})"[:200],
        scopes=scopes_of(place.membership.role),
        project_id=project_id,
        expires_at=now + timedelta(seconds=settings.SESSION_COOKIE_AGE),
        actor=Actor(kind="user", id=user.id, label=user.get_full_name()),
        now=now,
    ).secret


urlpatterns: list[URLPattern] = [path("explorer", explorer, name="explorer")]
