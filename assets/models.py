"""What a project installed and runs. Tables of the tenant schema, isolated by project.

Installation ─┬─ Credential (sealed)
              └─ Deployment ─┬─ Release (immutable)   ─ AgentRun, Receipt
                             ├─ DeploymentLog
                             └─ HealthCheck
"""

from collections.abc import Sequence

from django.db import models
from django.db.models import Q
from django.utils.functional import Promise

from healthcloud.tenancy.models import ProjectScoped


class InstallationStatus(models.TextChoices):
    """Whether an installation is there; an upgrade that waits is computed, not stored."""

    INSTALLED = "installed"
    UNINSTALLED = "uninstalled"


class DeploymentStatus(models.TextChoices):
    """`pending → validating → provisioning → active ⇄ degraded`, or `stopped`, or `failed`."""

    PENDING = "pending"
    VALIDATING = "validating"
    PROVISIONING = "provisioning"
    ACTIVE = "active"
    DEGRADED = "degraded"
    STOPPED = "stopped"
    FAILED = "failed"


DEPLOYING = (
    DeploymentStatus.PENDING,
    DeploymentStatus.VALIDATING,
    DeploymentStatus.PROVISIONING,
)
RUNNING = (*DEPLOYING, DeploymentStatus.ACTIVE, DeploymentStatus.DEGRADED)


class RunStatus(models.TextChoices):
    """The states of an agent run."""

    QUEUED = "queued"
    RUNNING = "running"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class ReceiptStatus(models.TextChoices):
    """Whether the vendor knows that what it sent is stored."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


def _one_of(choices: Sequence[tuple[str, str | Promise]], field: str = "status") -> Q:
    return Q(**{f"{field}__in": [value for value, _ in choices]})


class Installation(ProjectScoped):
    """An asset in a project: its version, configuration and credentials. It runs nothing."""

    id = models.CharField(primary_key=True, max_length=40)
    asset_id = models.CharField(max_length=80)
    version = models.CharField(max_length=20)
    config = models.JSONField(default=dict)
    status = models.CharField(max_length=16, default=InstallationStatus.INSTALLED)
    installed_by = models.JSONField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    uninstalled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project_id", "asset_id"],
                condition=Q(status="installed"),
                name="one_live_installation",
            ),
            models.CheckConstraint(
                condition=_one_of(InstallationStatus.choices), name="installation_status"
            ),
        ]
        indexes = [
            models.Index(fields=["project_id", "-created_at", "-id"], name="installation_newest")
        ]

    def __str__(self) -> str:
        return f"{self.asset_id} {self.version} ({self.id})"


class Credential(ProjectScoped):
    """A secret of an installation, sealed with the tenant's data key. Never read back."""

    installation = models.ForeignKey(
        Installation, on_delete=models.CASCADE, related_name="credentials"
    )
    name = models.CharField(max_length=60)
    sealed = models.BinaryField()
    last4 = models.CharField(max_length=4)
    rotated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["installation", "name"], name="one_credential_a_name")
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.installation_id}"


class Deployment(ProjectScoped):
    """A configured, running instance of an asset; one a project and asset, many releases.

    `target_number` is the release last asked for, `serving_number` the one that answers calls; they
    differ while a deployment is on its way, and after it failed.
    """

    id = models.CharField(primary_key=True, max_length=40)
    installation = models.ForeignKey(
        Installation, on_delete=models.PROTECT, related_name="deployments"
    )
    asset_id = models.CharField(max_length=80)
    environment = models.CharField(max_length=12)
    status = models.CharField(max_length=16, default=DeploymentStatus.PENDING)
    target_number = models.PositiveIntegerField()
    serving_number = models.PositiveIntegerField(null=True)
    error = models.JSONField(null=True)
    metadata = models.JSONField(default=dict)
    created_by = models.JSONField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    activated_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project_id", "asset_id"], name="one_deployment"),
            models.CheckConstraint(
                condition=_one_of(DeploymentStatus.choices), name="deployment_status"
            ),
        ]
        indexes = [
            models.Index(fields=["project_id", "-created_at", "-id"], name="deployment_newest")
        ]

    def __str__(self) -> str:
        return f"{self.asset_id} {self.status} ({self.id})"


