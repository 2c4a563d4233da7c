"""From `/studio/` to the place where a person works: the last project, or the first steps."""

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect

from healthcloud.errors import NotFound
from healthcloud.organizations import queries
from healthcloud.organizations.access import scope_for
from healthcloud.organizations.models import Organization, Project
from studio.page import LAST_PLACE, signed_in


@login_required
def entry(request: HttpRequest) -> HttpResponse:
    """Go to the project last used, else to the first one, else to creating an organization."""
    user = signed_in(request)
    place = request.session.get(LAST_PLACE)
    if isinstance(place, list) and len(place) == 3:
        try:
            scope_for(user, *place)
            return redirect("studio:home", *place)
        except NotFound:
            request.session.pop(LAST_PLACE)
    first = queries.organizations_of(user.id).first()
    return _first_project(first) if first else redirect("studio:create_organization")


@login_required
def organization(request: HttpRequest, organization: str) -> HttpResponse:
    """Go to an organization's first project."""
    found = queries.organizations_of(signed_in(request).id).filter(slug=organization).first()
    if found is None:
        raise Http404
    return _first_project(found)


def _first_project(organization: Organization) -> HttpResponse:
    active = queries.projects_of(organization.id).filter(status=Project.Status.ACTIVE)
    project = active.order_by("created_at", "id").first()
    if project is None:
        return redirect("studio:create_project", organization.slug)
    return redirect("studio:home", organization.slug, "sandbox", project.slug)
