"""New organizations and projects, and the way in for an invited person."""

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from healthcloud.actors import Actor
from healthcloud.errors import HealthCloudError
from healthcloud.organizations import access, permissions, queries, services
from healthcloud.organizations.models import User
from studio.forms import AcceptForm, OrganizationForm, ProjectForm
from studio.page import signed_in


def actor_of(user: User) -> Actor:
    """Return a person as services name them, outside any organization."""
    return Actor(kind="user", id=user.id, label=user.get_full_name())


@login_required
def create_organization(request: HttpRequest) -> HttpResponse:
    """Create an organization with its first project, and go there."""
    user = signed_in(request)
    form = OrganizationForm(request.POST or None)
    if form.is_valid():
        actor, now = actor_of(user), timezone.now()
        try:
            organization = services.create_organization(
                name=form.cleaned_data["name"], owner=user, actor=actor, now=now
            )
            project = services.create_project(
                organization_id=organization.id,
                name=form.cleaned_data["project"],
                actor=actor,
                now=now,
            )
            return redirect("studio:home", organization.slug, "sandbox", project.slug)
        except HealthCloudError as error:
            form.add_error(None, error.message)
    return render(request, "studio/create_organization.html", {"form": form})


@login_required
def create_project(request: HttpRequest, organization: str) -> HttpResponse:
    """Create a project in an organization of which the person is an admin."""
    user = signed_in(request)
    membership = queries.find_membership(user.id, slug=organization)
    if membership is None:
        raise Http404
    _, principal = access.scope_for(user, organization, "sandbox", None)
    form = ProjectForm(request.POST or None)
    if form.is_valid():
        try:
            permissions.require(principal, "project.create")
            project = services.create_project(
                organization_id=membership.organization_id,
                name=form.cleaned_data["name"],
                actor=principal.actor,
                now=timezone.now(),
            )
            return redirect("studio:home", organization, "sandbox", project.slug)
        except HealthCloudError as error:
            form.add_error(None, error.message)
    context = {"form": form, "organization": membership.organization}
    return render(request, "studio/create_project.html", context)


def accept_invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Let an invited person in: with the account they have, or with a new one."""
    now = timezone.now()
    try:
        invitation = services.find_open_invitation(token=token, now=now)
        form = AcceptForm(request.POST if request.method == "POST" else None)
        if request.method == "POST" and (request.user.is_authenticated or form.is_valid()):
            _accept(request, token, invitation.email, form)
            return redirect("studio:organization", invitation.organization.slug)
    except HealthCloudError as error:
        if request.method == "POST":
            messages.error(request, error.message)
            return redirect(request.path)
        return render(request, "studio/refused.html", {"error": error}, status=error.status)
    return render(
        request, "studio/accept_invitation.html", {"invitation": invitation, "form": form}
    )


def _accept(request: HttpRequest, token: str, email: str, form: AcceptForm) -> None:
    if isinstance(request.user, User):
        services.accept_invitation(token=token, user=request.user, now=timezone.now())
        return
    user = services.create_user(
        email=email, password=form.cleaned_data["password"], name=form.cleaned_data["name"]
    )
    services.accept_invitation(token=token, user=user, now=timezone.now())
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
