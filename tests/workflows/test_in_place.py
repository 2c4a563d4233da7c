"""Runs that are carried where they are started: over when they are there, or left to a worker."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from io import BytesIO
from typing import Any

import pytest
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.test import APIClient

from healthcloud.actors import Actor
from healthcloud.audit.models import AuditEvent
from healthcloud.events.models import Event
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.worker import run_until_idle
from healthcloud.organizations import keys
from healthcloud.organizations.direct import DirectApplication
from healthcloud.organizations.models import ApiKey
from healthcloud.tenancy.scope import Scope, public_scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant
from tests.workflows.conftest import Json, Runner, definition
from workflows import in_place, queries, retrying, runs, services
from workflows.api.direct import ROUTES
from workflows.models import Run

__all__ = ["live_scope", "live_tenant"]
Clients = Callable[..., APIClient]
Starter = Callable[..., Run]
EMIT = {
    "id": "tell",
    "kind": "emit",
    "with": {"type": "custom.flow.told", "payload": {"n": "{{ steps.one.output.n }}"}},
}
ONE = {"id": "one", "kind": "transform", "with": {"n": "{{ input.n }}"}}
PLAIN = definition(ONE, EMIT, output={"n": "{{ steps.one.output.n }}"})
NO = {"code": "no_way", "message": "No."}
direct = DirectApplication(ROUTES)


@pytest.fixture
def start(in_riverside: Scope, alice_actor: Actor, now: datetime) -> Starter:
    """Publish a definition and start it in place."""

    def started(source: Json, input: Json | None = None, **more: Any) -> Run:
        services.create_workflow(definition=source, actor=alice_actor, now=now, publish=True)
        return runs.start(
            actor=alice_actor, workflow="flow", input=input or {}, now=now, in_place=True, **more
        )

    return started


def due() -> int:
    """Return how many runs wait for a worker."""
    with public_scope():
        return DueWork.objects.filter(queue="steps").count()


def told(run: Run) -> list[str]:
    """Return the types of a run's events, in their order."""
    events = Event.objects.order_by("position")
    return [event.type for event in events if event.payload.get("run_id") == run.id]


def test_a_run_of_data_and_events_is_over_when_it_is_there(start: Starter) -> None:
    started = start(PLAIN, {"n": 3})
    run = queries.run(started.id)
    assert (run.status, run.output, run.token) == ("completed", {"n": 3}, 0)
    assert run.started_at is not None
    assert run.finished_at is not None
    assert run.size > 0
    steps = list(queries.steps(run))
    assert [(s.step, s.status, s.sequence, s.attempt) for s in steps] == [
        ("one", "succeeded", 1, 1),
        ("tell", "succeeded", 2, 1),
    ]
    event = Event.objects.get(type="custom.flow.told")
    assert event.payload == {"n": 3, "run_id": run.id}
    assert steps[1].output == {"event_id": event.event_id, "type": "custom.flow.told"}
    assert told(run) == [
        "workflow.started",
        "workflow.step.completed",
        "custom.flow.told",
        "workflow.step.completed",
        "workflow.completed",
    ]
    assert AuditEvent.objects.get(action="workflow.run").target_id == run.id
    assert due() == 0


def test_it_writes_what_a_worker_would(start: Starter, alice_actor: Actor, now: datetime) -> None:
    here = start(PLAIN, {"n": 1})
    there = runs.start(actor=alice_actor, workflow="flow", input={"n": 1}, now=now)
    assert (there.status, due()) == ("queued", 1)
    run_until_idle(["steps"])

    def form(run: Run) -> list[object]:
        kept = queries.run(run.id)
        steps = queries.steps(kept).values_list(
            "sequence", "path", "kind", "iteration", "lane", "attempt", "status", "input", "error"
        )
        return [
            *steps,
            sorted(told(kept)),
            kept.status,
            kept.output,
            kept.error,
            kept.size,
            kept.held,
        ]

    assert form(here) == form(there)


def test_a_failure_is_written_and_can_be_retried(
    start: Starter, alice_actor: Actor, now: datetime
) -> None:
    run = start(definition(ONE, {"id": "no", "kind": "fail", "with": NO}))
    assert (run.status, run.error and run.error["code"]) == ("failed", "no_way")
    assert told(run)[-1] == "workflow.failed"
    retrying.retry(run_id=run.id, actor=alice_actor, now=now)
    run_until_idle(["steps"])
    again = queries.run(run.id)
    assert (again.status, again.restarts) == ("failed", 1)
    attempts = [(s.step, s.attempt, s.superseded) for s in queries.steps(again)]
    assert attempts == [("one", 1, False), ("no", 1, True), ("no", 2, False)]


