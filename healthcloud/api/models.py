"""Stored answers to requests that carry an Idempotency-Key; one table in each tenant."""

from typing import ClassVar

from django.db import models

from healthcloud.tenancy.models import ProjectScoped


class IdempotencyRecord(ProjectScoped):
    """The answer to a request, kept for as long as its key may be repeated.

    `body` is sealed with the tenant's data key.
    `project_id` is empty for requests about the organization itself. Without a `status` the
    request is still in flight, until `locked_until` or until the database session that `holder`
    names (`<process id of the session>/<random>`) is gone.
    """

    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    status = models.SmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=bytes)
    locked_until = models.DateTimeField(null=True)
    holder = models.CharField(max_length=40, null=True)  # noqa: DJ001  # nobody is not ""
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["project_id", "key"], name="idempotency_key_once")
        ]

    def __str__(self) -> str:
        return f"{self.project_id} {self.key}"
