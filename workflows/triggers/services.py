"""The triggers of a workflow as rows: made when a version is published, gone when it is deleted."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from fhir import consumers
from healthcloud.actors import Actor
from healthcloud.audit.services import record
from healthcloud.errors import BadRequest, NotFound
from healthcloud.events import listeners
from healthcloud.secrets import open_sealed, seal
from healthcloud.tenancy.scope import active_scope
from workflows.models import EventWait, Trigger, Workflow
from workflows.parsing import parse
from workflows.triggers import scheduling
from workflows.triggers.names import LISTENER
from workflows.triggers.signing import new_secret

Json = dict[str, Any]
_KINDS: Final = ("schedule", "event", "webhook", "fhir")


class TriggerNotFound(NotFound):
    """The workflow has no such trigger."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no trigger `{name[:80]}` here.", param="trigger")


def put_in_force(workflow: Workflow, definition: Mapping[str, Any], now: datetime) -> None:
    """Let the triggers of a version that was just published be those of the workflow.

    A trigger that stays keeps its address and secret. In the transaction of the publishing.
    """
    parsed = parse(definition).definition
    wanted = dict(_named(parsed.triggers)) if parsed is not None else {}
    Trigger.objects.filter(workflow=workflow).exclude(name__in=wanted).delete()
    for name, spec in wanted.items():
        _put(workflow, name, spec, now)
    follow()


def end(workflow: Workflow) -> None:
    """Let nothing start this workflow any more."""
    Trigger.objects.filter(workflow=workflow).delete()
    follow()


def follow() -> None:
    """Listen to events and changes as long as a trigger or step waits for some."""
    active = Trigger.objects.filter(active=True)
    if active.filter(kind="event").exists() or EventWait.objects.exists():
        listeners.attach(LISTENER, "")
    if active.filter(kind="fhir").exists():
        consumers.attach(LISTENER)


def rotate_secret(*, workflow: Workflow, name: str, actor: Actor, now: datetime) -> str:
    """Give a webhook trigger a new secret and return it: it is shown this once."""
    trigger = find(workflow, name)
    if trigger.kind != "webhook":
        raise BadRequest(f"`{name}` is a {trigger.kind} trigger and has no secret.")
    secret = new_secret()
    trigger.sealed = seal(active_scope(), secret)
    trigger.save(update_fields=["sealed"])
    record(
        actor=actor,
        action="workflow.trigger.rotate_secret",
        target_type="workflow_trigger",
        target_id=trigger.id,
        now=now,
        details={"workflow_id": workflow.slug},
    )
    return secret


def secret_of(trigger: Trigger) -> str | None:
    """Return a webhook trigger's secret, None while it has none."""
    return None if trigger.sealed is None else open_sealed(active_scope(), trigger.sealed)


def find(workflow: Workflow, name: str) -> Trigger:
    """Return a trigger by name; raise TriggerNotFound."""
    found = Trigger.objects.filter(workflow=workflow, name=name).first()
    if found is None:
        raise TriggerNotFound(name)
    return found


def _named(triggers: tuple[Json, ...]) -> list[tuple[str, Json]]:
    """Return triggers under the names by which they are known over versions."""
    counts: dict[str, int] = {}
    named = []
    for spec in triggers:
        kind = spec["kind"]
        if kind not in _KINDS:
            continue
        counts[kind] = counts.get(kind, 0) + 1
        number = f"_{counts[kind]}" if counts[kind] > 1 else ""
        named.append((str(spec.get("id") or f"{kind}{number}"), spec))
    return named


def _put(workflow: Workflow, name: str, spec: Json, now: datetime) -> None:
    trigger, _ = Trigger.objects.update_or_create(
        workflow=workflow,
        name=name,
        defaults={"kind": spec["kind"], "spec": spec, "active": True},
        create_defaults={
            "project_id": workflow.project_id,
            "kind": spec["kind"],
            "spec": spec,
            "created_at": now,
        },
    )
    if spec["kind"] == "schedule":
        trigger.due_at = scheduling.next_moment(spec, now)
        trigger.save(update_fields=["due_at"])
        scheduling.ask_for(trigger)
