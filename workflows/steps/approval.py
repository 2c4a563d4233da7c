"""`approval`: ask a person.

The output is `{"decision": "approved|rejected|expired", "data", "comment", "decided_by"}`.
"""

from workflows.engine import Waiting
from workflows.models import task_id
from workflows.steps.errors import InvalidArgument
from workflows.steps.registry import Call, Wait, Waits, register
from workflows.steps.wait import duration


def begin(call: Call) -> Wait:
    """Return the task to create, and wait for it until its deadline."""
    arguments = call.arguments
    title = arguments["title"]
    if not isinstance(title, str) or not title.strip():
        raise InvalidArgument("with.title must be text")
    limit = arguments.get("deadline")
    until = None if limit is None else call.now + duration(limit, "deadline")
    task = {
        "id": task_id(),
        "title": title[:300],
        "description": str(arguments.get("description") or ""),
        "form": arguments.get("form") or {},
        "role": str(arguments.get("role") or ""),
        "user_id": str(arguments.get("user") or ""),
        "deadline_at": until,
    }
    after = arguments.get("escalate_after")
    escalate_at = None if after is None else call.now + duration(after, "escalate_after")
    return Wait(Waiting(until=until, task=str(task["id"]), escalate_at=escalate_at), task)


register("approval", Waits(begin))