@pytest.mark.parametrize(
    ("source", "status"),
    [
        (definition(ONE, {"id": "rest", "kind": "wait", "with": {"duration": "1h"}}), "waiting"),
        (definition(ONE, concurrency={"max_runs": 5}), "completed"),
        (definition(ONE, timeout="1h"), "completed"),
        (definition({**ONE, "sensitive": True}), "completed"),
        (definition({**ONE, "cache": {"for": "1h"}}), "completed"),
        (
            definition({**EMIT, "with": {"type": "custom.flow.told", "payload": {"t": "a b"}}}),
            "failed",
        ),
        (definition({**ONE, "with": {"n": "x" * 300_000}}), "completed"),
    ],
    ids=["waits", "limited", "timed", "sensitive", "cached", "refused", "large"],
)
def test_what_needs_more_is_left_to_a_worker(start: Starter, source: Json, status: str) -> None:
    run = start(source, {"n": 1})
    assert (run.status, due()) == ("queued", 1)
    assert told(run) == ["workflow.started"]
    assert not queries.steps(run).exists()
    run_until_idle(["steps"])
    assert queries.run(run.id).status == status


def test_what_computes_for_long_is_left_to_workers_for_a_while(
    start: Starter, alice_actor: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again() -> str:
        more = runs.start(
            actor=alice_actor, workflow="flow", input={"n": 1}, now=now, in_place=True
        )
        return more.status

    monkeypatch.setattr(in_place, "SECONDS", -1.0)
    assert start(PLAIN, {"n": 1}).status == "queued"
    assert again() == "queued"
    monkeypatch.setattr(in_place, "SECONDS", 1.0)
    assert again() == "completed"  # one that is quick ends the row
    monkeypatch.setattr(in_place, "SECONDS", -1.0)
    assert [again() for _ in range(3)] == ["queued"] * 3
    monkeypatch.setattr(in_place, "SECONDS", 1.0)
    assert again() == "queued"


def test_the_same_key_starts_it_once(start: Starter, alice_actor: Actor, now: datetime) -> None:
    first = start(PLAIN, {"n": 1}, idempotency_key="k")
    second = runs.start(
        actor=alice_actor,
        workflow="flow",
        input={"n": 2},
        now=now,
        idempotency_key="k",
        in_place=True,
    )
    assert (second.id, second.output) == (first.id, {"n": 1})
    assert Run.objects.count() == 1
    assert Event.objects.filter(type="custom.flow.told").count() == 1


def test_a_run_that_nobody_waits_for_is_the_workers(run_workflow: Runner) -> None:
    run = run_workflow(PLAIN, {"n": 2})
    assert (run.status, run.output) == ("completed", {"n": 2})
    assert run.token > 0


# --- over HTTP, without the middleware ------------------------------------------------------------


def ask(client: APIClient, body: Json, **headers: str) -> tuple[int, Json] | None:
    """Send a start to the direct application; None where it declines."""
    data = json.dumps(body).encode()
    environ = RequestFactory()._base_environ(
        PATH_INFO="/v1/workflows/run",
        REQUEST_METHOD="POST",
        CONTENT_TYPE="application/json",
        CONTENT_LENGTH=str(len(data)),
        HTTP_AUTHORIZATION=client._credentials["HTTP_AUTHORIZATION"],
        **headers,
    )
    environ.pop("HTTP_COOKIE")
    environ["wsgi.input"] = BytesIO(data)
    seen: list[Any] = []
    chunks = direct(environ, lambda status, headers, error=None: seen.append(status))  # type: ignore[arg-type,return-value]  # nobody writes
    return None if chunks is None else (int(seen[0][:3]), json.loads(b"".join(chunks)))


@pytest.fixture
def live_client(live_tenant: Scope, client_for: Clients) -> APIClient:
    """A client of a tenant whose transactions really commit, known to this process."""
    client = client_for("live")
    client.post("/v1/workflows", {**PLAIN, "publish": True}, format="json")
    client.post("/v1/workflows/run", {"workflow_id": "flow", "input": {"n": 0}}, format="json")
    return client


@pytest.fixture
def client_for(live_tenant: Scope) -> Iterator[Clients]:
    """Make keys that this process knows, for as long as the test runs."""
    made: list[str] = []

    def make(organization: str, **fields: object) -> APIClient:
        secret = keys.generate("sandbox")
        is_live = organization == "live"
        key = ApiKey.objects.create(
            organization_id=f"org_{organization}",
            environment_id="env_live" if is_live else f"env_{organization}_sandbox",
            project_id="proj_live" if is_live else f"proj_{organization}_screening",
            name="direct",
            prefix=secret.prefix,
            last4=secret.last4,
            digest=secret.digest,
            scopes=["workflows:read", "workflows:write", "workflows:run"],
            **fields,
        )
        made.append(key.id)
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret.text}")
        for _ in range(2):  # the first notes the use, which makes a new version of the key
            client.get("/v1/workflows")
        return client

    yield make
    ApiKey.objects.filter(id__in=made).delete()


BODY = {"workflow_id": "flow", "input": {"n": 7}, "wait": 5}


def test_a_start_is_answered_with_the_finished_run(
    live_client: APIClient, live_tenant: Scope
) -> None:
    answer = ask(live_client, BODY)
    assert answer is not None
    status, body = answer
    assert (status, body["status"], body["output"]) == (200, "completed", {"n": 7})
    assert body["project_id"] == live_tenant.project_id
    with tenant_scope(live_tenant):
        assert queries.run(body["id"]).status == "completed"
        assert queries.steps(queries.run(body["id"])).count() == 2


