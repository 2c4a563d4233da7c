"""Starting a run because a trigger says so: its condition, its input, and what goes wrong.

A trigger that can't start its run is no reason to stop the others: the error is kept at the
trigger and published, and nothing of the start remains.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from healthcloud.actors import Actor
from healthcloud.errors import HealthCloudError
from healthcloud.events.services import publish
from healthcloud.tenancy.scope import active_scope
from workflows import queries, runs
from workflows.expressions import ExpressionError, parse_expression, resolve
from workflows.models import Run, Trigger

Json = dict[str, Any]


def actor_of(trigger: Trigger) -> Actor:
    """Return a trigger as the doer of what it starts."""
    return Actor("workflow", trigger.id, f"{trigger.name} of {trigger.workflow.slug}")


def fire(
    trigger: Trigger,
    facts: Mapping[str, Any],
    default: Json,
    now: datetime,
    *,
    told: Mapping[str, Any],
    depth: int = 0,
    key: str | None = None,
) -> Run | None:
    """Start a run; return None when the condition does not hold or the start was refused.

    `facts` are what expressions see as `trigger`, `told` (ids only) what the run keeps of it.
    Inside the project's scope, in the caller's transaction. A refusal is put down at the trigger.
    """
    try:
        return start(trigger, facts, default, now, told=told, depth=depth, key=key)
    except (HealthCloudError, ExpressionError) as error:
        _refused(trigger, error, now)
        return None


@transaction.atomic
def start(
    trigger: Trigger,
    facts: Mapping[str, Any],
    default: Json,
    now: datetime,
    *,
    told: Mapping[str, Any],
    depth: int = 0,
    key: str | None = None,
) -> Run | None:
    """Start a run, raising what `runs.start` does; None when the condition does not hold."""
    spec = trigger.spec
    roots = {"trigger": dict(facts), "env": active_scope().metadata()}
    if spec.get("when") and not parse_expression(spec["when"]).holds(roots):
        return None
    given = spec.get("input")
    run = runs.start(
        actor=actor_of(trigger),
        workflow=trigger.workflow.slug,
        input=resolve(given, roots) if given is not None else fitting(trigger, default),
        now=now,
        trigger=trigger.kind,
        idempotency_key=key,
        cause=runs.Cause(depth=depth, facts={"trigger_id": trigger.id, **told}),
    )
    Trigger.objects.filter(id=trigger.id).update(fired_at=now, last_error="")
    return run


def fitting(trigger: Trigger, default: Json) -> Json:
    """Return the members of a default input that the workflow's schema names."""
    schema = queries.version(trigger.workflow).definition.get("input_schema") or {}
    names = schema.get("properties")
    if not names:
        return default
    return {name: value for name, value in default.items() if name in names}


def _refused(trigger: Trigger, error: HealthCloudError | ExpressionError, now: datetime) -> None:
    Trigger.objects.filter(id=trigger.id).update(last_error=error.code, fired_at=now)
    publish(
        type="workflow.trigger.failed",
        payload={
            "workflow_id": trigger.workflow.slug,
            "trigger_id": trigger.id,
            "kind": trigger.kind,
            "code": error.code,
        },
        actor=actor_of(trigger),
        now=now,
    )
