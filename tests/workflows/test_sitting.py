"""Steps of our own rows that follow each other share a commit, and nobody can tell from the run."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from typing import Any
from unittest import mock

import pytest
from django.db import DataError, connection

from fhir.search import search
from healthcloud.actors import Actor
from healthcloud.events.models import Event
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant
from tests.workflows.conftest import Json, Runner, definition
from tests.workflows.own_steps import FIND, basic, change, create
from workflows import queries, runs, services
from workflows.journal import Journal
from workflows.models import Run
from workflows.sitting import Sitting
from workflows.steps import Call, effect_of, registry

__all__ = ["live_scope", "live_tenant"]


@pytest.fixture
def commits() -> Iterator[Callable[[], int]]:
    """Count how often workers commit."""
    with mock.patch.object(Sitting, "commit", autospec=True, side_effect=Sitting.commit) as counted:
        yield lambda: int(counted.call_count)


def names_of(run: Run) -> list[str]:
    """Return the names of the resources that are there, whose runs are all this one."""
    found = search(resource_type="Basic", query="_sort=_lastUpdated", now=run.created_at)
    return sorted(entry.resource["identifier"][0]["value"] for entry in found.entries)


def told(run: Run) -> list[str]:
    events = [e for e in Event.objects.order_by("position") if e.payload.get("run_id") == run.id]
    return [f"{e.type} {e.payload.get('step_id', '')}".strip() for e in events]


def test_steps_that_hold_nothing_share_the_commit_of_the_end(
    run_workflow: Runner, commits: Callable[[], int]
) -> None:
    run = run_workflow(definition(create("one"), FIND, create("two")))
    assert (run.status, names_of(run), commits()) == ("completed", ["one", "two"], 1)
    assert [(s.step, s.status, s.sequence) for s in queries.steps(run)] == [
        ("one", "succeeded", 1),
        ("find", "succeeded", 2),
        ("two", "succeeded", 3),
    ]
    assert told(run) == [
        "workflow.started",
        "workflow.step.completed one",
        "workflow.step.completed find",
        "workflow.step.completed two",
        "workflow.completed",
    ]


def test_what_others_may_wait_for_is_committed_before_the_next_effect(
    run_workflow: Runner, commits: Callable[[], int]
) -> None:
    steps = (create("one"), change("one"), create("two"), change("two"))
    run = run_workflow(definition(*steps))
    assert (run.status, commits()) == ("completed", 2)


def test_a_condition_of_a_create_is_held_no_longer_than_its_step(
    run_workflow: Runner, commits: Callable[[], int]
) -> None:
    once = create("one")
    once["with"] = {"resource": basic("one"), "if_none_exist": "identifier=urn:own|one"}
    run = run_workflow(definition(once, FIND, create("two")))
    assert (run.status, commits()) == ("completed", 2)


def test_a_step_that_fails_takes_nothing_with_it_of_what_came_before(run_workflow: Runner) -> None:
    gone: Json = {"id": "gone", "kind": "fhir_read", "with": {"reference": "Patient/nobody"}}
    run = run_workflow(definition(create("one"), {**gone, "on_error": []}, create("two")))
    assert (run.status, names_of(run)) == ("completed", ["one", "two"])
    assert [(s.step, s.status, s.attempt) for s in queries.steps(run)] == [
        ("one", "succeeded", 1),
        ("gone", "failed", 1),
        ("two", "succeeded", 1),
    ]
    assert told(run) == [
        "workflow.started",
        "workflow.step.completed one",
        "workflow.step.failed gone",
        "workflow.step.completed two",
        "workflow.completed",
    ]


def test_what_can_not_be_committed_together_is_committed_step_by_step(
    run_workflow: Runner, commits: Callable[[], int]
) -> None:
    write = Journal.write

    def refusing(journal: Journal, *args: Any, **kwargs: Any) -> None:
        if len(journal.fresh) > 1:
            raise DataError("too much at once")
        write(journal, *args, **kwargs)

    with mock.patch.object(Journal, "write", refusing):
        run = run_workflow(definition(create("one"), FIND, create("two")))
    assert (run.status, names_of(run), commits()) == ("completed", ["one", "two"], 4)


def test_a_cancel_between_two_steps_undoes_what_was_not_committed(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    with tenant_scope(live_tenant):
        source = definition(create("one"), FIND, create("two"))
        services.create_workflow(definition=source, actor=alice_actor, now=now, publish=True)
        run = runs.start(actor=alice_actor, workflow="flow", input={}, now=now)

    def cancel() -> None:
        with closing(connection), tenant_scope(live_tenant):
            runs.cancel(run_id=run.id, actor=alice_actor, now=now)

    found = effect_of("fhir_search")

    def canceling(call: Call) -> object:
        with ThreadPoolExecutor(1) as other:
            other.submit(cancel).result()
        return found(call)  # type: ignore[operator]  # it is an Inside

    with mock.patch.dict(registry._effects, {"fhir_search": canceling}):
        run_until_idle(["steps"])
    with tenant_scope(live_tenant):
        ended = queries.run(run.id)
        assert (ended.status, names_of(ended), told(ended)[1:]) == (
            "canceled",
            [],
            ["workflow.canceled"],
        )
        assert not queries.steps(ended).exists()
