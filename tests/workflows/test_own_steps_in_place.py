"""Runs that read and write resources, carried in the transaction of their start."""

from collections.abc import Callable
from datetime import datetime

import pytest
from django.db import OperationalError
from django.utils import timezone
from rest_framework.test import APIClient

from fhir.search import search
from healthcloud.actors import Actor
from healthcloud.audit.models import AuditEvent
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.worker import run_until_idle
from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant
from tests.workflows.conftest import Json, definition
from tests.workflows.own_steps import FIND, change, create
from tests.workflows.test_in_place import (
    Clients,
    Starter,
    ask,
    client_for,
    due,
    live_client,
    start,
    told,
)
from workflows import in_place, published, queries, runs
from workflows.models import Run

__all__ = ["client_for", "live_client", "live_scope", "live_tenant", "start"]


GONE: Json = {"id": "gone", "kind": "fhir_read", "with": {"reference": "Patient/nobody"}}
OUTPUT = {
    "found": "{{ steps.find.output.total }}",
    "version": "{{ steps.change_a.output.version }}",
}
OWN = definition(create("a"), FIND, change("a"), output=OUTPUT)


def written(now: datetime) -> list[tuple[str, int]]:
    """Return the resources that are there, by name and version."""
    found = search(resource_type="Basic", query="identifier=urn:own|", now=now).entries
    return sorted((e.resource["identifier"][0]["value"], e.version) for e in found)


def test_steps_that_read_and_write_resources_are_over_with_the_start(
    start: Starter, now: datetime
) -> None:
    started = start(OWN)
    run = queries.run(started.id)
    assert (run.status, run.output, run.token) == ("completed", {"found": 1, "version": 2}, 0)
    assert (written(now), due()) == ([("a", 2)], 0)
    assert [(s.step, s.status, s.sequence) for s in queries.steps(run)] == [
        ("a", "succeeded", 1),
        ("find", "succeeded", 2),
        ("change_a", "succeeded", 3),
    ]
    assert told(run) == [
        "workflow.started",
        *["workflow.step.completed"] * 3,
        "workflow.completed",
    ]
    writes = AuditEvent.objects.filter(target_type="Basic").order_by("position")
    assert [(w.action, w.actor_kind, w.actor_id) for w in writes] == [
        ("fhir.create", "workflow", run.id),
        ("fhir.update", "workflow", run.id),
    ]


def test_a_step_that_fails_leaves_the_run_to_a_worker_and_nothing_else(
    start: Starter, now: datetime
) -> None:
    run = start(definition(create("a"), {**GONE, "on_error": []}, create("b")))
    assert (run.status, due(), written(now)) == ("queued", 1, [])
    assert told(run) == ["workflow.started"]
    run_until_idle(["steps"])
    assert (queries.run(run.id).status, written(now)) == ("completed", [("a", 1), ("b", 1)])


def test_what_others_may_wait_for_is_the_last_that_a_start_does(
    start: Starter, now: datetime
) -> None:
    run = start(definition(create("a"), change("a"), create("b")))
    assert (run.status, due(), written(now)) == ("queued", 1, [])
    run_until_idle(["steps"])
    assert (queries.run(run.id).status, written(now)) == ("completed", [("a", 2), ("b", 1)])


@pytest.mark.parametrize(
    "source",
    [
        definition({**create("a"), "sensitive": True}),
        definition({**create("a"), "cache": {"for": "1h"}}),
        definition(create("a"), timeout="1h"),
        definition(*(create(f"n{number}") for number in range(13))),
        definition(create("a"), {"id": "w", "kind": "wait", "with": {"duration": "1h"}}),
    ],
    ids=["sensitive", "cached", "timed", "many", "waits"],
)
def test_what_is_more_than_a_few_plain_steps_is_a_workers(
    start: Starter, source: Json, now: datetime
) -> None:
    assert (start(source).status, due(), written(now)) == ("queued", 1, [])


