"""/v1/organizations and /v1/projects."""

from collections.abc import Mapping
from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.actors import Actor
from healthcloud.api.pagination import paginate
from healthcloud.errors import Forbidden, NotFound
from healthcloud.organizations import queries, services
from healthcloud.organizations.access import principal_for_member
from healthcloud.organizations.api.base import OrganizationView
from healthcloud.organizations.api.serializers import (
    OrganizationAnswer,
    OrganizationChange,
    OrganizationCreation,
    ProjectAnswer,
    ProjectChange,
    ProjectCreation,
)
from healthcloud.organizations.models import Organization, Project, User


def _organization(row: Organization) -> dict[str, object]:
    return dict(OrganizationAnswer(row).data)


def _project(row: Project) -> dict[str, object]:
    return dict(ProjectAnswer(row).data)


class Organizations(OrganizationView):
    """The caller's organizations."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "*", "POST": "*"}
    own_transaction: ClassVar[frozenset[str]] = frozenset({"POST"})

    def check_permissions(self, request: Request) -> None:
        """Let a signed-in person without any organization create the first one."""
        if not (request.method == "POST" and isinstance(request.user, User)):
            super().check_permissions(request)

    @extend_schema(responses=OrganizationAnswer(many=True))
    def get(self, request: Request) -> Response:
        """List organizations: the key's, or those in which the person is a member."""
        if self.principal.user_id is not None:
            rows = queries.organizations_of(self.principal.user_id)
        else:
            rows = Organization.objects.filter(pk=self.organization_id)
        return Response(paginate(rows, request, serialize=_organization))

    @extend_schema(request=OrganizationCreation, responses={201: OrganizationAnswer})
    def post(self, request: Request) -> Response:
        """Create an organization with sandbox and production, owned by the signed-in person."""
        if not isinstance(request.user, User):
            raise Forbidden("A key belongs to one organization. Sign in to create another.")
        data = self.validated(OrganizationCreation)
        organization = services.create_organization(
            **data,
            owner=request.user,
            actor=Actor(kind="user", id=request.user.id, label=request.user.get_full_name()),
            now=self.now,
        )
        membership = queries.find_membership(request.user.pk, organization_id=organization.id)
        sandbox = queries.find_environment(organization.id, "sandbox")
        if membership and sandbox:
            self.answer_for(principal_for_member(membership, sandbox))
        return Response(_organization(organization), status=201)


class OrganizationDetail(OrganizationView):
    """One organization: the caller's own."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "*", "PATCH": "org:admin"}

    def _check(self, organization_id: str) -> None:
        if organization_id != self.organization_id:
            raise NotFound(f"There is no organization `{organization_id}` here.")

    @extend_schema(responses=OrganizationAnswer)
    def get(self, request: Request, organization_id: str) -> Response:
        """Read the organization."""
        self._check(organization_id)
        return Response(_organization(Organization.objects.get(pk=organization_id)))

    @extend_schema(request=OrganizationChange, responses=OrganizationAnswer)
    def patch(self, request: Request, organization_id: str) -> Response:
        """Change name or metadata."""
        self._check(organization_id)
        self.require_whole_organization()
        organization = services.update_organization(
            organization_id=organization_id,
            **self.validated(OrganizationChange),
            actor=self.actor,
            now=self.now,
        )
        return Response(_organization(organization))


class Projects(OrganizationView):
    """The organization's projects."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "*", "POST": "org:admin"}

    @extend_schema(responses=ProjectAnswer(many=True))
    def get(self, request: Request) -> Response:
        """List projects, newest first; `status` filters. A key of one project sees that one."""
        rows = queries.projects_of(self.organization_id)
        if self.principal.project_id is not None:
            rows = rows.filter(pk=self.principal.project_id)
        if status := request.query_params.get("status"):
            rows = rows.filter(status=status)
        return Response(paginate(rows, request, serialize=_project))

    @extend_schema(request=ProjectCreation, responses={201: ProjectAnswer})
    def post(self, request: Request) -> Response:
        """Create a project; it is there in sandbox and production at once."""
        self.require_whole_organization()
        data = self.validated(ProjectCreation)
        project = services.create_project(
            organization_id=self.organization_id,
            **{**data, "blueprint": data.get("blueprint") or ""},
            actor=self.actor,
            now=self.now,
        )
        self.answer_in(queries.reference_of(project))
        return Response(_project(project), status=201)


class ProjectDetail(OrganizationView):
    """One project."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "*", "PATCH": "org:admin"}

    @extend_schema(responses=ProjectAnswer)
    def get(self, request: Request, project_id: str) -> Response:
        """Read a project."""
        self.answer_in(self.principal.resolve_project(project_id))
        rows = queries.projects_of(self.organization_id)
        return Response(_project(rows.get(pk=project_id)))

    @extend_schema(request=ProjectChange, responses=ProjectAnswer)
    def patch(self, request: Request, project_id: str) -> Response:
        """Change name or metadata; `status` archives or restores."""
        self.answer_in(self.principal.resolve_project(project_id))
        data = self.validated(ProjectChange)
        status = data.pop("status", None)
        project = services.update_project(
            organization_id=self.organization_id,
            project_id=project_id,
            **data,
            status=status,
            only_environment=self.only_environment,
            actor=self.actor,
            now=self.now,
        )
        return Response(_project(project))


class ProjectArchive(OrganizationView):
    """Archiving a project."""

    required_scopes: ClassVar[Mapping[str, str]] = {"POST": "org:admin"}

    @extend_schema(request=None, responses=ProjectAnswer)
    def post(self, request: Request, project_id: str) -> Response:
        """Archive a project: it can be read, not changed."""
        self.answer_in(self.principal.resolve_project(project_id))
        project = services.archive_project(
            organization_id=self.organization_id,
            project_id=project_id,
            only_environment=self.only_environment,
            actor=self.actor,
            now=self.now,
        )
        return Response(_project(project))


class ProjectRestore(OrganizationView):
    """Restoring a project."""

    required_scopes: ClassVar[Mapping[str, str]] = {"POST": "org:admin"}

    @extend_schema(request=None, responses=ProjectAnswer)
    def post(self, request: Request, project_id: str) -> Response:
        """Make an archived project active again."""
        self.answer_in(self.principal.resolve_project(project_id))
        project = services.restore_project(
            organization_id=self.organization_id,
            project_id=project_id,
            only_environment=self.only_environment,
            actor=self.actor,
            now=self.now,
        )
        return Response(_project(project))