class Release(ProjectScoped):
    """What a deployment ran with: asset version, configuration, slots. Rows never change."""

    id = models.CharField(primary_key=True, max_length=40)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="releases")
    number = models.PositiveIntegerField()
    asset_version = models.CharField(max_length=20)
    config = models.JSONField()
    slots = models.JSONField(default=dict)
    config_hash = models.CharField(max_length=64)
    manifest_hash = models.CharField(max_length=64)
    rollback_of = models.PositiveIntegerField(null=True)
    created_by = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["deployment", "number"], name="one_release_a_number")
        ]

    def __str__(self) -> str:
        return f"release {self.number} of {self.deployment_id}"


class DeploymentLog(ProjectScoped):
    """A line of a deployment's log: ids and counts, never clinical content.

    `run_id` and `step` name the step of a workflow's run that called, where one did.
    """

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="log_lines")
    release_number = models.PositiveIntegerField()
    level = models.CharField(max_length=8)
    message = models.CharField(max_length=500)
    fields = models.JSONField(default=dict)
    run_id = models.CharField(max_length=40, default="", db_default="", blank=True)
    step = models.CharField(max_length=63, default="", db_default="", blank=True)
    at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["deployment", "-id"], name="deployment_log_newest"),
            models.Index(fields=["run_id", "id"], condition=~Q(run_id=""), name="log_of_run"),
        ]

    def __str__(self) -> str:
        return self.message


class HealthCheck(ProjectScoped):
    """The probes of one test of a deployment."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="checks")
    release_number = models.PositiveIntegerField()
    ok = models.BooleanField()
    probes = models.JSONField()
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["deployment", "-id"], name="health_check_newest")]

    def __str__(self) -> str:
        return f"{'healthy' if self.ok else 'unhealthy'} at {self.at:%Y-%m-%dT%H:%M:%SZ}"


class AgentRun(ProjectScoped):
    """What an agent was asked, what it read and decided, and what came of it."""

    id = models.CharField(primary_key=True, max_length=40)
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="agent_runs")
    asset_id = models.CharField(max_length=80)
    asset_version = models.CharField(max_length=20)
    release_number = models.PositiveIntegerField()
    idempotency_key = models.CharField(max_length=255)
    attempt = models.PositiveIntegerField(default=1)
    trigger = models.CharField(max_length=20)
    parent = models.JSONField(null=True)
    actor = models.JSONField()
    status = models.CharField(max_length=20, default=RunStatus.RUNNING)
    input = models.JSONField()
    output = models.JSONField(null=True)
    evidence = models.JSONField(default=list)
    rules = models.JSONField(default=list)
    missing_data = models.JSONField(default=list)
    actions = models.JSONField(default=list)
    approvals = models.JSONField(default=list)
    resources = models.JSONField(default=list)
    error = models.JSONField(null=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    duration_ms = models.PositiveIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["deployment", "idempotency_key"], name="one_run_a_key"),
            models.CheckConstraint(condition=_one_of(RunStatus.choices), name="agent_run_status"),
        ]
        indexes = [
            models.Index(fields=["project_id", "-started_at", "-id"], name="agent_run_newest"),
            models.Index(fields=["deployment", "-started_at"], name="agent_run_deployment"),
        ]

    def __str__(self) -> str:
        return f"{self.asset_id} {self.status} ({self.id})"


class Receipt(ProjectScoped):
    """Something a vendor must be told is stored; sent by due work after the commit."""

    id = models.CharField(primary_key=True, max_length=40)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="receipts")
    release_number = models.PositiveIntegerField()
    body = models.JSONField()
    status = models.CharField(max_length=12, default=ReceiptStatus.PENDING)
    error = models.JSONField(null=True)
    created_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=_one_of(ReceiptStatus.choices), name="receipt_status")
        ]

    def __str__(self) -> str:
        return f"receipt {self.id} {self.status}"
