"""How many runs of a workflow go on at once: queued, refused, or replacing the oldest.

The limit counts runs of one workflow (and of one key, where the definition names one) that are
not over, under a lock of the transaction, so that two starts at once can't both take the last
place. Runs that wait for room are `held`: queued, and asked for when another one ends.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from healthcloud.errors import Conflict
from workflows.definition import Limits
from workflows.due import ask
from workflows.expressions import ExpressionError, resolve
from workflows.models import FINAL, Run, RunStatus

_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


class TooManyRuns(Conflict):
    """The workflow's limit on runs at the same time is reached."""

    def __init__(self, slug: str, most: int) -> None:
        super().__init__(
            f"`{slug}` runs {most} times at once already, its limit. Try again when one ended,"
            ' or let runs wait with "concurrency": {"on_limit": "queue"}.',
            details={"max_runs": most},
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """What becomes of a run that is about to start."""

    key: str | None = None
    held: bool = False
    replaced: tuple[str, ...] = ()


FREE: Final = Admission()
_QUEUES: Final = "queue:"  # only runs of such a limit are ever held


def admit(workflow_id: str, slug: str, limits: Limits, roots: dict[str, Any]) -> Admission:
    """Return whether a run may start now, waits, or replaces others; raise TooManyRuns."""
    if limits.max_runs is None:
        return FREE
    key = _key(limits, roots)
    _lock(workflow_id, key)
    going = _counted(workflow_id, key).order_by("created_at", "id")
    excess = going.filter(held=False).count() - limits.max_runs + 1
    if excess <= 0:
        return Admission(key)
    if limits.on_limit == "reject":
        raise TooManyRuns(slug, limits.max_runs)
    if limits.on_limit == "queue":
        return Admission(key, held=True)
    oldest = going.filter(held=False).values_list("id", flat=True)[:excess]
    return Admission(key, replaced=tuple(oldest))


def release_next(ended: Run) -> None:
    """Let the oldest run that waits for room begin, now that one of its kind is over."""
    key = ended.limit_key or ""
    if not key.startswith(_QUEUES):
        return
    _lock(ended.workflow_id, key)
    waiting = _counted(ended.workflow_id, key).filter(held=True, status=RunStatus.QUEUED)
    following = waiting.order_by("created_at", "id").first()
    if following is None:
        return
    following.held = False
    following.save(update_fields=["held"])
    ask(following)


def _counted(workflow_id: str, key: str) -> Any:  # noqa: ANN401  # a queryset
    rows = Run.objects.filter(workflow=workflow_id, limit_key=key, finished_at__isnull=True)
    return rows.exclude(status__in=FINAL)


def _key(limits: Limits, roots: dict[str, Any]) -> str:
    """Return the policy and a digest of the key: keys may hold ids of patients, and be long."""
    policy = _QUEUES if limits.on_limit == "queue" else "other:"
    if limits.key is None:
        return policy
    try:
        value = resolve(limits.key, roots)
    except ExpressionError:
        value = None
    return policy + hashlib.sha256(repr(value).encode()).hexdigest()[:48]


def _lock(workflow_id: str, key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [f"workflows.limit.{workflow_id}.{key}"])
