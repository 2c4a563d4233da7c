"""Runs that the version before began, and work that this version left for that one."""

from datetime import datetime

from django.db import connection

from healthcloud.actors import Actor
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, public_scope
from tests.workflows.conftest import definition
from workflows import queries, runs, services
from workflows.models import StepRun


def _start(actor: Actor, now: datetime, *steps: dict[str, object]) -> str:
    source = definition(*steps)
    services.create_workflow(definition=source, actor=actor, now=now, publish=True)
    return runs.start(actor=actor, workflow="flow", input={}, now=now).id


def test_a_wait_whose_row_says_less_than_this_version_writes_is_carried_on(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    wait = {"id": "wait", "kind": "wait", "with": {"signal": "go", "timeout": "2h"}}
    run = _start(alice_actor, now, wait, {"id": "end", "kind": "transform", "with": {"x": 1}})
    run_until_idle(["steps"])
    row = StepRun.objects.get(run=run, step="wait")
    assert row.waiting is not None
    row.waiting = {"signal": "go", "what_a_later_version_took_away": True}
    row.save(update_fields=["waiting"])
    runs.signal(run_id=run, name="go", payload={"n": 1}, actor=alice_actor, now=now)
    run_until_idle(["steps"])
    assert queries.run(run).status == "completed"
    assert list(StepRun.objects.filter(run=run).values_list("step", "status", "attempt")) == [
        ("wait", "succeeded", 1),
        ("end", "succeeded", 1),
    ]


def test_an_attempt_that_the_version_before_began_and_left_is_begun_again(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    make = {
        "id": "make",
        "kind": "fhir_create",
        "with": {"resource": {"resourceType": "Basic", "code": {"text": "x"}}},
    }
    run = _start(alice_actor, now, make)
    found = queries.run(run)
    with public_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT nextval('public.ledger_token')")
        (token,) = cursor.fetchone()
    found.token, found.status = token, "running"
    found.save(update_fields=["token", "status"])
    StepRun.objects.create(
        id="step_before",
        project_id=found.project_id,
        run=found,
        sequence=1,
        step="make",
        path="make",
        kind="fhir_create",
        attempt=1,
        status="running",
        input=make["with"],
        started_at=now,
    )
    run_until_idle(["steps"])
    assert queries.run(run).status == "completed"
    rows = StepRun.objects.filter(run=run).order_by("attempt")
    assert [(row.attempt, row.status) for row in rows] == [(1, "lost"), (2, "succeeded")]


def test_a_run_that_moved_to_the_threads_of_this_version_is_carried_without_any(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    run = _start(alice_actor, now, {"id": "a", "kind": "transform", "with": {"x": 1}})
    with public_scope():
        DueWork.objects.filter(ref=run).update(queue="agents")
    run_until_idle(["agents"])
    assert queries.run(run).status == "completed"
