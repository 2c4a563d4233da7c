"""Events in the order of their commits, the webhooks they go to, and tickets for live streams."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from healthcloud.identifiers import new_id
from healthcloud.tenancy.models import ProjectScoped


def new_event_id() -> str:
    """Return a new event id."""
    return new_id("evt")


def new_webhook_id() -> str:
    """Return a new webhook id."""
    return new_id("wh")


def new_delivery_id() -> str:
    """Return a new delivery id."""
    return new_id("del")


class Severity(models.TextChoices):
    """How much an event wants attention."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Event(ProjectScoped):
    """Something that happened; ids only, never PHI.

    `position` is the order of insertion. `sequence` is null until a reader numbers the row after
    its commit (`healthcloud.events.numbering`). `project_id` is empty for what concerns the whole
    organization.
    """

    position = models.BigAutoField(primary_key=True)
    event_id = models.CharField(max_length=40, unique=True, default=new_event_id)
    sequence = models.BigIntegerField(null=True, unique=True)
    type = models.CharField(max_length=80)
    source = models.CharField(max_length=40)
    severity = models.CharField(max_length=10, choices=Severity)
    payload = models.JSONField(default=dict)
    actor_kind = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=40)
    request_id = models.CharField(max_length=100, blank=True, default="")
    causation_id = models.CharField(max_length=40, blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["position"],
                condition=models.Q(sequence__isnull=True),
                name="event_unnumbered",
            ),
            models.Index(fields=["project_id", "sequence"], name="event_project_sequence"),
            models.Index(fields=["type", "sequence"], name="event_type_sequence"),
            models.Index(fields=["created_at"], name="event_created_at"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"

    @property
    def id(self) -> str:
        """The public id, `evt_…`."""
        return self.event_id


class Listener(models.Model):
    """Something inside the platform that is handed every event once, in order, up to `cursor`.

    The row exists as long as it wants events: `publish` asks for dispatch only where one exists.
    It names no project, so that a publisher in any project sees it.
    """

    name = models.CharField(primary_key=True, max_length=80)
    cursor = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.name} at {self.cursor}"


class Webhook(ProjectScoped):
    """A URL that receives signed events; `project_id` is empty for those of every project.

    One of another purpose than `events` belongs to what `subject` names (a FHIR Subscription) and
    is changed with it; its channel composes what is sent (`healthcloud.events.channels`).
    """

    class Status(models.TextChoices):
        """Paused by us after failures; disabled by the receiver (410) or by its owner."""

        ACTIVE = "active"
        PAUSED = "paused"
        DISABLED = "disabled"

    id = models.CharField(primary_key=True, max_length=40, default=new_webhook_id)
    purpose = models.CharField(max_length=20, default="events")
    subject = models.CharField(max_length=100, blank=True, default="")
    url = models.CharField(max_length=2000)
    description = models.CharField(max_length=500, blank=True, default="")
    types = ArrayField(models.CharField(max_length=80))
    status = models.CharField(max_length=10, choices=Status, default=Status.ACTIVE)
    status_reason = models.CharField(max_length=60, blank=True, default="")
    secret = models.BinaryField()
    previous_secret = models.BinaryField(null=True)
    previous_secret_expires_at = models.DateTimeField(null=True)
    consecutive_failures = models.IntegerField(default=0)
    ordered = models.BooleanField(default=False, db_default=False)
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["project_id", "-created_at"], name="webhook_project"),
            models.Index(fields=["purpose", "subject"], name="webhook_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.status})"


class Delivery(ProjectScoped):
    """One event on its way to one webhook; repeated deliveries keep the row and the event's id.

    `sequence` is the event's number, by which an ordered webhook gets them. A channel's delivery
    has no event; `content` is the channel's own name of what it carries.
    """

    class Status(models.TextChoices):
        """Pending until delivered, or failed after the last attempt of the schedule."""

        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.CharField(primary_key=True, max_length=40, default=new_delivery_id)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="deliveries", null=True)
    content = models.CharField(max_length=100, blank=True, default="")
    sequence = models.BigIntegerField(null=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    attempt_count = models.IntegerField(default=0)
    schedule_step = models.IntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    last_status_code = models.IntegerField(null=True)
    last_error = models.CharField(max_length=60, blank=True, default="")
    delivered_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["webhook", "event"], name="delivery_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["webhook", "-created_at"], name="delivery_webhook"),
            models.Index(
                fields=["webhook", "sequence"],
                condition=models.Q(status="pending"),
                name="delivery_pending",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.status})"


class DeliveryAttempt(ProjectScoped):
    """One HTTP request of a delivery: what the receiver answered, how fast, its first kilobyte."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts")
    number = models.IntegerField()
    started_at = models.DateTimeField()
    duration_ms = models.IntegerField()
    status_code = models.IntegerField(null=True)
    error = models.CharField(max_length=60, blank=True, default="")
    response_excerpt = models.TextField(blank=True, default="")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["delivery", "number"], name="attempt_once"),
        ]

    def __str__(self) -> str:
        return f"{self.delivery_id} attempt {self.number}"


class StreamTicket(ProjectScoped):
    """Lets its bearer open one stream as the caller who asked for it; kept as a digest."""

    digest = models.BinaryField(primary_key=True, max_length=32)
    actor_kind = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=40)
    actor_label = models.CharField(max_length=200)
    key_id = models.CharField(max_length=40, blank=True, default="")
    user_id = models.CharField(max_length=40, blank=True, default="")
    project_number = models.IntegerField(null=True)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"ticket of {self.actor_id}"
