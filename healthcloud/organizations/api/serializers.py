"""What the API of this room reads and answers."""

import re
from typing import ClassVar

from rest_framework import serializers

from healthcloud.api.metadata import MetadataField
from healthcloud.organizations.models import (
    ApiKey,
    Invitation,
    Membership,
    Organization,
    Project,
    Role,
)


class ConstantField(serializers.CharField):
    """A member whose value is always the same."""

    def __init__(self, value: str) -> None:
        self.value = value
        super().__init__(read_only=True, source="*")

    def to_representation(self, value: object) -> str:
        """Return the word."""
        return self.value


class OrganizationAnswer(serializers.ModelSerializer[Organization]):
    """An organization."""

    object = ConstantField("organization")
    metadata = MetadataField()

    class Meta:
        model = Organization
        fields: ClassVar = ["id", "object", "name", "slug", "plan", "metadata", "created_at"]


class OrganizationCreation(serializers.Serializer[Organization]):
    """A new organization."""

    name = serializers.CharField(max_length=200)
    slug = serializers.SlugField(max_length=50, required=False, allow_null=True)


class OrganizationChange(serializers.Serializer[Organization]):
    """What can be changed of an organization."""

    name = serializers.CharField(max_length=200, required=False)
    metadata = MetadataField(required=False)


class ProfilesField(serializers.DictField):
    """`{"Patient": ["http://…/us-core-patient"]}`: profiles by resource type."""

    child = serializers.ListField(
        child=serializers.RegexField(r"^\S+$", max_length=500), max_length=20, allow_empty=True
    )

    def to_internal_value(self, data: dict[str, object]) -> dict[str, list[str]]:
        """Return the profiles; refuse what is no name of a type."""
        found: dict[str, list[str]] = super().to_internal_value(data)
        wrong = [name for name in found if not re.fullmatch(r"[A-Z][A-Za-z]{1,63}", name)]
        if wrong:
            raise serializers.ValidationError(f"`{wrong[0][:80]}` is no FHIR resource type.")
        return {name: urls for name, urls in found.items() if urls}


class ProjectAnswer(serializers.ModelSerializer[Project]):
    """A project."""

    object = ConstantField("project")
    metadata = MetadataField()
    blueprint = serializers.SerializerMethodField()
    fhir_profile_validation = serializers.SerializerMethodField()
    fhir_required_profiles = serializers.SerializerMethodField()

    class Meta:
        model = Project
        fields: ClassVar = [
            "id",
            "object",
            "name",
            "slug",
            "status",
            "blueprint",
            "metadata",
            "fhir_profile_validation",
            "fhir_required_profiles",
            "enforces_consent",
            "created_at",
        ]

    def get_blueprint(self, project: Project) -> str | None:
        """Return the blueprint's name, null without one."""
        return project.blueprint or None

    def get_fhir_profile_validation(self, project: Project) -> str:
        """Return off, claimed or required."""
        return str(project.fhir_profiles.get("mode", "off"))

    def get_fhir_required_profiles(self, project: Project) -> dict[str, list[str]]:
        """Return the profiles by type of which a resource conforms to one."""
        found: dict[str, list[str]] = project.fhir_profiles.get("required", {})
        return found


class ProjectCreation(serializers.Serializer[Project]):
    """A new project."""

    name = serializers.CharField(max_length=200)
    slug = serializers.SlugField(max_length=50, required=False, allow_null=True)
    blueprint = serializers.CharField(max_length=100, required=False, allow_null=True)
    metadata = MetadataField(required=False)


class ProjectChange(serializers.Serializer[Project]):
    """What can be changed of a project; `status` archives or restores it.

    `fhir_profile_validation` says whether writes of FHIR resources are checked against profiles:
    `off`; `claimed` (those in `meta.profile` that are known here); `required` (they must be known,
    too). Unless it is off, resources of a type in `fhir_required_profiles` conform to one of its
    profiles. With `enforces_consent`, active Consents hold back what they deny.
    """

    name = serializers.CharField(max_length=200, required=False)
    metadata = MetadataField(required=False)
    status = serializers.ChoiceField(choices=Project.Status.choices, required=False)
    fhir_profile_validation = serializers.ChoiceField(
        choices=["off", "claimed", "required"], required=False
    )
    fhir_required_profiles = ProfilesField(required=False)
    enforces_consent = serializers.BooleanField(required=False, allow_null=True, default=None)


class MemberAnswer(serializers.ModelSerializer[Membership]):
    """A member of the organization."""

    id = serializers.CharField(source="user_id")
    object = ConstantField("user")
    email = serializers.EmailField(source="user.email")
    name = serializers.CharField(source="user.name")
    status = serializers.SerializerMethodField()
    joined_at = serializers.DateTimeField(source="created_at")

    class Meta:
        model = Membership
        fields: ClassVar = ["id", "object", "email", "name", "role", "status", "joined_at"]

    def get_status(self, membership: Membership) -> str:
        """Return `active`, or `deactivated` for an account that can't sign in."""
        return "active" if membership.user.is_active else "deactivated"


