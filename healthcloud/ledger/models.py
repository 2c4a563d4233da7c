"""Due work: one row for each thing that a worker has to do, now or later.

The table lives in the public schema, so that one query finds the due work of all tenants. It
holds ids only; what the work is about stays in the tenant's schema, in rows that are written in
the same transaction.
"""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Coalesce

from healthcloud.tenancy.scope import Scope


class Queue(models.TextChoices):
    """Where work waits; each worker process names the queues it serves."""

    CONTROL = "control"
    STEPS = "steps"
    AGENTS = "agents"
    WEBHOOKS = "webhooks"
    BULK = "bulk"


class DueWork(models.Model):
    """One thing to do for one tenant, from the commit that asks for it until it is done.

    `token` fences: it comes from one sequence, so that each claim of any row has a higher token
    than all claims before it. `rung_at` remembers a request that arrived while a worker held the
    row, so that the work is looked at once more afterwards. Finished rows are deleted.
    """

    class State(models.TextChoices):
        """Ready to be claimed, held by a worker, or given up."""

        READY = "ready"
        RUNNING = "running"
        DEAD = "dead"

    organization_id = models.CharField(max_length=40)
    environment_id = models.CharField(max_length=40)
    environment = models.CharField(max_length=16)
    schema = models.CharField(max_length=63)
    project_id = models.CharField(max_length=40, null=True)  # noqa: DJ001  # None: all projects
    project_number = models.IntegerField(null=True)
    kind = models.CharField(max_length=60)
    ref = models.CharField(max_length=200)
    queue = models.CharField(max_length=20, choices=Queue.choices)
    dedupe_key = models.CharField(max_length=200, null=True)  # noqa: DJ001  # None: not unique
    state = models.CharField(max_length=8, choices=State.choices, default=State.READY)
    due_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    rung_at = models.DateTimeField(null=True)
    visible_at = models.GeneratedField(
        expression=Coalesce("lease_until", "due_at"),
        output_field=models.DateTimeField(),
        db_persist=True,
    )
    token = models.BigIntegerField(default=0)
    attempts = models.IntegerField(default=0)
    last_error = models.CharField(max_length=200, default="")
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["queue", "environment_id", "due_at", "id"],
                condition=~models.Q(state="dead"),
                name="ledger_claim",
            ),
            models.Index(
                fields=["visible_at"],
                condition=~models.Q(state="dead"),
                name="ledger_sweep",
            ),
            models.Index(
                fields=["environment_id"],
                condition=models.Q(state="running"),
                name="ledger_running",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["environment_id", "kind", "dedupe_key"],
                condition=models.Q(dedupe_key__isnull=False) & ~models.Q(state="dead"),
                name="ledger_dedupe",
            ),
            models.CheckConstraint(
                condition=models.Q(state="running", lease_until__isnull=False)
                | (~models.Q(state="running") & models.Q(lease_until__isnull=True)),
                name="ledger_running_has_lease",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.ref} ({self.state})"

    @property
    def scope(self) -> Scope:
        """Return the tenant and project that the work is for."""
        return Scope(
            organization_id=self.organization_id,
            environment_id=self.environment_id,
            environment=self.environment,
            schema=self.schema,
            project_id=self.project_id,
            project_number=self.project_number,
        )
