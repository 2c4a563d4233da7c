"""Schedules, events, webhooks and changes of clinical data start runs, once each."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from fhir import store
from healthcloud.actors import Actor
from healthcloud.events import signing
from healthcloud.events.models import Event
from healthcloud.events.services import publish
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import client_for
from tests.workflows.conftest import Json, definition
from workflows import services
from workflows.models import Run, Trigger

__all__ = ["client_for"]
pytestmark = pytest.mark.usefixtures("empty_ledger")


def publish_flow(trigger: Json, actor: Actor, slug: str = "flow", **members: object) -> None:
    source = definition(
        {"id": "a", "kind": "transform", "with": {"x": "{{ input }}"}},
        triggers=[trigger],
        **{"output": "{{ steps.a.output.x }}", **members},
    )
    services.create_workflow(
        definition={**source, "slug": slug}, actor=actor, now=timezone.now(), publish=True
    )


def runs_of(slug: str = "flow") -> list[Run]:
    return list(Run.objects.filter(slug=slug).order_by("created_at", "id"))


def test_a_schedule_runs_at_its_moment_and_waits_for_the_next(
    in_riverside: Scope, alice_actor: Actor
) -> None:
    given = {"at": "{{ trigger.scheduled_for }}"}
    publish_flow({"kind": "schedule", "cron": "0 * * * *", "input": given}, alice_actor)
    trigger = Trigger.objects.get()
    due = trigger.due_at
    assert due is not None
    assert timezone.now() < due <= timezone.now() + timedelta(hours=1)
    assert run_until_idle(ahead=timedelta(0)) == 0
    run_until_idle(ahead=due - timezone.now() + timedelta(seconds=5))
    (run,) = runs_of()
    assert (run.trigger_kind, run.status) == ("schedule", "completed")
    assert run.output == {"at": due.isoformat()}
    trigger.refresh_from_db()
    assert trigger.due_at == due + timedelta(hours=1)


@pytest.mark.parametrize(("missed", "count"), [("run_once", 1), ("skip", 0), ("run_all", 4)])
def test_missed_moments_are_handled_as_the_schedule_says(
    in_riverside: Scope, alice_actor: Actor, missed: str, count: int
) -> None:
    publish_flow({"kind": "schedule", "cron": "0 * * * *", "missed": missed}, alice_actor)
    now = timezone.now().replace(minute=30, second=0, microsecond=0)
    hour = now.replace(minute=0)
    Trigger.objects.update(due_at=hour - timedelta(hours=3))
    from healthcloud.ledger.handlers import ClaimedWork
    from workflows.triggers import scheduling

    work = ClaimedWork(1, in_riverside, "workflow.schedule", Trigger.objects.get().id, 1, 1, now)
    scheduling.run_due(work)
    assert len(runs_of()) == count
    assert Trigger.objects.get().due_at == hour + timedelta(hours=1)


def test_publishing_a_version_without_it_ends_a_schedule(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    publish_flow({"kind": "schedule", "cron": "0 * * * *"}, alice_actor)
    services.save_draft(
        slug="flow",
        definition=definition({"id": "b", "kind": "transform"}),
        actor=alice_actor,
        now=now,
    )
    services.publish_draft(slug="flow", actor=alice_actor, now=now)
    run_until_idle(ahead=timedelta(hours=2))
    assert runs_of() == []


def test_an_event_starts_a_run_where_its_pattern_and_condition_hold(
    in_riverside: Scope, alice_actor: Actor
) -> None:
    publish_flow(
        {
            "kind": "event",
            "type": "care_gap.*",
            "where": {"measure": "a1c"},
            "when": "trigger.event.payload.patient_id != 'pat_2'",
            "input": {"patient_id": "{{ trigger.event.payload.patient_id }}"},
        },
        alice_actor,
    )
    for type_, patient, measure in [
        ("care_gap.opened", "pat_1", "a1c"),
        ("care_gap.opened", "pat_1", "bp"),
        ("care_gap.closed", "pat_2", "a1c"),
    ]:
        publish(
            type=type_,
            payload={"patient_id": patient, "measure": measure},
            actor=alice_actor,
            now=timezone.now(),
        )
    run_until_idle()
    (run,) = runs_of()
    assert run.output == {"patient_id": "pat_1"}
    assert run.trigger["event_type"] == "care_gap.opened"
    assert run.patient == "pat_1"


def test_runs_that_start_each_other_end_after_eight(
    in_riverside: Scope, alice_actor: Actor
) -> None:
    source = definition(
        {"id": "tell", "kind": "emit", "with": {"type": "custom.again"}},
        triggers=[{"kind": "event", "type": "custom.again"}],
    )
    services.create_workflow(definition=source, actor=alice_actor, now=timezone.now(), publish=True)
    publish(type="custom.again", payload={}, actor=alice_actor, now=timezone.now())
    run_until_idle()
    assert [run.depth for run in runs_of()] == list(range(9))
    refused = Event.objects.get(type="workflow.trigger.failed")
    assert refused.payload["code"] == "conflict"


def test_a_trigger_that_cannot_start_says_so_and_stops_nobody_else(
    in_riverside: Scope, alice_actor: Actor
) -> None:
    schema = {"type": "object", "required": ["missing"]}
    event = {"kind": "event", "type": "custom.x"}
    publish_flow(event, alice_actor, "strict", input_schema=schema)
    publish_flow(event, alice_actor, "easy")
    publish(type="custom.x", payload={"n": 1}, actor=alice_actor, now=timezone.now())
    run_until_idle()
    assert runs_of("strict") == []
    assert [run.status for run in runs_of("easy")] == ["completed"]
    failed = Event.objects.get(type="workflow.trigger.failed")
    assert (failed.payload["workflow_id"], failed.payload["code"]) == ("strict", "validation_error")
    assert Trigger.objects.get(workflow__slug="strict").last_error == "validation_error"


OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "subject": {"reference": "Patient/pat_1"},
    "code": {"coding": [{"system": "http://loinc.org", "code": "5799-2"}]},
}


def test_a_change_that_matches_a_search_starts_a_run(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    patient = {"resourceType": "Patient", "id": "pat_1"}
    store.update(resource_type="Patient", id="pat_1", resource=patient, actor=alice_actor, now=now)
    criteria = "Observation?code=http://loinc.org|5799-2"
    publish_flow({"kind": "fhir", "criteria": criteria, "on": ["create"]}, alice_actor)
    other = {**OBSERVATION, "code": {"coding": [{"system": "http://loinc.org", "code": "1-1"}]}}
    store.create(resource=other, resource_type="Observation", actor=alice_actor, now=now)
    stored = store.create(
        resource=OBSERVATION, resource_type="Observation", actor=alice_actor, now=now
    )
    run_until_idle(ahead=timedelta(seconds=20))
    (run,) = runs_of()
    assert run.trigger["reference"] == stored.reference
    assert run.patient == "pat_1"
    store.update(
        resource_type="Observation",
        id=stored.id,
        resource={**OBSERVATION, "id": stored.id, "status": "amended"},
        actor=alice_actor,
        now=now,
    )
    run_until_idle(ahead=timedelta(seconds=20))
    assert len(runs_of()) == 1


def test_a_step_waits_for_an_event_and_gets_it(
    in_riverside: Scope, alice_actor: Actor, now: datetime, run_workflow: Callable[..., Run]
) -> None:
    wait = {
        "event": "custom.order_filled",
        "where": {"order": "{{ input.order }}"},
        "timeout": "1d",
    }
    run = run_workflow(
        definition(
            {"id": "filled", "kind": "wait", "with": wait},
            output="{{ steps.filled.output.payload.payload.by }}",
        ),
        {"order": "o1"},
    )
    assert run.status == "waiting"
    for order in ("o2", "o1"):
        payload = {"order": order, "by": f"lab-{order}"}
        publish(type="custom.order_filled", payload=payload, actor=alice_actor, now=now)
    run_until_idle()
    run.refresh_from_db()
    assert (run.status, run.output) == ("completed", "lab-o1")


@pytest.fixture
def hook(
    client_for: Callable[..., APIClient], riverside_scope: Scope, alice_actor: Actor
) -> tuple[str, str]:
    """Return address and secret of a webhook trigger."""
    with tenant_scope(riverside_scope):
        publish_flow({"kind": "webhook"}, alice_actor)
    alice = client_for("riverside", project="screening")
    (trigger,) = alice.get("/v1/workflows/flow/triggers").json()["data"]
    answer = alice.post("/v1/workflows/flow/triggers/webhook/rotate-secret", {}, format="json")
    assert trigger["has_secret"] is False
    return trigger["url"], answer.json()["secret"]


def send(address: str, secret: str, body: Json, at: datetime | None = None) -> int:
    content = json.dumps(body).encode()
    signed = signing.headers([secret], message_id="m1", at=at or timezone.now(), body=content)
    client = APIClient(raise_request_exception=False)
    headers = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in signed.items()}
    answer = client.generic("POST", address, content, content_type="application/json", **headers)
    return int(answer.status_code)


def test_a_signed_request_starts_one_run(hook: tuple[str, str], riverside_scope: Scope) -> None:
    address, secret = hook
    assert [send(address, secret, {"n": 5}) for _ in range(2)] == [202, 202]
    with tenant_scope(riverside_scope):
        (run,) = runs_of()
        assert (run.trigger_kind, run.input) == ("webhook", {"n": 5})


def test_an_unsigned_request_starts_nothing(hook: tuple[str, str], riverside_scope: Scope) -> None:
    address, secret = hook
    old = datetime(2020, 1, 1, tzinfo=UTC)
    assert send(address, signing.new_secret(), {"n": 5}) == 401
    assert send(address, secret, {"n": 5}, at=old) == 401
    assert APIClient().post(address, {}, format="json").status_code == 401
    elsewhere = address.replace("env_riverside_sandbox", "env_lakeside_sandbox")
    assert send(elsewhere, secret, {"n": 5}) == 404
    assert send(address.replace("sandbox", "nowhere"), secret, {"n": 5}) == 404
    with tenant_scope(riverside_scope):
        assert runs_of() == []
