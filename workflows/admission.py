"""How many runs of a workflow or project go on at once: queued, refused, or replacing the oldest.

The limit counts runs of one workflow, or of all workflows of the project that say so (and of one
key, where the definition names one), that are not over, under a lock of the transaction, so that
two starts at once can't both take the last place. Runs that wait for room are `held`: queued, and
asked for when another one ends.
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

    def __init__(self, slug: str, most: int, *, across: str = "workflow") -> None:
        what = "This project's workflows run" if across == "project" else f"`{slug}` runs"
        super().__init__(
            f"{what} {most} times at once already, the limit. Try again when one ended,"
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
_OTHERS: Final = "other:"
_PROJECT: Final = "project:"  # counted over all workflows of the project that say so


@dataclass(frozen=True, slots=True)
class Place:
    """What is counted together: runs of a workflow, or of all in a project, under one key."""

    workflow_id: str
    project_id: str
    key: str

    @property
    def counted(self) -> str:
        """Return the key without its policy."""
        return self.key.partition(":")[2]

    @property
    def is_project(self) -> bool:
        """Say whether all workflows of the project are meant."""
        return self.counted.startswith(_PROJECT)

    def lock(self) -> None:
        """Let nobody else count until the transaction ends."""
        name = f"{self.project_id}.{self.counted}"
        if not self.is_project:
            name = f"{self.workflow_id}.{self.key}"
        with connection.cursor() as cursor:
            cursor.execute(_LOCK, [f"workflows.limit.{name}"])

    def going(self) -> Any:  # noqa: ANN401  # a queryset
        """Return the runs that are not over, oldest first."""
        rows = Run.objects.filter(finished_at__isnull=True).exclude(status__in=FINAL)
        if self.is_project:
            keys = [f"{policy}{self.counted}" for policy in (_QUEUES, _OTHERS)]
            rows = rows.filter(project_id=self.project_id, limit_key__in=keys)
        else:
            rows = rows.filter(workflow=self.workflow_id, limit_key=self.key)
        return rows.order_by("created_at", "id")


def admit(
    workflow_id: str, project_id: str, slug: str, limits: Limits, roots: dict[str, Any]
) -> Admission:
    """Return whether a run may start now, waits, or replaces others; raise TooManyRuns."""
    if limits.max_runs is None:
        return FREE
    key = _key(limits, roots)
    place = Place(workflow_id, project_id, key)
    place.lock()
    going = place.going().filter(held=False)
    excess = going.count() - limits.max_runs + 1
    if excess <= 0:
        return Admission(key)
    if limits.on_limit == "reject":
        raise TooManyRuns(slug, limits.max_runs, across=limits.across)
    if limits.on_limit == "queue":
        return Admission(key, held=True)
    return Admission(key, replaced=tuple(going.values_list("id", flat=True)[:excess]))


def release_next(ended: Run) -> None:
    """Let the oldest run that waits for room begin, now that one of its kind is over."""
    place = Place(ended.workflow_id, ended.project_id, ended.limit_key or "")
    if not (place.is_project or place.key.startswith(_QUEUES)):
        return
    place.lock()
    following = place.going().filter(held=True, status=RunStatus.QUEUED).first()
    if following is None:
        return
    following.held = False
    following.save(update_fields=["held"])
    ask(following)


def _key(limits: Limits, roots: dict[str, Any]) -> str:
    """Return the policy and a digest of the key: keys may hold ids of patients, and be long."""
    policy = _QUEUES if limits.on_limit == "queue" else _OTHERS
    if limits.across == "project":
        policy += _PROJECT
    if limits.key is None:
        return policy
    try:
        value = resolve(limits.key, roots)
    except ExpressionError:
        value = None
    return policy + hashlib.sha256(repr(value).encode()).hexdigest()[:48]
