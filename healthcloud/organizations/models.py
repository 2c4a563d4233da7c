"""Organizations, environments (the tenants), projects, people and keys, in the public schema.

No clinical data and no secret in clear is ever kept here; tenants keep ids of these rows.
"""

import secrets
from typing import TYPE_CHECKING, ClassVar, Final

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower

from healthcloud.identifiers import new_id
from healthcloud.secrets import new_data_key
from healthcloud.tenancy.scope import Scope

if TYPE_CHECKING:  # django-tenants is untyped

    class TenantMixin(models.Model):
        """What the type checker needs to know of django-tenants' mixin."""

        class Meta:
            abstract = True

    class DomainMixin(models.Model):
        """What the type checker needs to know of django-tenants' mixin."""

        class Meta:
            abstract = True

else:
    from django_tenants.models import DomainMixin, TenantMixin

PROJECT_NUMBERS: Final = "organizations_project_number"  # a sequence; numbers are never reused


def organization_id() -> str:
    """Return a new organization id."""
    return new_id("org")


def environment_id() -> str:
    """Return a new environment id."""
    return new_id("env")


def project_id() -> str:
    """Return a new project id."""
    return new_id("proj")


def user_id() -> str:
    """Return a new user id."""
    return new_id("usr")


def membership_id() -> str:
    """Return a new membership id."""
    return new_id("mem")


def invitation_id() -> str:
    """Return a new invitation id."""
    return new_id("inv")


def key_id() -> str:
    """Return a new API key id."""
    return new_id("key")


def grant_id() -> str:
    """Return a new id of a person's grant to an app."""
    return new_id("grant")


def schema_name() -> str:
    """Return a new schema name; the tenant's role has the same name, unique in the cluster."""
    return f"t_{secrets.token_hex(8)}"


class Organization(models.Model):
    """A customer: owns projects, environments, members and keys."""

    class Plan(models.TextChoices):
        """What an organization pays for; sets its rate limits."""

        STARTER = "starter"
        GROWTH = "growth"
        UNLIMITED = "unlimited"

    id = models.CharField(primary_key=True, max_length=40, default=organization_id)
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=50, unique=True)
    plan = models.CharField(max_length=20, choices=Plan, default=Plan.STARTER)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Environment(TenantMixin):
    """An organization's sandbox or production: one PostgreSQL schema."""

    class Kind(models.TextChoices):
        """Which of the two; API keys carry it in their prefix."""

        SANDBOX = "sandbox"
        PRODUCTION = "production"

    class Status(models.TextChoices):
        """Where the schema is in its life."""

        PROVISIONING = "provisioning"
        ACTIVE = "active"
        DELETING = "deleting"

    organization_id: str
    auto_create_schema = False
    auto_drop_schema = False

    id = models.CharField(primary_key=True, max_length=40, default=environment_id)
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="environments"
    )
    kind = models.CharField(max_length=12, choices=Kind)
    schema_name = models.CharField(max_length=63, unique=True, default=schema_name)
    status = models.CharField(max_length=12, choices=Status, default=Status.PROVISIONING)
    data_key = models.BinaryField(default=new_data_key, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["organization", "kind"], name="environment_once_per_organization"
            )
        ]

    def __str__(self) -> str:
        return f"{self.organization_id} / {self.kind}"

    def scope(self, project: "Project | None" = None) -> Scope:
        """Return the scope of this tenant, narrowed to a project of the same organization."""
        return Scope(
            organization_id=self.organization_id,
            environment_id=self.id,
            environment=self.kind,
            schema=self.schema_name,
            project_id=project.id if project else None,
            project_number=project.number if project else None,
        )


class Domain(DomainMixin):
    """A vanity host of an environment."""


class Project(models.Model):
    """A unit of work inside an organization; present in both environments."""

    class Status(models.TextChoices):
        """Archived projects can be read, not changed."""

        ACTIVE = "active"
        ARCHIVED = "archived"

    id = models.CharField(primary_key=True, max_length=40, default=project_id)
    number = models.IntegerField(
        unique=True,
        editable=False,
        db_default=models.Func(
            models.Value(PROJECT_NUMBERS), function="nextval", output_field=models.IntegerField()
        ),
    )
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="projects"
    )
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=50)
    status = models.CharField(max_length=12, choices=Status, default=Status.ACTIVE)
    blueprint = models.CharField(max_length=100, blank=True, default="")
    enforces_consent = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict, blank=True)
    fhir_profiles = models.JSONField(
        default=dict, db_default=models.Value({}, models.JSONField()), blank=True, editable=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["organization", "slug"], name="project_slug_once")
        ]

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    """Creates people by email."""

    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        """Create a person who signs in with an email address."""
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: object) -> "User":
        """Create a member of staff who may do everything in the admin console."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person; deactivated rather than deleted, since tenants keep the id."""

    id = models.CharField(primary_key=True, max_length=40, default=user_id)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=200, blank=True, default="")
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(Lower("email"), name="user_email_once")
        ]

    def __str__(self) -> str:
        return self.name or self.email

    def get_full_name(self) -> str:
        """Return the name shown to others."""
        return self.name or self.email


class Role(models.TextChoices):
    """What a member may do; `healthcloud.organizations.permissions` has the table."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    CLINICIAN = "clinician"
    VIEWER = "viewer"


class Membership(models.Model):
    """A person's role in an organization."""

    id = models.CharField(primary_key=True, max_length=40, default=membership_id)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="memberships"
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["organization", "user"], name="membership_once")
        ]

    def __str__(self) -> str:
        return f"{self.user_id} is {self.role} of {self.organization_id}"