class RoleChange(serializers.Serializer[Membership]):
    """A member's new role."""

    role = serializers.ChoiceField(choices=Role.choices)


class InvitationAnswer(serializers.ModelSerializer[Invitation]):
    """An invitation."""

    object = ConstantField("invitation")
    status = serializers.SerializerMethodField()

    class Meta:
        model = Invitation
        fields: ClassVar = [
            "id",
            "object",
            "email",
            "role",
            "status",
            "expires_at",
            "accepted_at",
            "created_at",
        ]

    def get_status(self, invitation: Invitation) -> str:
        """Return `pending`, `accepted`, `revoked` or `expired`."""
        if invitation.accepted_at:
            return "accepted"
        if invitation.revoked_at:
            return "revoked"
        return "expired" if invitation.expires_at <= self.context["now"] else "pending"


class IssuedInvitationAnswer(InvitationAnswer):
    """A new invitation with the address that accepts it, shown once."""

    accept_url = serializers.SerializerMethodField()

    class Meta(InvitationAnswer.Meta):
        fields: ClassVar = [*InvitationAnswer.Meta.fields, "accept_url"]

    def get_accept_url(self, invitation: Invitation) -> str:
        """Return the address."""
        return str(self.context["accept_url"])


class InvitationCreation(serializers.Serializer[Invitation]):
    """Whom to invite, as what."""

    email = serializers.EmailField()
    role = serializers.ChoiceField(choices=Role.choices)


class InvitationAcceptance(serializers.Serializer[Invitation]):
    """The token at the end of the address that was sent."""

    token = serializers.CharField(max_length=200)


class ApiKeyAnswer(serializers.ModelSerializer[ApiKey]):
    """An API key without its secret."""

    object = ConstantField("api_key")
    project_id = serializers.CharField(allow_null=True)
    environment = serializers.CharField(source="environment.kind")
    scopes = serializers.ListField(child=serializers.CharField())
    allowed_addresses = serializers.ListField(child=serializers.CharField())
    jwks = serializers.JSONField(allow_null=True)
    jwks_uri = serializers.SerializerMethodField()
    created_by = serializers.CharField(source="created_by_id")
    status = serializers.SerializerMethodField()

    class Meta:
        model = ApiKey
        fields: ClassVar = [
            "id",
            "object",
            "name",
            "project_id",
            "environment",
            "prefix",
            "last4",
            "scopes",
            "allowed_addresses",
            "jwks",
            "jwks_uri",
            "status",
            "expires_at",
            "last_used_at",
            "previous_expires_at",
            "revoked_at",
            "created_by",
            "created_at",
        ]

    def get_jwks_uri(self, key: ApiKey) -> str | None:
        """Return where the client publishes its keys."""
        return key.jwks_uri or None

    def get_status(self, key: ApiKey) -> str:
        """Return `active`, `revoked` or `expired`."""
        if key.revoked_at:
            return "revoked"
        expired = key.expires_at is not None and key.expires_at <= self.context["now"]
        return "expired" if expired else "active"


class IssuedKeyAnswer(ApiKeyAnswer):
    """An API key with its secret, which is shown this once."""

    secret = serializers.SerializerMethodField()

    class Meta(ApiKeyAnswer.Meta):
        fields: ClassVar = [*ApiKeyAnswer.Meta.fields, "secret"]

    def get_secret(self, key: ApiKey) -> str | None:
        """Return the secret; None for a client that signs with its own keys."""
        return str(self.context["secret"]) or None


class ApiKeyCreation(serializers.Serializer[ApiKey]):
    """A new key. Without `scopes` it gets those of the caller; without a project, all projects."""

    name = serializers.CharField(max_length=200)
    project_id = serializers.CharField(max_length=40, required=False, allow_null=True)
    scopes = serializers.ListField(
        child=serializers.CharField(max_length=300), required=False, allow_null=True, max_length=200
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    allowed_addresses = serializers.ListField(
        child=serializers.CharField(max_length=50), required=False, max_length=100
    )
    jwks = serializers.JSONField(required=False, allow_null=True)
    jwks_uri = serializers.CharField(required=False, allow_null=True, max_length=2000)


class TokenRequest(serializers.Serializer[object]):
    """The scopes wanted, a list or text with spaces; all of the key's without them."""

    scope = serializers.JSONField(required=False)

    def validate_scope(self, value: object) -> list[str]:
        """Return the scopes as a list."""
        wanted = value.split() if isinstance(value, str) else value
        if not isinstance(wanted, list) or not all(isinstance(scope, str) for scope in wanted):
            raise serializers.ValidationError('Send a list such as ["fhir:read"].')
        return wanted


class TokenAnswer(serializers.Serializer[object]):
    """A token for the header `Authorization: Bearer …`."""

    access_token = serializers.CharField()
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField()
    scope = serializers.CharField()
