"""Workflows, their versions, runs and what happened in them: tables of the tenant's schema.

Workflow ── WorkflowVersion (immutable)
   └─ Run ─┬─ StepRun (one row an attempt)
           ├─ Task (a decision asked of a person)
           └─ Signal (a message to the run)
"""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from healthcloud.identifiers import new_id
from healthcloud.tenancy.models import ProjectScoped


def workflow_id() -> str:
    """Return a new workflow id."""
    return new_id("wf")


def version_id() -> str:
    """Return a new id of a version."""
    return new_id("wfv")


def run_id() -> str:
    """Return a new run id."""
    return new_id("run")


def step_id() -> str:
    """Return a new id of a step's attempt."""
    return new_id("step")


def task_id() -> str:
    """Return a new task id."""
    return new_id("task")


def signal_id() -> str:
    """Return a new signal id."""
    return new_id("sig")


class RunStatus(models.TextChoices):
    """The states of a run; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


FINAL = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED)


class StepStatus(models.TextChoices):
    """The states of a step's attempt."""

    RUNNING = "running"
    WAITING = "waiting"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELED = "canceled"
    LOST = "lost"


class TaskStatus(models.TextChoices):
    """The states of a task."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELED = "canceled"


class Workflow(ProjectScoped):
    """A workflow of a project, by slug: its draft, and which version is published."""

    id = models.CharField(primary_key=True, max_length=40, default=workflow_id)
    slug = models.CharField(max_length=63)
    name = models.CharField(max_length=200)
    description = models.TextField(default="")
    draft = models.JSONField()
    revision = models.IntegerField(default=1)
    published_number = models.IntegerField(null=True)
    source = models.CharField(max_length=100, default="", blank=True)
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project_id", "slug"],
                condition=Q(deleted_at__isnull=True),
                name="workflow_slug_once",
            )
        ]

    def __str__(self) -> str:
        return self.slug


class WorkflowVersion(ProjectScoped):
    """A published definition; never changed, so that a run can stay on it."""

    id = models.CharField(primary_key=True, max_length=40, default=version_id)
    workflow = models.ForeignKey(Workflow, on_delete=models.PROTECT, related_name="versions")
    number = models.IntegerField()
    definition = models.JSONField()
    digest = models.CharField(max_length=64)
    notes = models.TextField(default="")
    published_by = models.JSONField()
    published_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workflow", "number"], name="workflow_version_once")
        ]

    def __str__(self) -> str:
        return f"{self.workflow_id} v{self.number}"


class Run(ProjectScoped):
    """One execution of a version; `token` fences the workers that carry it."""

    id = models.CharField(primary_key=True, max_length=40, default=run_id)
    workflow = models.ForeignKey(Workflow, on_delete=models.PROTECT, related_name="runs")
    version = models.ForeignKey(WorkflowVersion, on_delete=models.PROTECT, related_name="runs")
    slug = models.CharField(max_length=63)
    number = models.IntegerField()
    status = models.CharField(max_length=10, choices=RunStatus, default=RunStatus.QUEUED)
    trigger = models.JSONField(default=dict)
    trigger_kind = models.CharField(max_length=20, default="api")
    input = models.JSONField(default=dict)
    output = models.JSONField(null=True)
    error = models.JSONField(null=True)
    actor = models.JSONField()
    patient = models.CharField(max_length=64, default="", blank=True)
    metadata = models.JSONField(default=dict)
    idempotency_key = models.CharField(max_length=255, null=True)  # noqa: DJ001  # None: no key
    token = models.BigIntegerField(default=0)
    restarts = models.IntegerField(default=0)
    size = models.BigIntegerField(default=0)
    resume_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["project_id", "-created_at", "-id"], name="run_newest"),
            models.Index(fields=["project_id", "slug", "-created_at"], name="run_by_workflow"),
            models.Index(fields=["project_id", "status", "-created_at"], name="run_by_status"),
            models.Index(
                fields=["project_id", "patient", "-created_at"],
                condition=~Q(patient=""),
                name="run_by_patient",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workflow", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="run_once_per_key",
            ),
            models.CheckConstraint(
                condition=Q(status__in=FINAL, finished_at__isnull=False)
                | (~Q(status__in=FINAL) & Q(finished_at__isnull=True)),
                name="run_final_is_finished",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.slug}, {self.status})"

    @property
    def final(self) -> bool:
        """Return whether the run is over."""
        return self.status in FINAL


class StepRun(ProjectScoped):
    """One attempt of one step of a run; `superseded` rows belong to what a retry replaced."""

    id = models.CharField(primary_key=True, max_length=40, default=step_id)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
    sequence = models.IntegerField()
    step = models.CharField(max_length=63)
    path = models.CharField(max_length=600)
    kind = models.CharField(max_length=20)
    iteration = models.CharField(max_length=60, default="", blank=True)
    attempt = models.IntegerField()
    status = models.CharField(max_length=10, choices=StepStatus)
    superseded = models.BooleanField(default=False)
    input = models.JSONField(null=True)
    output = models.JSONField(null=True)
    error = models.JSONField(null=True)
    waiting = models.JSONField(null=True)
    due_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "path", "iteration", "attempt"], name="step_attempt_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.run_id} {self.path} #{self.attempt} ({self.status})"


class Task(ProjectScoped):
    """A decision that a run waits for."""

    id = models.CharField(primary_key=True, max_length=40, default=task_id)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="tasks")
    step = models.CharField(max_length=63)
    path = models.CharField(max_length=600)
    title = models.CharField(max_length=300)
    description = models.TextField(default="")
    form = models.JSONField(default=dict)
    role = models.CharField(max_length=20, default="", blank=True)
    user_id = models.CharField(max_length=40, default="", blank=True)
    status = models.CharField(max_length=10, choices=TaskStatus, default=TaskStatus.OPEN)
    deadline_at = models.DateTimeField(null=True)
    data = models.JSONField(null=True)
    comment = models.TextField(default="")
    decided_by = models.JSONField(null=True)
    decided_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["project_id", "status", "-created_at"], name="task_by_status")
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.status})"


class Signal(ProjectScoped):
    """A message to a run, kept until a step takes it."""

    id = models.CharField(primary_key=True, max_length=40, default=signal_id)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="signals")
    name = models.CharField(max_length=63)
    payload = models.JSONField(null=True)
    sent_by = models.JSONField()
    sent_at = models.DateTimeField()
    taken_by = models.CharField(max_length=600, default="", blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["run", "sent_at"], condition=Q(taken_by=""), name="signal_open")
        ]

    def __str__(self) -> str:
        return f"{self.name} to {self.run_id}"