def test_what_takes_long_is_left_to_workers_for_a_while(
    start: Starter, alice_actor: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again() -> str:
        more = runs.start(actor=alice_actor, workflow="flow", input={}, now=now, in_place=True)
        return more.status

    monkeypatch.setattr(in_place, "_PASSED", -1.0)
    assert start(OWN).status == "queued"
    assert [again() for _ in range(2)] == ["queued"] * 2
    monkeypatch.setattr(in_place, "_PASSED", 60.0)
    assert (again(), written(now)) == ("queued", [])
    published._slow_until.clear()
    assert (again(), written(now)) == ("completed", [("a", 2)])


def test_a_start_that_the_database_refuses_is_queued(
    start: Starter, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise OperationalError("deadlock detected")

    monkeypatch.setattr("workflows.runs.step_rows.inserting", refused)
    assert (start(OWN).status, due(), written(now)) == ("queued", 1, [])


# --- over HTTP, without the middleware ------------------------------------------------------------

BODY = {"workflow_id": "flow", "input": {}, "wait": 5}


@pytest.fixture
def own_client(live_client: APIClient) -> APIClient:
    """A client that this process knows, with the workflow published and known, too."""
    live_client.put("/v1/workflows/flow", OWN, format="json")
    live_client.post("/v1/workflows/flow/publish", {}, format="json")
    live_client.post("/v1/workflows/run", {"workflow_id": "flow", "input": {}}, format="json")
    return live_client


@pytest.fixture
def kept(live_tenant: Scope, now: datetime) -> Callable[[], tuple[int, int]]:
    """Return how many runs and resources are there."""

    def count() -> tuple[int, int]:
        with tenant_scope(live_tenant):
            return Run.objects.count(), len(written(now))

    return count


def test_a_start_writes_all_in_its_own_transaction(
    own_client: APIClient, kept: Callable[[], tuple[int, int]]
) -> None:
    before = kept()
    answer = ask(own_client, BODY)
    assert answer is not None
    status, body = answer
    assert (status, body["status"], body["output"]["version"]) == (200, "completed", 2)
    assert kept() == (before[0] + 1, before[1] + 1)
    assert not DueWork.objects.filter(ref=body["id"]).exists()


def test_what_was_published_meanwhile_leaves_nothing_of_the_old_version(
    own_client: APIClient, kept: Callable[[], tuple[int, int]]
) -> None:
    newer = definition(create("a"), output={"newer": True})
    own_client.put("/v1/workflows/flow", newer, format="json")
    own_client.post("/v1/workflows/flow/publish", {}, format="json")
    before = kept()
    assert ask(own_client, BODY) is None
    assert kept() == before
    answer = own_client.post("/v1/workflows/run", BODY, format="json")
    assert (answer.status_code, answer.json()["output"]) == (200, {"newer": True})
    assert kept() == (before[0] + 1, before[1] + 1)


def test_a_revoked_key_writes_nothing(
    own_client: APIClient, kept: Callable[[], tuple[int, int]]
) -> None:
    secret = own_client._credentials["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    ApiKey.objects.filter(digest=keys.digest_of(secret)).update(revoked_at=timezone.now())
    before = kept()
    assert ask(own_client, BODY) is None
    assert kept() == before


def test_charlie_writes_nothing_of_alice(
    own_client: APIClient, client_for: Clients, kept: Callable[[], tuple[int, int]]
) -> None:
    before = kept()
    charlie = client_for("lakeside")
    assert ask(charlie, BODY) is None
    assert charlie.post("/v1/workflows/run", BODY, format="json").status_code == 404
    assert kept() == before


def test_a_step_that_fails_is_answered_by_the_worker(
    own_client: APIClient, live_tenant: Scope, kept: Callable[[], tuple[int, int]]
) -> None:
    source = definition(create("a"), GONE)
    own_client.put("/v1/workflows/flow", source, format="json")
    own_client.post("/v1/workflows/flow/publish", {}, format="json")
    before = kept()
    for count in (1, 2):  # by the whole way, and once it is known by the direct one
        answer = own_client.post("/v1/workflows/run", {"workflow_id": "flow"}, format="json")
        assert (answer.status_code, answer.json()["status"]) == (202, "queued")
        assert kept() == (before[0] + count, before[1])
    direct = ask(own_client, {"workflow_id": "flow", "input": {}})
    assert direct is not None
    assert kept() == (before[0] + 3, before[1])
    run_until_idle(["steps"])
    assert kept() == (before[0] + 3, before[1] + 3)
    with tenant_scope(live_tenant):
        assert queries.run(direct[1]["id"]).status == "failed"
