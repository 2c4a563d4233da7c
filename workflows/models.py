"""Workflows, their versions, runs and what happened in them: tables of the tenant's schema.

Workflow ─┬─ WorkflowVersion (immutable)
          ├─ Trigger (what starts runs of the published version)
          └─ Run ─┬─ StepRun (one row an attempt)
                  ├─ FanOut ── Lane (a branch or an item that is carried on its own)
                  ├─ Task (a decision asked of a person)
                  ├─ Signal (a message to the run), EventWait (an event it waits for)
                  └─ StoredValue (what is too large for a row of a step)
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


def fan_out_id() -> str:
    """Return a new id of branches or items that were begun together."""
    return new_id("fan")


def lane_id() -> str:
    """Return a new id of one branch or item."""
    return new_id("lane")


def trigger_id() -> str:
    """Return a new id of a trigger."""
    return new_id("trg")


def event_wait_id() -> str:
    """Return a new id of an event that is waited for."""
    return new_id("evw")


def value_id() -> str:
    """Return a new id of a stored value."""
    return new_id("val")


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


class LaneStatus(models.TextChoices):
    """The states of a branch or an item; the last three are final."""

    READY = "ready"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


LANE_FINAL = (LaneStatus.SUCCEEDED, LaneStatus.FAILED, LaneStatus.CANCELED)


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
    """One execution of a version; `token` fences the workers that carry it.

    `parent` and `parent_lane` are the run (and its branch or item) that waits for this one;
    `depth` counts how many runs and events led to it. `limit_key` is set where a limit counts
    the run, `held` while it waits for room under that limit.
    """

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
    parent = models.CharField(max_length=40, default="", db_default="", blank=True)
    parent_lane = models.CharField(max_length=40, default="", db_default="", blank=True)
    depth = models.IntegerField(default=0, db_default=0)
    limit_key = models.CharField(max_length=64, null=True)  # noqa: DJ001  # None: not counted
    held = models.BooleanField(default=False, db_default=False)
    deadline_at = models.DateTimeField(null=True)
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
            models.Index(
                fields=["workflow", "limit_key"],
                condition=Q(limit_key__isnull=False, finished_at__isnull=True),
                name="run_counted",
            ),
            models.Index(fields=["parent"], condition=~Q(parent=""), name="run_by_parent"),
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
    """One attempt of one step of a run; `superseded` rows belong to what a retry replaced.

    `lane` is the branch or item in which it ran; `sensitive` rows lose input and output when the
    run ends.
    """

    id = models.CharField(primary_key=True, max_length=40, default=step_id)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps")
    sequence = models.IntegerField()
    step = models.CharField(max_length=63)
    path = models.CharField(max_length=600)
    kind = models.CharField(max_length=20)
    iteration = models.CharField(max_length=80, default="", blank=True)
    lane = models.CharField(max_length=40, default="", db_default="", blank=True)
    sensitive = models.BooleanField(default=False, db_default=False)
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
        indexes: ClassVar = [models.Index(fields=["run", "iteration"], name="step_by_iteration")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "path", "iteration", "attempt"], name="step_attempt_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.run_id} {self.path} #{self.attempt} ({self.status})"


class FanOut(ProjectScoped):
    """Branches or items that were begun together, and the counts by which they are joined.

    Its row is locked by whoever ends a lane, so that exactly one of them sees the last.
    """

    id = models.CharField(primary_key=True, max_length=40, default=fan_out_id)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="fan_outs")
    lane = models.CharField(max_length=40, default="", blank=True)
    path = models.CharField(max_length=600)
    iteration = models.CharField(max_length=80, default="", blank=True)
    total = models.IntegerField()
    started = models.IntegerField()
    succeeded = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)
    needed = models.IntegerField(null=True)
    tolerated = models.IntegerField(default=0)
    closed = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.path} of {self.run_id}"


class Lane(ProjectScoped):
    """One branch of a parallel step or one item of a map; `token` fences its workers.

    `lineage` names the lanes around it, so that closing one closes what is inside.
    """

    id = models.CharField(primary_key=True, max_length=40, default=lane_id)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="lanes")
    fan_out = models.ForeignKey(FanOut, on_delete=models.CASCADE, related_name="lanes")
    lineage = models.CharField(max_length=400, default="", blank=True)
    path = models.CharField(max_length=600)
    iteration = models.CharField(max_length=80, default="", blank=True)
    index = models.IntegerField()
    item = models.JSONField(null=True)
    status = models.CharField(max_length=10, choices=LaneStatus, default=LaneStatus.READY)
    output = models.JSONField(null=True)
    error = models.JSONField(null=True)
    token = models.BigIntegerField(default=0)
    size = models.BigIntegerField(default=0)
    resume_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["run", "status"], name="lane_by_status")]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["fan_out", "index"], name="lane_once")
        ]

    def __str__(self) -> str:
        return f"{self.path} {self.index} of {self.run_id} ({self.status})"

    @property
    def final(self) -> bool:
        """Return whether the lane is over."""
        return self.status in LANE_FINAL


class StoredValue(ProjectScoped):
    """An input or output too large for a step's row, kept once a run and referred to."""

    id = models.CharField(primary_key=True, max_length=40, default=value_id)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="values")
    digest = models.CharField(max_length=64)
    size = models.BigIntegerField()
    content = models.JSONField(null=True)
    sensitive = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "digest"], name="value_once")
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.size} bytes)"


class CachedOutput(ProjectScoped):
    """The output of a step that others with the same arguments reuse until it expires."""

    id = models.BigAutoField(primary_key=True)
    key = models.CharField(max_length=64)
    output = models.JSONField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project_id", "key"], name="cached_once")
        ]

    def __str__(self) -> str:
        return self.key[:12]


class EventWait(ProjectScoped):
    """An event that a step waits for; when it comes, it becomes a signal of this row's id."""

    id = models.CharField(primary_key=True, max_length=40, default=event_wait_id)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="event_waits")
    lane = models.CharField(max_length=40, default="", blank=True)
    pattern = models.CharField(max_length=120)
    where = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.pattern} for {self.run_id}"


class Trigger(ProjectScoped):
    """What starts runs of a workflow's published version: one row a trigger of the definition.

    `due_at` is the next time of a schedule; `sealed` the secret of a webhook.
    """

    id = models.CharField(primary_key=True, max_length=40, default=trigger_id)
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="starts")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=20)
    spec = models.JSONField()
    active = models.BooleanField(default=True)
    sealed = models.BinaryField(null=True)
    due_at = models.DateTimeField(null=True)
    fired_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=200, default="", blank=True)
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["kind", "project_id"], condition=Q(active=True), name="trigger_active"
            )
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["workflow", "name"], name="trigger_once")
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.workflow_id}"


class Task(ProjectScoped):
    """A decision that a run waits for; `escalated_to` is a role that is asked as well by now."""

    id = models.CharField(primary_key=True, max_length=40, default=task_id)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="tasks")
    lane = models.CharField(max_length=40, default="", db_default="", blank=True)
    iteration = models.CharField(max_length=80, default="", db_default="", blank=True)
    escalated_to = models.CharField(max_length=20, default="", db_default="", blank=True)
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