def test_who_does_not_wait_is_told_that_it_was_accepted(
    live_client: APIClient, live_tenant: Scope
) -> None:
    answer = ask(live_client, {"workflow_id": "flow", "input": {"n": 7}})
    assert answer is not None
    status, body = answer
    assert (status, body["status"], body["output"]) == (202, "queued", None)
    assert (body["started_at"], body["finished_at"], body["duration_ms"]) == (None, None, None)
    with tenant_scope(live_tenant):
        run = queries.run(body["id"])
        assert (run.status, run.output, run.trigger_kind) == ("completed", {"n": 7}, "api")
        assert [step.status for step in queries.steps(run)] == ["succeeded"] * 2
    assert not DueWork.objects.filter(ref=body["id"]).exists()
    found = live_client.get(f"/v1/workflows/runs/{body['id']}").json()
    assert (found["status"], found["output"]) == ("completed", {"n": 7})


def test_what_is_more_than_quick_is_queued_for_a_worker(
    live_client: APIClient, live_tenant: Scope
) -> None:
    pause = {"id": "pause", "kind": "wait", "with": {"duration": "1h"}}
    waits = {**definition(pause), "slug": "waits"}
    live_client.post("/v1/workflows", {**waits, "publish": True}, format="json")
    for _ in range(2):  # by the whole way, and once it is known by the direct one
        answer = live_client.post("/v1/workflows/run", {"workflow_id": "waits"}, format="json")
        assert (answer.status_code, answer.json()["status"]) == (202, "queued")
        run = answer.json()["id"]
        assert DueWork.objects.filter(ref=run, queue="steps").count() == 1
        with tenant_scope(live_tenant):
            assert queries.run(run).status == "queued"


def test_a_version_that_was_published_meanwhile_is_run(live_client: APIClient) -> None:
    assert ask(live_client, BODY) is not None
    newer = {**PLAIN, "output": {"newer": True}}
    live_client.put("/v1/workflows/flow", newer, format="json")
    live_client.post("/v1/workflows/flow/publish", {}, format="json")
    assert ask(live_client, BODY) is None  # what this process knows is not so any more
    answer = live_client.post("/v1/workflows/run", BODY, format="json")
    assert (answer.status_code, answer.json()["output"]) == (200, {"newer": True})
    now_known = ask(live_client, BODY)
    assert now_known is not None
    assert now_known[1]["output"] == {"newer": True}


def test_a_deleted_workflow_is_not_run(live_client: APIClient, live_tenant: Scope) -> None:
    with tenant_scope(live_tenant):
        before = Run.objects.count()
    assert live_client.delete("/v1/workflows/flow").status_code == 200
    assert ask(live_client, BODY) is None
    assert live_client.post("/v1/workflows/run", BODY, format="json").status_code == 404
    with tenant_scope(live_tenant):
        assert Run.objects.count() == before


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, "workflow_id": "unknown"},
        {**BODY, "wait": 31},
        {**BODY, "input": []},
        {**BODY, "project_id": "proj_riverside_screening"},
    ],
    ids=["unknown", "wait", "input", "project"],
)
def test_what_is_refused_goes_the_whole_way(
    live_client: APIClient, live_tenant: Scope, body: Json
) -> None:
    with tenant_scope(live_tenant):
        before = Run.objects.count()
    assert ask(live_client, body) is None
    with tenant_scope(live_tenant):
        assert Run.objects.count() == before


def test_an_idempotent_start_goes_the_whole_way(live_client: APIClient) -> None:
    assert ask(live_client, BODY, HTTP_IDEMPOTENCY_KEY="k") is None
    first = live_client.post("/v1/workflows/run", BODY, format="json", HTTP_IDEMPOTENCY_KEY="k")
    second = live_client.post("/v1/workflows/run", BODY, format="json", HTTP_IDEMPOTENCY_KEY="k")
    assert first.json() == second.json()
    assert first.json()["status"] == "completed"


def test_a_revoked_key_starts_nothing(live_client: APIClient, live_tenant: Scope) -> None:
    assert ask(live_client, BODY) is not None
    secret = live_client._credentials["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    ApiKey.objects.filter(digest=keys.digest_of(secret)).update(revoked_at=timezone.now())
    with tenant_scope(live_tenant):
        before = Run.objects.count()
    assert ask(live_client, BODY) is None
    with tenant_scope(live_tenant):
        assert Run.objects.count() == before


def test_charlie_starts_nothing_of_alice(
    live_client: APIClient, client_for: Clients, live_tenant: Scope
) -> None:
    charlie = client_for("lakeside")
    with tenant_scope(live_tenant):
        before = Run.objects.count()
    assert ask(charlie, BODY) is None
    assert charlie.post("/v1/workflows/run", BODY, format="json").status_code == 404
    with tenant_scope(live_tenant):
        assert Run.objects.count() == before
