"""Settings: members and invitations, API keys, audit trail."""

from datetime import timedelta

from django.http import HttpResponse

from healthcloud.audit.models import AuditEvent
from healthcloud.organizations import queries, services
from healthcloud.organizations.models import Environment, Role
from healthcloud.organizations.permissions import ROLE_SCOPES
from studio.calls import ApiCall
from studio.forms import InvitationForm, KeyForm, RoleForm
from studio.handover import hand_over, take
from studio.page import Page, studio_page
from studio.paging import page_of

ISSUED_KEY = "studio_issued_key"
ISSUED_INVITATION = "studio_issued_invitation"


@studio_page("settings", needs="organization.read", tenant=False)
def settings(page: Page) -> HttpResponse:
    """Show what the organization and the project are."""
    return page.render("studio/settings/general.html", {"tab": "general"})


@studio_page("settings", needs="member.read", tenant=False)
def members(page: Page) -> HttpResponse:
    """List members and open invitations."""
    open_invitations = queries.invitations_of(page.organization.id).filter(
        accepted_at=None, revoked_at=None, expires_at__gt=page.now
    )
    context: dict[str, object] = {
        "tab": "members",
        "members": queries.members_of(page.organization.id).order_by("created_at", "id"),
        "invitations": open_invitations.order_by("-created_at", "-id"),
        "issued": (take(page, ISSUED_INVITATION) or {}).get("accept_url"),
        "form": InvitationForm(),
        "roles": Role.choices,
    }
    return page.render("studio/settings/members.html", context)


@studio_page("settings", needs="member.invite", writes=True, tenant=False)
def invite(page: Page) -> HttpResponse:
    """Invite an address; the link is shown once."""
    form = InvitationForm(page.request.POST)
    if not form.is_valid():
        return page.refuse(form, "members")
    issued = services.invite(
        organization_id=page.organization.id,
        email=form.cleaned_data["email"],
        role=form.cleaned_data["role"],
        inviter_role=page.principal.role,
        actor=page.actor,
        now=page.now,
    )
    hand_over(page, ISSUED_INVITATION, accept_url=issued.accept_url)
    page.say(f"{form.cleaned_data['email']} is invited.")
    return page.redirect("members")


@studio_page("settings", needs="member.invite", writes=True, tenant=False)
def revoke_invitation(page: Page, invitation_id: str) -> HttpResponse:
    """Take an invitation back."""
    services.revoke_invitation(
        organization_id=page.organization.id,
        invitation_id=invitation_id,
        actor=page.actor,
        now=page.now,
    )
    page.say("The invitation no longer works.")
    return page.redirect("members")


@studio_page("settings", needs="member.update", writes=True, tenant=False)
def change_role(page: Page, user_id: str) -> HttpResponse:
    """Give a member another role."""
    form = RoleForm(page.request.POST)
    if not form.is_valid():
        return page.refuse(form, "members")
    services.change_role(
        organization_id=page.organization.id,
        user_id=user_id,
        role=form.cleaned_data["role"],
        actor=page.actor,
        actor_role=page.principal.role,
        now=page.now,
    )
    page.say("The role is changed.")
    return page.redirect("members")


@studio_page("settings", needs="member.update", writes=True, tenant=False)
def remove_member(page: Page, user_id: str) -> HttpResponse:
    """End a membership."""
    services.remove_member(
        organization_id=page.organization.id,
        user_id=user_id,
        actor=page.actor,
        actor_role=page.principal.role,
        now=page.now,
    )
    page.say("The member is removed.")
    return page.redirect("members")


@studio_page("settings", needs="key.read", tenant=False)
def keys(page: Page) -> HttpResponse:
    """List the environment's API keys; a new secret is shown once."""
    context: dict[str, object] = {
        "tab": "keys",
        "keys": queries.keys_of(page.organization.id, page.environment)
        .select_related("project")
        .order_by("revoked_at", "-created_at", "-id"),
        "issued": take(page, ISSUED_KEY),
        "form": key_form(page),
        "call": ApiCall("POST", "/v1/api-keys", {"name": "Lab interface", "scopes": ["fhir:read"]}),
    }
    return page.render("studio/settings/keys.html", context)


def key_form(page: Page, data: object = None) -> KeyForm:
    """Return the form for a new key, with the scopes that the person may hand on."""
    granted = ROLE_SCOPES[page.principal.role or "viewer"]
    return KeyForm(data, granted=granted, project=page.project.name)


@studio_page("settings", needs="key.create", writes=True, tenant=False)
def create_key(page: Page) -> HttpResponse:
    """Create a key of this environment."""
    form = key_form(page, page.request.POST)
    if not form.is_valid():
        return page.refuse(form, "keys")
    days = form.cleaned_data["expires"]
    issued = services.create_api_key(
        environment=environment_of(page),
        name=form.cleaned_data["name"],
        scopes=form.cleaned_data["scopes"],
        project_id=page.project.id if form.cleaned_data["binding"] == "project" else None,
        expires_at=page.now + timedelta(days=int(days)) if days else None,
        grantable=page.principal.scopes,
        actor=page.actor,
        now=page.now,
    )
    return show_once(page, issued)


@studio_page("settings", needs="key.create", writes=True, tenant=False)
def rotate_key(page: Page, key_id: str) -> HttpResponse:
    """Give a key a new secret; the old one works for another 24 hours."""
    issued = services.rotate_api_key(
        environment=environment_of(page),
        key_id=key_id,
        grantable=page.principal.scopes,
        actor=page.actor,
        now=page.now,
    )
    return show_once(page, issued)


@studio_page("settings", needs="key.revoke", writes=True, tenant=False)
def revoke_key(page: Page, key_id: str) -> HttpResponse:
    """End a key at once."""
    services.revoke_api_key(
        environment=environment_of(page), key_id=key_id, actor=page.actor, now=page.now
    )
    page.say("The key is revoked. The next request with it is refused.")
    return page.redirect("keys")


def show_once(page: Page, issued: services.IssuedKey) -> HttpResponse:
    """Hand the secret to the next page, which forgets it."""
    hand_over(page, ISSUED_KEY, name=issued.key.name, secret=issued.secret)
    return page.redirect("keys")


def environment_of(page: Page) -> Environment:
    """Return the environment on which the page stands."""
    return Environment.objects.get(id=page.scope.environment_id)


@studio_page("settings", needs="audit.read")
def audit(page: Page) -> HttpResponse:
    """Show who did what in this environment, newest first."""
    rows, next_url = page_of(page, AuditEvent.objects.order_by("-position"))
    return page.render(
        "studio/settings/audit.html", {"tab": "audit", "rows": rows, "next_url": next_url}
    )
