"""The prologue every Studio page shares: who, where, the open tenant scope, and errors as pages."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, wraps

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.forms import BaseForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods

from fhir.consents import heeding
from healthcloud.actors import Actor
from healthcloud.api.principal import Principal
from healthcloud.errors import BadRequest, HealthCloudError, NotFound, Unauthorized
from healthcloud.events import numbering
from healthcloud.organizations import permissions
from healthcloud.organizations.access import scope_for
from healthcloud.organizations.models import Organization, Project, User
from healthcloud.tenancy.scope import Scope, tenant_scope
from studio.navigation import GROUPS, SETTINGS, Group, Section
from workflows.models import TaskStatus
from workflows.queries import tasks

LAST_PLACE = "studio_place"
"""The session's memory of the place last visited: organization, environment, project."""


@dataclass(frozen=True)
class Page:
    """Where the user stands; templates know it as `page`.

    `scope` is open while the view runs, so everything it reads belongs to this project.
    """

    request: HttpRequest
    organization: Organization
    project: Project
    environment: str
    scope: Scope
    principal: Principal
    section: str
    now: datetime
    groups: tuple[Group, ...] = GROUPS
    settings: Section = SETTINGS

    @property
    def actor(self) -> Actor:
        """The user, as services name them."""
        return self.principal.actor

    @property
    def is_sandbox(self) -> bool:
        """True where data is synthetic and vendors are simulated."""
        return self.environment == "sandbox"

    @cached_property
    def projects(self) -> list[Project]:
        """The organization's projects that are not archived, by name."""
        active = self.organization.projects.filter(status=Project.Status.ACTIVE)
        return list(active.order_by("name"))

    @cached_property
    def organizations(self) -> list[Organization]:
        """The organizations of which the user is a member, by name."""
        found = Organization.objects.filter(memberships__user_id=self.principal.user_id)
        return list(found.order_by("name"))

    @property
    def other_environment_url(self) -> str:
        """The same project's home in the other environment."""
        other = "production" if self.is_sandbox else "sandbox"
        return reverse("studio:home", args=[self.organization.slug, other, self.project.slug])

    @cached_property
    def live_after(self) -> int:
        """The number of the event behind which the page's live stream goes on.

        Read before anything that the page shows: what happens while it is drawn is told to it.
        """
        with tenant_scope(self.scope):
            return numbering.last_number()

    def can(self, action: str) -> bool:
        """Say whether the user's role includes an action, such as `asset.install`."""
        return permissions.can(self.principal, action)

    def url(self, name: str, *args: object) -> str:
        """Return the address of another page of this project and environment."""
        place = (self.organization.slug, self.environment, self.project.slug)
        return reverse(f"studio:{name}", args=[*place, *args])

    def render(
        self, template: str, context: Mapping[str, object] | None = None, *, status: int = 200
    ) -> HttpResponse:
        """Render at once, inside the scope that the view has open."""
        values = {"page": self, **self._frame(), **(context or {})}
        return HttpResponse(
            render_to_string(template, values, self.request).lstrip(), status=status
        )

    def _frame(self) -> dict[str, object]:
        """Return what the frame shows: where the live stream goes on, and how much is to decide."""
        with tenant_scope(self.scope):
            open_tasks = tasks().filter(status=TaskStatus.OPEN).count()
        return {"live_after": self.live_after, "open_tasks": open_tasks}

    def redirect(self, name: str, *args: object) -> HttpResponse:
        """Go to another page of this project."""
        return redirect(self.url(name, *args))

    def back(self, fallback: str, *args: object) -> HttpResponse:
        """Go to the page the form stood on."""
        return redirect(_referer(self.request) or self.url(fallback, *args))

    def refuse(self, form: BaseForm, fallback: str, *args: object) -> HttpResponse:
        """Say what is wrong with a form, and go back to where it stands."""
        for field, errors in form.errors.items():
            label = "" if field == "__all__" else f"{form.fields[field].label or field}: "
            messages.error(self.request, f"{label}{' '.join(map(str, errors))}")
        return self.back(fallback, *args)

    def warn(self, text: str) -> None:
        """Leave a warning that the next page shows as a toast."""
        messages.warning(self.request, text.strip())

    def say(self, text: str) -> None:
        """Leave a message that the next page shows as a toast."""
        messages.success(self.request, text)


StudioView = Callable[..., HttpResponse]


def studio_page(
    section: str, *, needs: str, writes: bool = False, tenant: bool = True
) -> Callable[[StudioView], StudioView]:
    """Turn `view(page, **kwargs)` into a view of an organization's environment and project.

    `needs` is the action that the user's role must include. The page's tenant scope stays open
    for the whole view, unless `tenant` is off (for what lives in the public schema). What another
    organization owns is 404. A refused write is undone, told in a toast, and leads back.
    """
    allowed = ["POST"] if writes else ["GET", "HEAD"]

    def decorate(view: StudioView) -> StudioView:
        @require_http_methods(allowed)
        @login_required
        @wraps(view)
        def wrapper(
            request: HttpRequest,
            organization: str,
            environment: str,
            project: str,
            **kwargs: object,
        ) -> HttpResponse:
            try:
                _check_text(request, kwargs)
                page = open_page(request, organization, environment, project, section)
                permissions.require(page.principal, needs)
                with tenant_scope(page.scope) if tenant else nullcontext():
                    if not writes:
                        _ = page.live_after  # before anything that the page shows is read
                    return view(page, **kwargs)
            except NotFound as error:
                raise Http404(error.message) from error
            except HealthCloudError as error:
                return _refuse(request, error)

        return wrapper

    return decorate


def _check_text(request: HttpRequest, kwargs: Mapping[str, object]) -> None:
    """Refuse what no text of the database can hold, wherever it would be looked for."""
    sent = [text for form in (request.GET, request.POST) for _, v in form.lists() for text in v]
    if any("\0" in str(text) for text in [*sent, *kwargs.values()]):
        raise BadRequest("The request holds the character U+0000.")


def open_page(
    request: HttpRequest, organization: str, environment: str, project: str, section: str
) -> Page:
    """Resolve the address into a page; NotFound when the user has no membership there."""
    scope, principal = scope_for(signed_in(request), organization, environment, project)
    place = [organization, environment, project]
    if request.session.get(LAST_PLACE) != place:
        request.session[LAST_PLACE] = place
    found = Project.objects.select_related("organization").get(id=scope.project_id)
    now = timezone.now()
    return Page(
        request=request,
        organization=found.organization,
        project=found,
        environment=environment,
        scope=heeding(scope, principal, found, now=now),
        principal=principal,
        section=section,
        now=now,
    )


def signed_in(request: HttpRequest) -> User:
    """Return the person behind a request that `login_required` let through."""
    if not isinstance(request.user, User):
        raise Unauthorized("Sign in first.")
    return request.user


def _refuse(request: HttpRequest, error: HealthCloudError) -> HttpResponse:
    back = _referer(request)
    if request.method == "POST" and back:
        messages.error(request, error.message)
        return redirect(back)
    return render(request, "studio/refused.html", {"error": error}, status=error.status)


def _referer(request: HttpRequest) -> str | None:
    address = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    allowed = url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return address if allowed and address else None
