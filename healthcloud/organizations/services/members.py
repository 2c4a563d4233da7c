"""People: sign-up, invitations, roles, leaving."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.db import transaction

from healthcloud.actors import Actor
from healthcloud.errors import Conflict, Forbidden, NotFound, ValidationFailed
from healthcloud.organizations.models import Invitation, Membership, Organization, Role, User
from healthcloud.organizations.services.announce import Change, announce, environments_of
from healthcloud.tenancy.scope import public_scope

INVITATION_LIFE: Final = timedelta(days=7)


class MemberNotFound(NotFound):
    """There is no such member in this organization."""


class LastOwner(Conflict):
    """An organization always has an owner."""


class OwnerOnly(Forbidden):
    """Owners are made and unmade by owners."""


class InvitationNotFound(NotFound):
    """There is no such invitation."""


class InvitationClosed(Conflict):
    """The invitation was accepted, revoked or has expired."""


class InvitedAnother(Forbidden):
    """The invitation is for another email address."""


@dataclass(frozen=True, slots=True)
class IssuedInvitation:
    """An invitation and the address that accepts it, which is never shown again."""

    invitation: Invitation
    accept_url: str


def create_user(*, email: str, password: str, name: str = "", is_staff: bool = False) -> User:
    """Create a person who can sign in. Raises ValidationFailed for a weak password, Conflict."""
    candidate = User(email=email, name=name)
    try:
        validate_password(password, candidate)
    except ValidationError as error:
        raise ValidationFailed(" ".join(error.messages), param="password") from error
    with public_scope():
        if User.objects.filter(email__iexact=email).exists():
            raise Conflict(f"{email} has an account already.", param="email")
        return User.objects.create_user(email, password, name=name, is_staff=is_staff)


def invite(
    *,
    organization_id: str,
    email: str,
    role: str,
    actor: Actor,
    now: datetime,
    inviter_role: str | None = None,
) -> IssuedInvitation:
    """Invite an address; an open invitation of the same address is replaced.

    `inviter_role` is the actor's own role, None for the platform. Raises OwnerOnly, Conflict for
    an address that is a member already.
    """
    _check_may_grant(inviter_role, role)
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        with public_scope():
            organization = _locked_organization(organization_id)
            if organization.memberships.filter(user__email__iexact=email).exists():
                raise Conflict(f"{email} is a member already.", param="email")
            organization.invitations.filter(
                email__iexact=email, accepted_at=None, revoked_at=None
            ).update(revoked_at=now)
            invitation = Invitation.objects.create(
                organization=organization,
                email=email.lower(),
                role=role,
                token_digest=_digest(token),
                invited_by_id=actor.id,
                expires_at=now + INVITATION_LIFE,
            )
        _announce_invitation(invitation, "create", actor=actor, now=now, event="member.invited")
        url = f"{settings.BASE_URL}/studio/invitations/{token}/"
        transaction.on_commit(partial(_send, email, organization.name, actor.label, url))
    return IssuedInvitation(invitation, url)


def _send(email: str, organization: str, inviter: str, url: str) -> None:
    send_mail(
        subject=f"{inviter} invites you to {organization} on HealthCloud",
        message=f"Accept within 7 days:\n\n{url}\n",
        from_email=None,
        recipient_list=[email],
        fail_silently=True,
    )


def find_open_invitation(*, token: str, now: datetime) -> Invitation:
    """Return the invitation of a token. Raises InvitationNotFound, InvitationClosed."""
    with public_scope():
        rows = Invitation.objects.select_related("organization")
        invitation = rows.filter(token_digest=_digest(token)).first()
    if invitation is None:
        raise InvitationNotFound("This invitation is unknown; ask for a new one.", param="token")
    if invitation.accepted_at or invitation.revoked_at or invitation.expires_at <= now:
        raise InvitationClosed("This invitation was used or has ended; ask for a new one.")
    return invitation


def accept_invitation(*, token: str, user: User, now: datetime) -> Membership:
    """Make the person a member. Raises InvitationNotFound, InvitationClosed, InvitedAnother."""
    actor = Actor(kind="user", id=user.id, label=user.get_full_name())
    with transaction.atomic():
        with public_scope():
            found = find_open_invitation(token=token, now=now)
            Invitation.objects.select_for_update().get(pk=found.pk)
            invitation = find_open_invitation(token=token, now=now)
            if invitation.email.lower() != user.email.lower():
                raise InvitedAnother(f"This invitation is for {invitation.email}; sign in as that.")
            membership, created = Membership.objects.get_or_create(
                organization=invitation.organization, user=user, defaults={"role": invitation.role}
            )
            invitation.accepted_at = now
            invitation.save(update_fields=["accepted_at"])
        if created:
            _announce_member(membership, "join", "member.joined", actor=actor, now=now)
    return membership


def revoke_invitation(
    *, organization_id: str, invitation_id: str, actor: Actor, now: datetime
) -> Invitation:
    """Take an open invitation back. Raises InvitationNotFound, InvitationClosed."""
    with transaction.atomic():
        with public_scope():
            rows = Invitation.objects.select_for_update()
            invitation = rows.filter(organization_id=organization_id, pk=invitation_id).first()
            if invitation is None:
                raise InvitationNotFound(f"There is no invitation `{invitation_id}` here.")
            if invitation.accepted_at is not None:
                raise InvitationClosed("This invitation was accepted; remove the member instead.")
            invitation.revoked_at = invitation.revoked_at or now
            invitation.save(update_fields=["revoked_at"])
        _announce_invitation(invitation, "revoke", actor=actor, now=now)
    return invitation


def change_role(
    *,
    organization_id: str,
    user_id: str,
    role: str,
    actor: Actor,
    now: datetime,
    actor_role: str | None = None,
) -> Membership:
    """Give a member another role. Raises MemberNotFound, OwnerOnly, LastOwner."""
    _check_may_grant(actor_role, role)
    with transaction.atomic():
        with public_scope():
            membership = _locked_member(organization_id, user_id)
            _check_may_grant(actor_role, membership.role)
            if role != Role.OWNER:
                _check_not_last_owner(membership)
            membership.role = role
            membership.save(update_fields=["role"])
        _announce_member(membership, "update", "member.updated", actor=actor, now=now)
    return membership


def remove_member(
    *,
    organization_id: str,
    user_id: str,
    actor: Actor,
    now: datetime,
    actor_role: str | None = None,
) -> None:
    """End a membership; the account stays. Raises MemberNotFound, OwnerOnly, LastOwner."""
    with transaction.atomic():
        with public_scope():
            membership = _locked_member(organization_id, user_id)
            _check_may_grant(actor_role, membership.role)
            _check_not_last_owner(membership)
            Membership.objects.filter(pk=membership.pk).delete()
        _announce_member(membership, "remove", "member.removed", actor=actor, now=now)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _check_may_grant(own_role: str | None, role: str) -> None:
    if role not in Role.values:
        raise ValidationFailed(f"`role` is one of {', '.join(Role.values)}.", param="role")
    if role == Role.OWNER and own_role not in (None, Role.OWNER):
        raise OwnerOnly("Only an owner can make, change or remove an owner.", param="role")


def _locked_organization(organization_id: str) -> Organization:
    return Organization.objects.select_for_update().get(pk=organization_id)


def _locked_member(organization_id: str, user_id: str) -> Membership:
    """Lock the organization, so that two owners can't remove each other at once."""
    organization = Organization.objects.select_for_update().filter(pk=organization_id).first()
    rows = Membership.objects.select_related("user").filter(user_id=user_id)
    membership = rows.filter(organization=organization).first() if organization else None
    if membership is None:
        raise MemberNotFound(f"There is no member `{user_id}` here.")
    return membership


def _check_not_last_owner(membership: Membership) -> None:
    if membership.role != Role.OWNER:
        return
    others = Membership.objects.filter(
        organization_id=membership.organization_id, role=Role.OWNER
    ).exclude(pk=membership.pk)
    if not others.exists():
        raise LastOwner("This is the last owner; make another member owner first.")


def _announce_member(
    membership: Membership, verb: str, event: str, *, actor: Actor, now: datetime
) -> None:
    change = Change(
        action=f"member.{verb}",
        target_type="user",
        target_id=membership.user_id,
        event=event,
        payload={"user_id": membership.user_id, "role": membership.role},
        details={"role": membership.role},
    )
    environments = environments_of(membership.organization_id)
    announce(change, environments=environments, actor=actor, now=now)


def _announce_invitation(
    invitation: Invitation, verb: str, *, actor: Actor, now: datetime, event: str | None = None
) -> None:
    change = Change(
        action=f"invitation.{verb}",
        target_type="invitation",
        target_id=invitation.id,
        event=event,
        payload={"invitation_id": invitation.id, "role": invitation.role},
        details={"role": invitation.role},
    )
    environments = environments_of(invitation.organization_id)
    announce(change, environments=environments, actor=actor, now=now)
