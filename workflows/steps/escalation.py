"""What happens when nobody decided for long: a task asks another role as well."""

from datetime import datetime

from healthcloud.events.services import Happening
from workflows.definition import Step
from workflows.models import Run, StepRun, Task, TaskStatus


def escalate(task_id: str, step: Step, run: Run, row: StepRun, now: datetime) -> list[Happening]:
    """Let the role that the step names decide too; return what happened."""
    role = str(step.arguments.get("escalate_to") or "admin")
    open_task = Task.objects.filter(id=task_id, status=TaskStatus.OPEN)
    if not open_task.update(escalated_to=role):
        return []
    payload = {
        "task_id": task_id,
        "run_id": run.id,
        "workflow_id": run.slug,
        "step_id": row.step,
        "role": role,
    }
    return [("task.escalated", payload, now)]
