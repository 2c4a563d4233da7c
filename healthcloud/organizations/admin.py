"""The admin console: staff look after organizations, environments, people, keys and plans.

Clinical data never appears here: tenants' tables don't exist in the public schema. What can be
changed goes through the same services as the API; the rest is read-only.
"""

from typing import ClassVar

from allauth.account.decorators import secure_admin_login
from django import forms
from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.widgets import UnfoldAdminSelectWidget

from healthcloud.actors import Actor
from healthcloud.errors import HealthCloudError
from healthcloud.organizations import services
from healthcloud.organizations.models import (
    ApiKey,
    Domain,
    Environment,
    Invitation,
    Membership,
    Organization,
    Project,
    Role,
    User,
)

admin.site.site_title = "HealthCloud admin"
admin.site.site_header = "HealthCloud"
admin.site.index_title = "Organizations, people and keys"
# Staff sign in where everybody does, with the same limits and second factor.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]  # as allauth's docs say


def _actor(request: HttpRequest) -> Actor:
    user = request.user
    assert isinstance(user, User)
    return Actor(kind="user", id=user.id, label=f"{user.get_full_name()} (staff)")


class StaffAdmin(ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """A model that every member of staff may see and, where a class lets them, change."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Let staff in."""
        return bool(request.user.is_staff)

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Let staff see."""
        return bool(request.user.is_staff)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let staff add."""
        return bool(request.user.is_staff)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Let staff change."""
        return bool(request.user.is_staff)


class ReadOnly:
    """What the console shows and does not change."""

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Let staff see."""
        return bool(request.user.is_staff)

    def has_add_permission(self, request: HttpRequest, *args: object) -> bool:
        """Let nobody add."""
        return False

    def has_change_permission(self, request: HttpRequest, *args: object) -> bool:
        """Let nobody change."""
        return False

    def has_delete_permission(self, request: HttpRequest, *args: object) -> bool:
        """Let nobody delete."""
        return False


class EnvironmentInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold is untyped
    """The two tenants of an organization."""

    model = Environment
    fields = ("id", "kind", "status", "schema_name", "created_at")
    readonly_fields = fields
    extra = 0


class ProjectInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold is untyped
    """The projects of an organization."""

    model = Project
    fields = ("id", "name", "slug", "status", "created_at")
    readonly_fields = fields
    extra = 0


class MembershipInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold is untyped
    """The members of an organization."""

    model = Membership
    fields = ("user", "role", "created_at")
    readonly_fields = fields
    extra = 0


class OrganizationForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable when run
    """A new organization, or a change of name or plan."""

    owner = forms.ModelChoiceField(
        queryset=User.objects.filter(is_active=True).order_by("email"),
        required=False,
        widget=UnfoldAdminSelectWidget,
    )

    class Meta:
        model = Organization
        fields: ClassVar = ["name", "slug", "plan"]


@admin.register(Organization)
class OrganizationAdmin(StaffAdmin):
    """Create organizations with their tenants; change name and plan."""

    form = OrganizationForm
    list_display = ("name", "slug", "plan", "members", "projects_count", "created_at")
    list_filter = ("plan",)
    search_fields = ("name", "slug", "id")
    inlines = (EnvironmentInline, ProjectInline, MembershipInline)
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        """Return organizations with their counts."""
        rows: QuerySet[Organization] = super().get_queryset(request)
        return rows.annotate(
            _members=Count("memberships", distinct=True), _projects=Count("projects", distinct=True)
        )

    def get_fields(self, request: HttpRequest, obj: Organization | None = None) -> list[str]:
        """Ask for the owner of a new organization only."""
        return ["name", "slug", "plan"] if obj else ["name", "slug", "plan", "owner"]

    def get_readonly_fields(
        self, request: HttpRequest, obj: Organization | None = None
    ) -> tuple[str, ...]:
        """Keep the slug once it is in addresses."""
        return ("slug",) if obj else ()

    def get_inlines(
        self, request: HttpRequest, obj: Organization | None
    ) -> tuple[type[TabularInline], ...]:
        """Show the parts of an organization that exists."""
        return self.inlines if obj else ()

    @admin.display(description="members", ordering="_members")
    def members(self, organization: Organization) -> int:
        """Return how many people belong to it."""
        return int(getattr(organization, "_members", 0))

    @admin.display(description="projects", ordering="_projects")
    def projects_count(self, organization: Organization) -> int:
        """Return how many projects it has."""
        return int(getattr(organization, "_projects", 0))

    def save_model(
        self, request: HttpRequest, obj: Organization, form: OrganizationForm, change: bool
    ) -> None:
        """Create or change through the services."""
        data = form.cleaned_data
        if change:
            services.update_organization(
                organization_id=obj.pk,
                name=data["name"],
                plan=data["plan"],
                actor=_actor(request),
                now=timezone.now(),
            )
            return
        made = services.create_organization(
            name=data["name"],
            slug=data["slug"],
            plan=data["plan"],
            owner=data["owner"],
            actor=_actor(request),
            now=timezone.now(),
        )
        obj.pk = made.pk
        obj._state.adding = False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Let nobody delete: an organization is exported first, by command."""
        return False


@admin.register(Environment)
class EnvironmentAdmin(ReadOnly, StaffAdmin):
    """The tenants."""

    list_display = ("id", "organization", "kind", "status", "schema_name", "created_at")
    list_filter = ("kind", "status")
    search_fields = ("id", "organization__name", "schema_name")
    list_select_related = ("organization",)
    exclude = ("data_key",)


@admin.register(User)
class UserAdmin(StaffAdmin):
    """People: activate, deactivate, make staff."""

    list_display = ("email", "name", "is_active", "is_staff", "last_login", "created_at")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name", "id")
    fields = ("id", "email", "name", "is_active", "is_staff", "last_login", "created_at")
    readonly_fields = ("id", "email", "last_login", "created_at")
    ordering = ("email",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let people sign up or be created by command, where passwords are checked."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Let nobody delete: tenants keep people's ids; deactivate instead."""
        return False


@admin.register(Membership)
class MembershipAdmin(StaffAdmin):
    """Who belongs where, as what; only the role can be changed."""

    list_display = ("user", "organization", "role", "created_at")
    list_filter = ("role",)
    list_editable = ("role",)
    search_fields = ("user__email", "organization__name")
    list_select_related = ("user", "organization")
    readonly_fields = ("user", "organization")
    fields = ("user", "organization", "role")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let members come by invitation."""
        return False

    def save_model(
        self,
        request: HttpRequest,
        obj: Membership,
        form: "forms.ModelForm[Membership]",
        change: bool,
    ) -> None:
        """Change the role through the service, which keeps the last owner."""
        try:
            services.change_role(
                organization_id=obj.organization_id,
                user_id=obj.user_id,
                role=Role(obj.role),
                actor=_actor(request),
                now=timezone.now(),
            )
        except HealthCloudError as error:
            self.message_user(request, error.message, messages.ERROR)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Let the organization's owners remove members."""
        return False


@admin.register(Invitation)
class InvitationAdmin(ReadOnly, StaffAdmin):
    """Invitations, without their tokens."""

    list_display = ("email", "organization", "role", "expires_at", "accepted_at", "revoked_at")
    search_fields = ("email", "organization__name")
    list_select_related = ("organization",)
    exclude = ("token_digest",)


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly, StaffAdmin):
    """API keys, without their digests; staff can revoke them."""

    list_display = (
        "name",
        "organization",
        "environment_kind",
        "prefix",
        "last4",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    list_filter = ("environment__kind",)
    search_fields = ("id", "name", "organization__name", "last4")
    list_select_related = ("organization", "environment")
    exclude = ("digest", "previous_digest")
    actions = ("revoke",)

    @admin.display(description="environment", ordering="environment__kind")
    def environment_kind(self, key: ApiKey) -> str:
        """Return `sandbox` or `production`."""
        return str(key.environment.kind)

    @admin.action(description="Revoke the selected keys")
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        """Revoke each through the service, which audits it in the tenant."""
        for key in keys.select_related("environment"):
            services.revoke_api_key(
                environment=key.environment,
                key_id=key.pk,
                actor=_actor(request),
                now=timezone.now(),
            )
        self.message_user(request, f"{len(keys)} keys revoked.")


@admin.register(Domain)
class DomainAdmin(StaffAdmin):
    """Vanity hosts of environments."""

    list_display = ("domain", "tenant", "is_primary")
    search_fields = ("domain",)
