"""Events and changes of clinical data: which triggers they start, which steps they wake.

Both come once and in order, in the transaction that moves the cursor on, so that a run starts
exactly once for each event. Runs and events that lead to each other are counted: the ninth is
refused.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.apps import apps

from fhir.consumers import project_scopes
from fhir.feed import Change
from fhir.search import search
from fhir.store import ResourceGone, ResourceNotFound, read
from healthcloud.errors import HealthCloudError
from healthcloud.events.catalog import matches
from healthcloud.events.models import Event
from healthcloud.events.queries import as_dict
from healthcloud.tenancy.scope import Scope, active_scope, tenant_scope
from workflows.due import ask_for
from workflows.models import FINAL, EventWait, Run, Signal, Trigger
from workflows.triggers.firing import fire

Json = dict[str, Any]


# --- events -----------------------------------------------------------------------------------


def hear_events(events: Sequence[Event], now: datetime) -> None:
    """Start and wake what waits for these events; in a scope over all projects."""
    triggers = _by_project(Trigger.objects.filter(kind="event", active=True))
    waits = list(EventWait.objects.select_related("run"))
    if not triggers and not waits:
        return
    scopes = _scopes({event.project_id for event in events if event.project_id})
    for event in events:
        scope = scopes.get(event.project_id)
        if scope is None:
            continue
        for trigger in triggers[event.project_id]:
            if _wanted(event, trigger.spec["type"], trigger.spec.get("where") or {}):
                _start_for_event(trigger, event, scope, now)
        waits = [wait for wait in waits if not _wake(wait, event, scope, now)]


def _wanted(event: Event, pattern: str, where: Json) -> bool:
    if event.type.startswith("workflow.trigger.") or not matches(pattern, event.type):
        return False
    return all(event.payload.get(name) == value for name, value in where.items())


def _start_for_event(trigger: Trigger, event: Event, scope: Scope, now: datetime) -> None:
    with tenant_scope(scope):
        run_id = event.actor_id if event.actor_kind == "workflow" else event.payload.get("run_id")
        facts = {"kind": "event", "id": trigger.id, "event": as_dict(event, scope)}
        told = {"event_id": event.event_id, "event_type": event.type}
        default = dict(event.payload)
        fire(trigger, facts, default, now, told=told, depth=_depth_after(run_id))


def _wake(wait: EventWait, event: Event, scope: Scope, now: datetime) -> bool:
    """Hand an event to the step that waits for it; return whether that waits no longer."""
    if wait.project_id != event.project_id or not _wanted(event, wait.pattern, wait.where):
        return False
    with tenant_scope(scope):
        EventWait.objects.filter(id=wait.id).delete()
        if wait.run.status in FINAL:
            return True
        Signal.objects.create(
            project_id=wait.project_id,
            run=wait.run,
            name=wait.id,
            payload=as_dict(event, scope),
            sent_by={"kind": event.actor_kind, "id": event.actor_id, "label": event.type},
            sent_at=now,
        )
        ask_for(wait.run_id, wait.lane)
    return True


# --- changes of clinical data -----------------------------------------------------------------


def hear_changes(changes: Sequence[Change], now: datetime) -> None:
    """Start what waits for these changes; in a scope over all projects."""
    triggers = _by_project(Trigger.objects.filter(kind="fhir", active=True))
    if not triggers:
        return
    scopes = project_scopes(active_scope(), [change.project for change in changes])
    for change in changes:
        scope = scopes.get(change.project)
        for trigger in triggers[scope.project_id or ""] if scope else ():
            resource_type, _, criteria = trigger.spec["criteria"].partition("?")
            named = change.resource_type == resource_type
            if named and change.interaction in trigger.spec.get("on", ("create", "update")):
                assert scope is not None  # else there is no trigger here
                _start_for_change(trigger, change, criteria, scope, now)


def _start_for_change(
    trigger: Trigger, change: Change, criteria: str, scope: Scope, now: datetime
) -> None:
    with tenant_scope(scope):
        try:
            resource = _matching(change, criteria, now)
        except HealthCloudError:
            return
        if resource is None and change.interaction != "delete":
            return
        facts = {
            "kind": "fhir",
            "id": trigger.id,
            "reference": change.reference,
            "interaction": change.interaction,
            "version": change.version,
            "resource": resource,
        }
        told = {"reference": change.reference, "version": change.version}
        default = {"reference": change.reference, "resource": resource}
        default |= {"patient_id": _patient_of(resource)} if _patient_of(resource) else {}
        fire(trigger, facts, default, now, told=told, depth=_depth_after(change.actor_id))


def _matching(change: Change, criteria: str, now: datetime) -> Json | None:
    """Return the resource if it matches the criteria now, None if not, or if it is gone."""
    if change.interaction == "delete":
        return None
    try:
        resource: Json = read(resource_type=change.resource_type, id=change.id).resource
    except (ResourceGone, ResourceNotFound):
        return None
    query = "&".join(part for part in (criteria, f"_id={change.id}", "_count=1") if part)
    found = search(resource_type=change.resource_type, query=query, now=now)
    return resource if found.entries else None


def _patient_of(resource: Json | None) -> str | None:
    if resource is None:
        return None
    if resource.get("resourceType") == "Patient":
        return str(resource.get("id"))
    for member in ("subject", "patient"):
        reference = (resource.get(member) or {}).get("reference", "")
        if reference.startswith("Patient/"):
            return str(reference.removeprefix("Patient/"))
    return None


# --- what both need ---------------------------------------------------------------------------


def _by_project(triggers: Iterable[Trigger]) -> dict[str, list[Trigger]]:
    grouped: dict[str, list[Trigger]] = defaultdict(list)
    for trigger in triggers:
        grouped[trigger.project_id].append(trigger)
    return grouped


def _depth_after(run_id: object) -> int:
    """Return how deep a run is that follows what this run did."""
    if not isinstance(run_id, str) or not run_id.startswith("run_"):
        return 0
    found = Run.objects.filter(id=run_id).values_list("depth", flat=True).first()
    return 0 if found is None else found + 1


def _scopes(project_ids: set[str]) -> dict[str, Scope]:
    scope = active_scope()
    projects: Any = apps.get_model("organizations", "Project").objects
    rows = projects.filter(id__in=project_ids, organization_id=scope.organization_id)
    return {id_: scope.in_project(id_, n) for id_, n in rows.values_list("id", "number")}
