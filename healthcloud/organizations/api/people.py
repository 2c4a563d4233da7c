"""/v1/users and /v1/invitations."""

from collections.abc import Mapping
from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.errors import Forbidden, NotFound
from healthcloud.organizations import queries, services
from healthcloud.organizations.api.base import OrganizationView
from healthcloud.organizations.api.serializers import (
    InvitationAcceptance,
    InvitationAnswer,
    InvitationCreation,
    IssuedInvitationAnswer,
    MemberAnswer,
    RoleChange,
)
from healthcloud.organizations.models import Membership, Role, User
from healthcloud.tenancy.scope import public_scope


def _member(row: Membership) -> dict[str, object]:
    return dict(MemberAnswer(row).data)


class PeopleView(OrganizationView):
    """A view about members; what it changes concerns production too."""

    def own_role(self) -> str:
        """Return the role whose rights the caller has; a key with `org:admin` acts as an admin."""
        return self.principal.role or Role.ADMIN

    def check_may_change(self) -> None:
        """Refuse keys of one project, and sandbox keys."""
        self.require_whole_organization()
        self.require_production_rights()


class Users(PeopleView):
    """The organization's members."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "org:admin"}

    @extend_schema(responses=MemberAnswer(many=True))
    def get(self, request: Request) -> Response:
        """List members with their roles, newest first."""
        return Response(self.page(queries.members_of(self.organization_id), _member))


class UserDetail(PeopleView):
    """One member."""

    required_scopes: ClassVar[Mapping[str, str]] = {
        "GET": "org:admin",
        "PATCH": "org:admin",
        "DELETE": "org:admin",
    }

    @extend_schema(responses=MemberAnswer)
    def get(self, request: Request, user_id: str) -> Response:
        """Read a member."""
        with public_scope():
            member = queries.members_of(self.organization_id).filter(user_id=user_id).first()
        if member is None:
            raise NotFound(f"There is no member `{user_id}` here.")
        return Response(_member(member))

    @extend_schema(request=RoleChange, responses=MemberAnswer)
    def patch(self, request: Request, user_id: str) -> Response:
        """Give a member another role."""
        self.check_may_change()
        member = services.change_role(
            organization_id=self.organization_id,
            user_id=user_id,
            role=str(self.validated(RoleChange)["role"]),
            actor=self.actor,
            actor_role=self.own_role(),
            now=self.now,
        )
        return Response(_member(member))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, user_id: str) -> Response:
        """Remove a member; the account stays."""
        self.check_may_change()
        services.remove_member(
            organization_id=self.organization_id,
            user_id=user_id,
            actor=self.actor,
            actor_role=self.own_role(),
            now=self.now,
        )
        return Response(status=204)


class Invitations(PeopleView):
    """Invitations to the organization."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "org:admin", "POST": "org:admin"}

    @extend_schema(responses=InvitationAnswer(many=True))
    def get(self, request: Request) -> Response:
        """List invitations, answered ones too, newest first."""
        context = {"now": self.now}
        rows = queries.invitations_of(self.organization_id)
        return Response(
            self.page(rows, lambda row: dict(InvitationAnswer(row, context=context).data))
        )

    @extend_schema(request=InvitationCreation, responses={201: IssuedInvitationAnswer})
    def post(self, request: Request) -> Response:
        """Invite someone by email; `accept_url` is answered once and sent to them."""
        self.check_may_change()
        data = self.validated(InvitationCreation)
        issued = services.invite(
            organization_id=self.organization_id,
            email=str(data["email"]),
            role=str(data["role"]),
            actor=self.actor,
            inviter_role=self.own_role(),
            now=self.now,
        )
        context = {"now": self.now, "accept_url": issued.accept_url}
        answer = IssuedInvitationAnswer(issued.invitation, context=context)
        return Response(answer.data, status=201)


class InvitationDetail(PeopleView):
    """One invitation."""

    required_scopes: ClassVar[Mapping[str, str]] = {"DELETE": "org:admin"}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, invitation_id: str) -> Response:
        """Take an open invitation back."""
        self.check_may_change()
        services.revoke_invitation(
            organization_id=self.organization_id,
            invitation_id=invitation_id,
            actor=self.actor,
            now=self.now,
        )
        return Response(status=204)


class InvitationAccept(OrganizationView):
    """Accepting an invitation."""

    required_scopes: ClassVar[Mapping[str, str]] = {"POST": "*"}
    own_transaction: ClassVar[frozenset[str]] = frozenset({"POST"})

    def check_permissions(self, request: Request) -> None:
        """Let a signed-in person in who is not a member of anything yet."""
        if not isinstance(request.user, User):
            super().check_permissions(request)

    @extend_schema(request=InvitationAcceptance, responses=MemberAnswer)
    def post(self, request: Request) -> Response:
        """Become a member; needs the session of the person who was invited."""
        if not isinstance(request.user, User):
            raise Forbidden("Sign in as the person who was invited.")
        token = str(self.validated(InvitationAcceptance)["token"])
        member = services.accept_invitation(token=token, user=request.user, now=self.now)
        return Response(_member(member))
