"""Deciding what runs ask of people."""

from datetime import datetime

from django.db import transaction

from healthcloud.actors import Actor
from healthcloud.audit.services import record
from healthcloud.errors import BadRequest, Conflict, ValidationFailed
from healthcloud.events.services import publish
from workflows import queries
from workflows.due import ask_for
from workflows.inputs import violations
from workflows.models import Task, TaskStatus
from workflows.telling import facts


class TaskIsDecided(Conflict):
    """The task was decided before, or is no longer asked."""


class NotTheirDecision(Conflict):
    """The task asks another person or role."""

    code = "forbidden"
    status = 403


class InvalidDecision(ValidationFailed):
    """The decision's data breaks the task's form."""


@transaction.atomic
def decide_task(
    *,
    task_id: str,
    decision: str,
    actor: Actor,
    now: datetime,
    roles: frozenset[str],
    data: object = None,
    comment: str = "",
) -> Task:
    """Approve or reject; the run goes on. `roles` are those that the caller stands for.

    Raises TaskNotFound, TaskIsDecided, NotTheirDecision, InvalidDecision.
    """
    task = Task.objects.select_for_update().filter(id=task_id).first()
    if task is None:
        raise queries.TaskNotFound(task_id)
    if task.status != TaskStatus.OPEN:
        raise TaskIsDecided(f"Task `{task.id}` is {task.status} already.")
    if decision not in {TaskStatus.APPROVED, TaskStatus.REJECTED}:
        raise BadRequest('`decision` is "approved" or "rejected".', param="decision")
    _check_person(task, actor, roles)
    if decision == TaskStatus.APPROVED and task.form:
        problems = violations(task.form, data if data is not None else {})
        if problems:
            raise InvalidDecision(problems[0]["message"], param="data", details=problems)
    task.status = decision
    task.data = data
    task.comment = comment
    task.decided_by = actor.as_dict()
    task.decided_at = now
    task.save()
    ask_for(task.run_id, task.lane)
    payload = facts(task.run) | {"task_id": task.id, "step_id": task.step, "decision": decision}
    payload.pop("version")
    publish(type="task.decided", payload=payload, actor=actor, now=now)
    record(
        actor=actor,
        action="task.decide",
        target_type="task",
        target_id=task.id,
        now=now,
        details={"run_id": task.run_id, "decision": decision},
    )
    return task


def _check_person(task: Task, actor: Actor, roles: frozenset[str]) -> None:
    if task.user_id and actor.id != task.user_id:
        raise NotTheirDecision(f"Task `{task.id}` asks another person.")
    allowed = {task.role, task.escalated_to, "owner", "admin"}
    if task.role and not roles & allowed:
        raise NotTheirDecision(
            f"Task `{task.id}` asks someone with the role `{task.role}`; an API key decides for a"
            " role only if it has all scopes of that role.",
            details={"role": task.role},
        )