class Invitation(models.Model):
    """An offer of membership to an email address; the token is kept as a digest only."""

    id = models.CharField(primary_key=True, max_length=40, default=invitation_id)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="invitations"
    )
    email = models.EmailField()
    role = models.CharField(max_length=12, choices=Role)
    token_digest = models.BinaryField(unique=True, max_length=32)
    invited_by_id = models.CharField(max_length=40)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.email} invited as {self.role}"


class ApiKey(models.Model):
    """A key of an organization's environment, and of one project if it names one.

    Only the SHA-256 digest of the secret is kept; `prefix` and `last4` are for people. Rotation
    leaves the digest it replaces valid until `previous_expires_at`. A key with a `jwks`, or the
    `jwks_uri` of one, is a client of SMART Backend Services: its id is the client's, and nobody
    knows its secret.
    """

    id = models.CharField(primary_key=True, max_length=40, default=key_id)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="api_keys"
    )
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="api_keys")
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="api_keys", null=True, blank=True
    )
    name = models.CharField(max_length=200)
    prefix = models.CharField(max_length=16)
    last4 = models.CharField(max_length=4)
    digest = models.BinaryField(unique=True, max_length=32)
    previous_digest = models.BinaryField(unique=True, max_length=32, null=True)
    previous_expires_at = models.DateTimeField(null=True)
    scopes = ArrayField(models.CharField(max_length=300), default=list)
    allowed_addresses = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    jwks = models.JSONField(null=True, blank=True)
    jwks_uri = models.CharField(max_length=2000, blank=True, default="", db_default="")
    created_by_id = models.CharField(max_length=40)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…{self.last4})"

    @property
    def is_backend_client(self) -> bool:
        """Tell whether the key is a client that signs with its own keys."""
        return self.jwks is not None or bool(self.jwks_uri)


class SmartClient(models.Model):
    """An app of SMART App Launch: a key that nobody holds, and where and how the app is answered.

    Its id is the key's, whose scopes are the most that a person can grant it, and whose
    revocation ends it. Only the digest of the secret of a confidential client is kept.
    """

    class Kind(models.TextChoices):
        """How the app proves who it is at the token endpoint."""

        PUBLIC = "public", "Public"
        SYMMETRIC = "confidential-symmetric", "Confidential, with a secret"
        ASYMMETRIC = "confidential-asymmetric", "Confidential, with its own keys"

    key = models.OneToOneField(
        ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="smart_client"
    )
    kind = models.CharField(max_length=30, choices=Kind)
    redirect_uris = ArrayField(models.CharField(max_length=2000))
    launch_uri = models.CharField(max_length=2000, blank=True, default="")
    secret_digest = models.BinaryField(max_length=32, null=True)
    jwks = models.JSONField(null=True, blank=True)
    jwks_uri = models.CharField(max_length=2000, blank=True, default="", db_default="")

    def __str__(self) -> str:
        return f"{self.key_id} ({self.kind})"


class FetchedKeySet(models.Model):
    """The keys that a client published at an address, when it was last asked for them."""

    key = models.OneToOneField(
        ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="fetched_keys"
    )
    url = models.CharField(max_length=2000)
    keys = models.JSONField(default=dict)
    etag = models.CharField(max_length=200, blank=True, default="")
    expires_at = models.DateTimeField()
    asked_at = models.DateTimeField()
    problem = models.CharField(max_length=3000, blank=True, default="")

    def __str__(self) -> str:
        return f"{self.url} until {self.expires_at}"


class SmartLaunch(models.Model):
    """A context in which an app was launched, for the few minutes until it asks for its grant.

    Only the digest of the `launch` parameter is kept; the context (patient, encounter) is sealed.
    """

    digest = models.BinaryField(primary_key=True, max_length=32)
    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="launches")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="launches", null=True)
    context = models.BinaryField()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"launch of {self.key_id}"


class SmartGrant(models.Model):
    """What a person granted an app: scopes, and a sealed context (patient, fhirUser, nonce).

    Its code is good once, until `code_expires_at`; refresh tokens and access tokens live and end
    with the grant.
    """

    id = models.CharField(primary_key=True, max_length=40, default=grant_id)
    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="grants")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="grants")
    scopes = ArrayField(models.CharField(max_length=300))
    context = models.BinaryField()
    redirect_uri = models.CharField(max_length=2000)
    code_digest = models.BinaryField(unique=True, max_length=32)
    code_challenge = models.CharField(max_length=128)
    code_expires_at = models.DateTimeField()
    code_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.user_id} to {self.key_id}"


class RefreshToken(models.Model):
    """A refresh token of a grant; it is good once, and a second use ends the grant."""

    digest = models.BinaryField(primary_key=True, max_length=32)
    grant = models.ForeignKey(SmartGrant, on_delete=models.CASCADE, related_name="refresh_tokens")
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"of {self.grant_id} until {self.expires_at}"


class RevokedToken(models.Model):
    """The digest of an access token that was revoked before it expired."""

    digest = models.BinaryField(primary_key=True, max_length=32)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"revoked, until {self.expires_at}"


class SigningKey(models.Model):
    """A key that signs id tokens; the private part is wrapped by the platform's keys."""

    kid = models.CharField(primary_key=True, max_length=64)
    public = models.JSONField()
    private = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.kid


class UsedAssertion(models.Model):
    """An assertion of a client that was exchanged for a token, until it expires by itself."""

    digest = models.BinaryField(primary_key=True, max_length=32)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"used until {self.expires_at}"


class UsageDay(models.Model):
    """How many requests a project of an environment answered on one day (UTC)."""

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="usage")
    project_id = models.CharField(max_length=40, blank=True, default="")
    date = models.DateField()
    requests = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["environment", "project_id", "date"], name="usage_day_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.date} {self.environment_id} {self.project_id}: {self.requests}"
