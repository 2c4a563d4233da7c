"""The trail: who did what to what, when, and how it ended; each row chained to the one before."""

from typing import ClassVar

from django.db import models

from healthcloud.identifiers import new_id
from healthcloud.tenancy.models import ProjectScoped


def new_audit_event_id() -> str:
    """Return a new id of an audit event."""
    return new_id("aud")


class AuditEvent(ProjectScoped):
    """One recorded action; rows are inserted and read, never changed or deleted.

    `project_id` is empty for what concerns the whole organization. `details` holds ids and plain
    facts, never clinical content.
    """

    class Outcome(models.TextChoices):
        """How the action ended."""

        SUCCESS = "success"
        DENIED = "denied"
        FAILURE = "failure"

    position = models.BigAutoField(primary_key=True)
    event_id = models.CharField(max_length=40, unique=True, default=new_audit_event_id)
    actor_kind = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=40)
    actor_label = models.CharField(max_length=200)
    action = models.CharField(max_length=80)
    target_type = models.CharField(max_length=60)
    target_id = models.CharField(max_length=200)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.SUCCESS)
    details = models.JSONField(default=dict)
    request_id = models.CharField(max_length=100, blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["project_id", "-position"], name="audit_project"),
            models.Index(fields=["target_type", "target_id", "-position"], name="audit_target"),
            models.Index(fields=["actor_id", "-position"], name="audit_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_type}/{self.target_id}"


class AuditPending(models.Model):
    """A row of the trail that is not in the chain yet; written with it, gone once it is linked."""

    position = models.BigIntegerField(primary_key=True)

    def __str__(self) -> str:
        return f"pending {self.position}"


class AuditLink(models.Model):
    """A link of the tenant's chain: `hash` covers the audit event's content and the hash before.

    Links are made after the commit of their rows (`healthcloud.audit.chain`), so that writers
    never wait for one another; deleting, changing or inserting a row in between breaks the chain.
    """

    number = models.BigIntegerField(primary_key=True)
    position = models.BigIntegerField(unique=True)
    hash = models.BinaryField(max_length=32)

    def __str__(self) -> str:
        return f"link {self.number}"
