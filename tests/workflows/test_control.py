"""Control of runs: limits, children, retries on other versions, reruns, secrets, caches, time."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from healthcloud.actors import Actor
from healthcloud.api.principal import RateLimit
from healthcloud.ledger.worker import run_until_idle
from healthcloud.organizations import queries as organization_queries
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import client_for
from tests.healthcloud.receiver import running_receiver
from tests.workflows.conftest import Json, Runner, definition
from workflows import admission, queries, retrying, runs, services
from workflows.limits import StepTimedOut, time_limit
from workflows.models import Run, StepRun, StoredValue

__all__ = ["client_for"]
PAUSE: Json = {"id": "pause", "kind": "wait", "with": {"duration": "1h"}}


def transform(step_id: str, **data: object) -> Json:
    return {"id": step_id, "kind": "transform", "with": data}


def publish(source: Json, actor: Actor, now: datetime) -> None:
    services.create_workflow(definition=source, actor=actor, now=now, publish=True)


def begin(actor: Actor, now: datetime, slug: str = "flow", **input: object) -> Run:
    run = runs.start(actor=actor, workflow=slug, input=input, now=now)
    run_until_idle(["steps"])
    return queries.run(run.id)


@pytest.mark.parametrize("policy", ["queue", "reject", "replace"])
def test_a_limit_queues_refuses_or_replaces(
    in_riverside: Scope, alice_actor: Actor, now: datetime, policy: str
) -> None:
    publish(
        definition(PAUSE, concurrency={"max_runs": 1, "on_limit": policy, "key": "{{ input.p }}"}),
        alice_actor,
        now,
    )
    first = begin(alice_actor, now, p="a")
    other = begin(alice_actor, now, p="b")
    assert (first.status, other.status) == ("waiting", "waiting")
    if policy == "reject":
        with pytest.raises(admission.TooManyRuns):
            begin(alice_actor, now, p="a")
        assert Run.objects.count() == 2
        return
    second = begin(alice_actor, now, p="a")
    if policy == "replace":
        assert (queries.run(first.id).status, second.status) == ("canceled", "waiting")
        return
    assert (second.status, second.held) == ("queued", True)
    runs.cancel(run_id=first.id, actor=alice_actor, now=now)
    run_until_idle(["steps"])
    assert queries.run(second.id).status == "waiting"


@pytest.mark.parametrize("ending", ["queue", "reject"])
def test_a_limit_of_the_project_counts_the_runs_of_all_workflows_that_say_so(
    in_riverside: Scope, alice_actor: Actor, now: datetime, ending: str
) -> None:
    shared = {"max_runs": 1, "across": "project"}
    for slug, policy in (("flow", ending), ("other", "queue"), ("refusing", "reject")):
        limits = {**shared, "on_limit": policy}
        publish({**definition(PAUSE, concurrency=limits), "slug": slug}, alice_actor, now)
    publish({**definition(PAUSE, concurrency={"max_runs": 1}), "slug": "own"}, alice_actor, now)
    first = begin(alice_actor, now)
    held = begin(alice_actor, now, "other")
    assert (first.status, held.status, held.held) == ("waiting", "queued", True)
    with pytest.raises(admission.TooManyRuns, match="This project's workflows run 1 times"):
        begin(alice_actor, now, "refusing")
    assert begin(alice_actor, now, "own").status == "waiting"
    runs.cancel(run_id=first.id, actor=alice_actor, now=now)
    run_until_idle(["steps"])
    assert queries.run(held.id).status == "waiting"


def test_a_limit_across_something_else_is_refused(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    source = definition(PAUSE, concurrency={"max_runs": 1, "across": "galaxy"})
    with pytest.raises(services.InvalidDefinition) as raised:
        publish(source, alice_actor, now)
    assert "concurrency.across" in str(raised.value.details)


def test_a_plan_starts_so_many_runs_a_minute(
    client_for: Callable[..., APIClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = RateLimit(per_minute=2, burst=2)
    monkeypatch.setitem(organization_queries.RUN_LIMITS, "starter", limit)
    client = client_for("riverside", project="screening", environment="production")
    source = {**definition(PAUSE), "publish": True}
    assert client.post("/v1/workflows", source, format="json").status_code == 201
    body = {"workflow_id": "flow", "input": {}}
    for _ in range(20):  # a machine so slow that the bucket fills meanwhile starts some more
        refused = client.post("/v1/workflows/run", body, format="json")
        if refused.status_code == 429:
            break
    assert refused.status_code == 429
    assert refused.json()["error"]["message"].startswith(
        "This organization's plan starts 2 runs a minute and 2 a second."
    )
    assert int(refused["Retry-After"]) >= 1
    assert client.get("/v1/workflows/runs").status_code == 200


def test_a_child_run_hands_its_output_on(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    child = {
        **definition(transform("x", n="{{ input.n * 2 }}"), output="{{ steps.x.output.n }}"),
        "slug": "child",
    }
    publish(child, alice_actor, now)
    call = {
        "id": "call",
        "kind": "workflow",
        "with": {"workflow": "child", "input": {"n": "{{ input.n }}"}},
    }
    publish(definition(call, output="{{ steps.call.output.output }}"), alice_actor, now)
    run = begin(alice_actor, now, n=4)
    assert (run.status, run.output) == ("completed", 8)
    inner = Run.objects.get(slug="child")
    assert (inner.parent, inner.depth, inner.trigger_kind) == (run.id, 1, "workflow")


def test_a_failed_child_fails_the_step_and_a_canceled_parent_cancels_it(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    fail = {"id": "no", "kind": "fail", "with": {"message": "no", "code": "refused"}}
    publish({**definition(fail), "slug": "child"}, alice_actor, now)
    publish({**definition(PAUSE), "slug": "slow"}, alice_actor, now)
    call = {"id": "call", "kind": "workflow", "with": {"workflow": "{{ input.child }}"}}
    publish(definition(call), alice_actor, now)
    run = begin(alice_actor, now, child="child")
    assert run.error is not None
    assert (run.error["code"], run.error["details"]["code"]) == ("child_failed", "refused")
    waiting = begin(alice_actor, now, child="slow")
    assert waiting.status == "waiting"
    runs.cancel(run_id=waiting.id, actor=alice_actor, now=now)
    assert Run.objects.get(slug="slow").status == "canceled"


def test_workflows_that_run_themselves_end(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    publish(
        definition({"id": "me", "kind": "workflow", "with": {"workflow": "flow"}}), alice_actor, now
    )
    run = begin(alice_actor, now)
    assert run.status == "failed"
    assert Run.objects.count() == 9


def test_a_retry_may_use_a_version_that_differs_only_later(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    fail = {"id": "no", "kind": "fail", "with": {"message": "no"}}
    publish(definition(transform("a", x=1), fail), alice_actor, now)
    run = begin(alice_actor, now)
    fixed = definition(
        transform("a", x=1), transform("no", fixed=True), output="{{ steps.no.output.fixed }}"
    )
    broken = definition(transform("a", x=2), transform("no"))
    for source in (fixed, broken):
        services.save_draft(slug="flow", definition=source, actor=alice_actor, now=now)
        services.publish_draft(slug="flow", actor=alice_actor, now=now)
    with pytest.raises(retrying.CannotRetry):
        retrying.retry(run_id=run.id, actor=alice_actor, now=now, version=3)
    retrying.retry(run_id=run.id, actor=alice_actor, now=now, version=2)
    run_until_idle(["steps"])
    again = queries.run(run.id)
    assert (again.status, again.number, again.output) == ("completed", 2, True)
    assert StepRun.objects.filter(run=run, step="a").count() == 1


def test_a_rerun_takes_edited_input(
    run_workflow: Runner, alice_actor: Actor, now: datetime
) -> None:
    run = run_workflow(definition(transform("a"), output="{{ input.n }}"), {"n": 1})
    new = retrying.rerun(run_id=run.id, actor=alice_actor, now=now, input={"n": 2})
    run_until_idle(["steps"])
    assert queries.run(new.id).output == 2
    assert queries.run(new.id).metadata == {"rerun_of": run.id}


def test_sensitive_data_is_gone_when_the_run_is_over(run_workflow: Runner) -> None:
    secret = {**transform("secret", ssn="{{ input.ssn }}"), "sensitive": True}
    run = run_workflow(
        definition(secret, transform("last", four="{{ steps.secret.output.ssn.substring(7) }}")),
        {"ssn": "123-45-6789"},
    )
    row = StepRun.objects.get(run=run, step="secret")
    assert (row.input, row.output) == (None, None)
    assert StepRun.objects.get(run=run, step="last").output == {"four": "6789"}


def test_a_cached_step_is_done_once(in_riverside: Scope, alice_actor: Actor, now: datetime) -> None:
    make = {
        "id": "make",
        "kind": "fhir_create",
        "with": {"resource": {"resourceType": "Patient"}},
        "cache": {"for": "1h"},
    }
    publish(definition(make, output="{{ steps.make.output.reference }}"), alice_actor, now)
    first, second = begin(alice_actor, now), begin(alice_actor, now)
    assert first.output == second.output
    assert StepRun.objects.filter(step="make", status="succeeded").count() == 2


def test_large_values_are_kept_once_and_too_large_ones_refused(run_workflow: Runner) -> None:
    big = ["x" * 1000] * 400
    run = run_workflow(
        definition(
            transform("a", xs="{{ input.xs }}"),
            transform("b", xs="{{ steps.a.output.xs }}"),
            output="{{ steps.b.output.xs.count() }}",
        ),
        {"xs": big},
    )
    assert run.error is None
    assert run.output == 400
    assert StoredValue.objects.filter(run=run).count() == 1
    output = StepRun.objects.get(run=run, step="b").output
    assert output["bytes"] > 400_000
    doubled = [
        transform(
            f"t{n}", a=f"{{{{ steps.t{n - 1}.output }}}}", b=f"{{{{ steps.t{n - 1}.output }}}}"
        )
        for n in range(1, 9)
    ]
    huge = run_workflow(
        {**definition(transform("t0", xs="{{ input.xs }}"), *doubled), "slug": "huge"}, {"xs": big}
    )
    assert huge.error is not None
    assert huge.error["code"] == "output_too_large"
    assert "at most 4194304 are kept" in huge.error["message"]


def test_a_run_ends_at_its_own_timeout(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(PAUSE, timeout="10m", on_failure=[transform("late", c="{{ run.error.code }}")])
    )
    run_until_idle(["steps"], ahead=timedelta(minutes=11))
    ended = queries.run(run.id)
    assert ended.error is not None
    assert (ended.status, ended.error["code"]) == ("failed", "run_timeout")
    assert StepRun.objects.get(run=run, step="late").output == {"c": "run_timeout"}


def test_a_run_goes_on_no_longer_than_the_plan_allows(
    run_workflow: Runner,
    alice_actor: Actor,
    now: datetime,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.SANDBOX_UNLIMITED = False
    limit = timedelta(minutes=10)
    monkeypatch.setitem(organization_queries.RUN_DURATIONS, "starter", limit)
    run = run_workflow(definition(PAUSE, timeout="2d"))
    assert run.deadline_at == now + limit
    run_until_idle(["steps"], ahead=timedelta(minutes=11))
    ended = queries.run(run.id)
    assert ended.error is not None
    assert (ended.status, ended.error["code"]) == ("failed", "run_timeout")
    assert "the organization's plan" in ended.error["message"]
    for hours in (1, 2):
        later = now + timedelta(hours=hours)
        again = retrying.retry(run_id=run.id, actor=alice_actor, now=later)
        assert again.deadline_at == later + limit
        runs.cancel(run_id=run.id, actor=alice_actor, now=later)
    monkeypatch.setitem(organization_queries.RUN_DURATIONS, "starter", None)
    free = retrying.rerun(run_id=run.id, actor=alice_actor, now=now)
    assert free.deadline_at == now + timedelta(days=2)


def test_a_step_that_waits_too_long_fails(run_workflow: Runner) -> None:
    run = run_workflow(
        definition({"id": "w", "kind": "wait", "with": {"signal": "x"}, "timeout": "5m"})
    )
    run_until_idle(["steps"], ahead=timedelta(minutes=6))
    ended = queries.run(run.id)
    assert ended.error is not None
    assert ended.error["code"] == "timeout"


def test_a_time_limit_ends_the_call_itself() -> None:
    began = time.monotonic()
    with pytest.raises(StepTimedOut), time_limit(0.05):
        time.sleep(5)
    assert time.monotonic() - began < 4.5


def test_calls_go_to_allowed_hosts_only(run_workflow: Runner, settings: Any) -> None:
    call = {
        "id": "call",
        "kind": "http_request",
        "with": {"url": "https://{{ input.host }}/x"},
        "retry": {"max_attempts": 1},
    }
    run = run_workflow(definition(call), {"host": "example.org"})
    assert run.error is not None
    assert run.error["code"] == "validation_error"
    settings.WORKFLOW_HTTP_HOSTS = ["10.0.0.1"]
    inside = run_workflow({**definition(call), "slug": "inside"}, {"host": "10.0.0.1"})
    assert inside.error is not None
    assert "private or reserved network" in inside.error["message"]


def test_an_attempt_that_was_repeated_reads_as_failed_and_times_are_in_order(
    run_workflow: Runner, settings: Any
) -> None:
    settings.WORKFLOW_HTTP_HOSTS = ["127.0.0.1"]
    retry = {"max_attempts": 5, "initial_interval": "10m"}
    with running_receiver() as receiver:
        receiver.answers = [(503, {}, b""), (503, {}, b""), (200, {}, b"{}")]
        call = {"id": "call", "kind": "http_request", "with": {"url": receiver.url}}
        run = run_workflow(definition({**call, "retry": retry}))
        assert [row.status for row in run.steps.all()] == ["retrying"]
        for hours in (1, 2):  # the second pause begins an hour from now
            run_until_idle(["steps"], ahead=timedelta(hours=hours))
    ended = queries.run(run.id)
    assert ended.status == "completed"
    rows = ended.steps.order_by("attempt")
    assert [row.status for row in rows] == ["failed", "failed", "succeeded"]
    assert ended.started_at is not None
    assert ended.finished_at is not None
    assert ended.created_at <= ended.started_at <= ended.finished_at


def test_a_run_of_data_ends_no_earlier_than_it_begins(run_workflow: Runner) -> None:
    run = run_workflow(definition({"id": "a", "kind": "transform", "with": {"x": 1}}))
    assert run.started_at is not None
    assert run.finished_at is not None
    assert run.started_at <= run.finished_at


@pytest.fixture
def alice(client_for: Callable[..., APIClient]) -> APIClient:
    return client_for("riverside", project="screening")


def test_a_run_is_seen_as_graph_and_timeline(alice: APIClient, riverside_scope: Scope) -> None:
    items: Json = {
        "id": "each",
        "kind": "map",
        "with": {"items": "{{ input.xs }}"},
        "steps": [transform("one")],
    }
    alice.post(
        "/v1/workflows", {**definition(items, transform("end")), "publish": True}, format="json"
    )
    body = {"workflow_id": "flow", "input": {"xs": [1, 2]}, "metadata": {"cohort": "a"}}
    run = alice.post("/v1/workflows/run", body, format="json").json()
    run_until_idle(["steps"])
    graph = alice.get(f"/v1/workflows/runs/{run['id']}/graph").json()
    nodes = {node["step_id"]: (node["status"], node["counts"]) for node in graph["nodes"]}
    assert nodes["one"] == ("succeeded", {"succeeded": 2})
    assert {"from": "each", "to": "each/steps/one", "label": "each"} in graph["edges"]
    assert {"from": "each", "to": "end", "label": None} in graph["edges"]
    timeline = alice.get(f"/v1/workflows/runs/{run['id']}/timeline").json()
    assert len(timeline["data"]) == 4
    for query in ("version=1", "metadata.cohort=a", "until=2999-01-01T00:00:00Z"):
        assert len(alice.get(f"/v1/workflows/runs?{query}").json()["data"]) == 1, query
    for query in ("version=2", "metadata.cohort=b", "until=2000-01-01T00:00:00Z"):
        assert alice.get(f"/v1/workflows/runs?{query}").json()["data"] == [], query
    again = alice.post(
        f"/v1/workflows/runs/{run['id']}/rerun", {"input": {"xs": []}}, format="json"
    )
    assert again.status_code == 202


def test_versions_are_compared_step_by_step(alice: APIClient) -> None:
    alice.post(
        "/v1/workflows",
        {**definition(transform("a", x=1), transform("b")), "publish": True},
        format="json",
    )
    alice.put("/v1/workflows/flow", definition(transform("a", x=2), transform("c")), format="json")
    changes = alice.get("/v1/workflows/flow/diff").json()["changes"]
    assert [(c["change"], c["step"], c["field"]) for c in changes] == [
        ("changed", "a", "with"),
        ("added", "c", "steps after a"),
        ("removed", "b", "steps after a"),
    ]
    assert changes[0]["from"] == {"x": 1}


AGENT_FLOW = definition({"id": "go", "kind": "agent", "with": {"agent": "agent_diagnostic_v1"}})


def test_a_sandbox_key_never_reaches_production(
    alice: APIClient, client_for: Callable[..., APIClient], riverside_production_scope: Scope
) -> None:
    alice.post("/v1/workflows", {**definition(transform("a")), "publish": True}, format="json")
    refused = alice.post("/v1/workflows/flow/promote", {"force": True}, format="json")
    assert refused.status_code == 403
    live = client_for("riverside", environment="production", project="screening")
    assert live.post("/v1/workflows/flow/promote", {}, format="json").status_code == 403
    with tenant_scope(riverside_production_scope):
        assert not queries.workflows().exists()


def test_a_production_key_brings_the_definition_and_learns_what_is_missing(
    client_for: Callable[..., APIClient], riverside_production_scope: Scope
) -> None:
    live = client_for("riverside", environment="production", project="screening")
    address, body = "/v1/workflows/flow/promote", {"definition": AGENT_FLOW}
    refused = live.post(address, body, format="json")
    assert refused.status_code == 409
    (missing,) = refused.json()["error"]["details"]
    assert (missing["step"], missing["field"]) == ("go", "installation")
    dry = live.post(address, {**body, "dry_run": True}, format="json").json()
    assert (dry["promoted"], len(dry["missing"])) == (False, 1)
    done = live.post(address, {**body, "force": True}, format="json").json()
    assert (done["promoted"], done["published_version"]) == (True, 1)


def test_a_person_promotes_from_the_sandbox(
    alice: APIClient, client_for: object, riverside_production_scope: Scope, bob: object
) -> None:
    alice.post("/v1/workflows", {**definition(transform("a")), "publish": True}, format="json")
    browser = APIClient(raise_request_exception=False)
    browser.force_login(bob, backend="django.contrib.auth.backends.ModelBackend")  # type: ignore[arg-type]
    answer = browser.post(
        "/v1/workflows/flow/promote?project_id=proj_riverside_screening", {}, format="json"
    )
    assert answer.status_code == 200, answer.content
    assert answer.json()["missing"] == []
    with tenant_scope(riverside_production_scope):
        assert queries.workflow("flow").published_number == 1


def test_who_lacks_the_role_decides_nothing_and_a_finished_run_takes_no_signal(
    alice: APIClient, bob: object, client_for: Callable[..., APIClient]
) -> None:
    ask = {"id": "ask", "kind": "approval", "with": {"title": "Ok?", "role": "clinician"}}
    alice.post("/v1/workflows", {**definition(ask), "publish": True}, format="json")
    run = alice.post("/v1/workflows/run", {"workflow_id": "flow"}, format="json").json()
    run_until_idle(["steps"])
    (task,) = alice.get("/v1/tasks").json()["data"]
    browser = APIClient(raise_request_exception=False)
    browser.force_login(bob, backend="django.contrib.auth.backends.ModelBackend")  # type: ignore[arg-type]
    address = f"/v1/tasks/{task['id']}/decide"
    refused = browser.post(
        f"{address}?project_id=proj_riverside_screening", {"decision": "approved"}, format="json"
    )
    assert refused.status_code == 403
    narrow = client_for(
        "riverside", project="screening", scopes=["workflows:read", "workflows:run"]
    )
    refused = narrow.post(address, {"decision": "approved"}, format="json")
    assert (refused.status_code, refused.json()["error"]["details"]) == (403, {"role": "clinician"})
    assert alice.get(f"/v1/tasks/{task['id']}").json()["status"] == "open"
    assert alice.post(address, {"decision": "approved"}, format="json").status_code == 200
    run_until_idle(["steps"])
    late = alice.post(f"/v1/workflows/runs/{run['id']}/signal", {"name": "x"}, format="json")
    assert late.status_code == 409
