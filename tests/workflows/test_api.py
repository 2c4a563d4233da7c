"""Workflows, runs and tasks over HTTP: the seed forms, bad inputs, and Charlie."""

from collections.abc import Callable
from datetime import datetime

import pytest
from rest_framework.test import APIClient

from assets import services as assets
from assets.services.trace import write_log
from healthcloud.actors import Actor
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.workflows.conftest import Json, definition
from workflows.models import Run, Task, Workflow

Clients = Callable[..., APIClient]
SCREENING = definition(
    {"id": "read", "kind": "transform", "with": {"patient": "{{ input.patient_id }}"}},
    output={"patient": "{{ steps.read.output.patient }}"},
    input_schema={
        "type": "object",
        "required": ["patient_id"],
        "properties": {"patient_id": {"type": "string"}},
        "additionalProperties": False,
    },
) | {"slug": "uti_screening"}
ASKING = definition({"id": "ask", "kind": "approval", "with": {"title": "Treat?"}}) | {
    "slug": "asking"
}


@pytest.fixture
def alice(client_for: Clients) -> APIClient:
    """Alice's client, in whose project the screening is published."""
    client = client_for("riverside", project="screening")
    answer = client.post("/v1/workflows", {**SCREENING, "publish": True}, format="json")
    assert answer.status_code == 201, answer.json()
    return client


@pytest.fixture
def charlie(client_for: Clients) -> APIClient:
    """Charlie's client."""
    return client_for("lakeside", project="screening")


def start(client: APIClient, slug: str = "uti_screening", **body: object) -> Json:
    answer = client.post(
        "/v1/workflows/run",
        {"workflow_id": slug, "input": {"patient_id": "pat_123"}, **body},
        format="json",
    )
    assert answer.status_code == 202, answer.json()
    return answer.json()


def test_a_run_is_accepted_and_finished(alice: APIClient, riverside_scope: Scope) -> None:
    body = start(alice)
    assert body["object"] == "workflow_run"
    assert body["status"] == "queued"
    assert body["organization_id"] == "org_riverside"
    assert body["project_id"] == riverside_scope.project_id
    assert body["environment"] == "sandbox"
    run_until_idle(["steps"])
    finished = alice.get(f"/v1/workflows/runs/{body['id']}").json()
    assert (finished["status"], finished["output"]) == ("completed", {"patient": "pat_123"})
    steps = alice.get(f"/v1/workflows/runs/{body['id']}/steps").json()
    assert [(s["step_id"], s["status"], s["attempt"]) for s in steps["data"]] == [
        ("read", "succeeded", 1)
    ]


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"workflow_id": "nothing", "input": {}}, 404, "not_found", "workflow_id"),
        ({"workflow_id": "uti_screening", "input": {}}, 422, "validation_error", "input"),
        (
            {"workflow_id": "uti_screening", "input": {"patient_id": 1}},
            422,
            "validation_error",
            "input.patient_id",
        ),
        (
            {"workflow_id": "uti_screening", "input": {"patient_id": "p", "x": 1}},
            422,
            "validation_error",
            "input",
        ),
        ({"input": {}}, 422, "validation_error", "workflow_id"),
        ({"workflow_id": "uti_screening", "input": []}, 422, "validation_error", "input"),
        (
            {"workflow_id": "uti_screening", "input": {"patient_id": "p"}, "wait": 31},
            422,
            "validation_error",
            "wait",
        ),
    ],
)
def test_a_bad_start_is_refused_and_nothing_is_queued(
    alice: APIClient, riverside_scope: Scope, body: Json, status: int, code: str, param: str
) -> None:
    answer = alice.post("/v1/workflows/run", body, format="json")
    assert answer.status_code == status, answer.json()
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    with tenant_scope(riverside_scope):
        assert not Run.objects.exists()


def test_the_same_idempotency_key_starts_one_run(alice: APIClient, riverside_scope: Scope) -> None:
    body = {"workflow_id": "uti_screening", "input": {"patient_id": "pat_1"}}
    first = alice.post("/v1/workflows/run", body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    second = alice.post("/v1/workflows/run", body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["Idempotent-Replayed"] == "true"
    with tenant_scope(riverside_scope):
        assert Run.objects.count() == 1


def test_a_start_that_died_unanswered_is_repeated_at_once(
    alice: APIClient, riverside_scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*args: object, **kwargs: object) -> None:
        raise Killed

    asking = {**ASKING, "publish": True}
    alice.post("/v1/workflows", asking, format="json")
    body = {"workflow_id": "asking", "wait": 0.1}
    with monkeypatch.context() as patched:
        patched.setattr("workflows.api.runs.awaited", die)  # after the commit of the start
        with pytest.raises(Killed):
            alice.post("/v1/workflows/run", body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    again = alice.post("/v1/workflows/run", body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    with tenant_scope(riverside_scope):
        assert [run.id for run in Run.objects.all()] == [again.json()["id"]]


def test_an_answer_that_was_waited_for_is_replayed_as_it_was(
    alice: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(run: Run, **_: object) -> Run:
        run.status, run.output = "completed", {"n": 1}
        return run

    alice.post("/v1/workflows", {**ASKING, "publish": True}, format="json")
    monkeypatch.setattr("workflows.api.runs.awaited", finish)
    body = {"workflow_id": "asking", "wait": 5}
    first, second = (
        alice.post("/v1/workflows/run", body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
        for _ in range(2)
    )
    assert (first.status_code, first.json()["output"]) == (200, {"n": 1})
    assert (second.status_code, second.json()) == (200, first.json())


@pytest.mark.parametrize(
    ("change", "step", "field", "suggestion"),
    [
        ({"kind": "fhir_serch"}, "read", "kind", "fhir_search"),
        ({"kind": "parallel", "with": {}}, "read", "branches", None),
        ({"with": {"a": "{{ 1 + }}"}}, "read", "with.a", None),
        ({"with": {"a": "{{ steps.nothing.output }}"}}, "read", "with.a", None),
        ({"with": {"a": "{{ input.patiend_id }}"}}, "read", "with.a", "patient_id"),
    ],
)
def test_a_draft_with_problems_is_kept_and_cannot_be_published(
    alice: APIClient, change: Json, step: str, field: str, suggestion: str | None
) -> None:
    broken = {**SCREENING, "steps": [{**SCREENING["steps"][0], **change}], "output": None}
    checked = alice.post("/v1/workflows/validate", broken, format="json").json()
    assert checked["valid"] is False
    problem = checked["problems"][0]
    assert (problem["step"], problem["field"]) == (step, field)
    assert problem["suggestion"] == suggestion
    assert alice.put("/v1/workflows/uti_screening", broken, format="json").status_code == 200
    refused = alice.post("/v1/workflows/uti_screening/publish", {}, format="json")
    assert refused.status_code == 422
    assert refused.json()["error"]["details"][0]["step"] == step
    assert alice.get("/v1/workflows/uti_screening").json()["published_version"] == 1


def test_publishing_makes_versions_and_an_earlier_one_can_come_back(alice: APIClient) -> None:
    changed = {**SCREENING, "description": "second"}
    alice.put("/v1/workflows/uti_screening", changed, format="json")
    second = alice.post("/v1/workflows/uti_screening/publish", {"notes": "n"}, format="json").json()
    assert second["published_version"] == 2
    again = alice.post("/v1/workflows/uti_screening/publish", {}, format="json").json()
    assert again["published_version"] == 2
    back = alice.post("/v1/workflows/uti_screening/publish", {"version": 1}, format="json").json()
    assert back["published_version"] == 1
    assert start(alice)["version"] == 1
    versions = alice.get("/v1/workflows/uti_screening/versions").json()["data"]
    assert {v["version"] for v in versions} == {1, 2}
    missing = alice.post("/v1/workflows/uti_screening/publish", {"version": 9}, format="json")
    assert missing.status_code == 404


def test_a_draft_can_be_published_as_it_is_saved(alice: APIClient) -> None:
    changed = {**SCREENING, "description": "second", "publish": True}
    saved = alice.put("/v1/workflows/uti_screening", changed, format="json").json()
    assert saved["published_version"] == 2
    broken = {**changed, "steps": [{"id": "a", "kind": "nothing"}]}
    assert alice.put("/v1/workflows/uti_screening", broken, format="json").status_code == 422
    kept = alice.get("/v1/workflows/uti_screening").json()
    assert (kept["published_version"], kept["revision"]) == (2, 2)
    assert kept["definition"]["steps"] == SCREENING["steps"]


@pytest.mark.parametrize("method", ["put", "post"])
def test_publish_is_true_or_false(alice: APIClient, method: str) -> None:
    address = "/v1/workflows/uti_screening" if method == "put" else "/v1/workflows"
    answer = getattr(alice, method)(address, {**SCREENING, "publish": "maybe"}, format="json")
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "publish")
    assert alice.get("/v1/workflows/uti_screening").json()["revision"] == 1


def test_all_problems_are_listed_also_those_with_what_the_project_has(alice: APIClient) -> None:
    broken = {
        "slug": "Not a slug",
        "steps": [
            {"id": "ask", "kind": "agent", "with": {"agent": "agent_nobody_v1"}},
            {"id": "find", "kind": "fhir_search", "with": {"query": "Observatoin?status=final"}},
            {"id": "bad", "kind": "fhir_search", "with": {"query": "Observation?_count=many"}},
            {"id": "make", "kind": "fhir_create", "with": {"resource": {"resourceType": "Nope"}}},
            {"id": "look", "kind": "fhir_read", "with": {"reference": "Pateint/{{ input.p }}"}},
            {"id": "pause", "kind": "wait", "with": {"until": "tomorrow"}},
            {"id": "none", "kind": "nothing"},
        ],
        "triggers": [
            {"kind": "schedule", "cron": "99 * * * *"},
            {"kind": "fhir", "criteria": "Nope?status=final"},
            {"kind": "event", "type": "nothing.happened"},
        ],
    }
    answer = alice.post("/v1/workflows", broken, format="json")
    assert answer.status_code == 422
    found = {(p["step"], p["field"]) for p in answer.json()["error"]["details"]}
    assert found == {
        (None, "slug"),
        (None, "triggers[0].cron"),
        (None, "triggers[1].criteria"),
        (None, "triggers[2].type"),
        ("ask", "with.agent"),
        ("find", "with.query"),
        ("bad", "with.query"),
        ("make", "with.resource.resourceType"),
        ("look", "with.reference"),
        ("pause", "with.until"),
        ("none", "kind"),
    }


def test_a_search_parameter_that_is_passed_over_is_a_warning(alice: APIClient) -> None:
    step = {"id": "find", "kind": "fhir_search", "with": {"query": "Observation?nothing=1"}}
    body = {"slug": "looks", "steps": [step]}
    checked = alice.post("/v1/workflows/validate", body, format="json").json()
    assert checked["valid"] is True
    assert [(p["field"], p["severity"]) for p in checked["problems"]] == [("with.query", "warning")]


def test_a_stale_revision_is_refused(alice: APIClient) -> None:
    body = {**SCREENING, "revision": 1}
    assert alice.put("/v1/workflows/uti_screening", body, format="json").status_code == 200
    stale = alice.put("/v1/workflows/uti_screening", body, format="json")
    assert stale.status_code == 412
    assert stale.json()["error"]["details"] == {"revision": 2}


def test_the_same_slug_twice_is_a_conflict(alice: APIClient) -> None:
    answer = alice.post("/v1/workflows", SCREENING, format="json")
    assert answer.status_code == 409


def test_export_and_import_are_the_same_document(
    alice: APIClient, client_for: Clients, lakeside_scope: Scope
) -> None:
    document = alice.get("/v1/workflows/uti_screening/export").json()["definition"]
    assert document == SCREENING
    charlie = client_for("lakeside", project="screening")
    imported = charlie.post("/v1/workflows/import", document, format="json")
    assert imported.status_code == 201
    again = charlie.get("/v1/workflows/uti_screening/export").json()["definition"]
    assert again == document


def test_an_import_publishes_where_it_is_asked_to(alice: APIClient) -> None:
    first = alice.post("/v1/workflows/import", ASKING, format="json").json()
    body = {**ASKING, "name": "Asking again", "publish": True}
    second = alice.post("/v1/workflows/import", body, format="json").json()
    assert (first["published_version"], second["published_version"]) == (None, 1)
    exported = alice.get("/v1/workflows/asking/export").json()["definition"]
    assert exported["name"] == "Asking again"


def test_a_workflow_without_a_version_cannot_run(alice: APIClient) -> None:
    alice.post("/v1/workflows", ASKING, format="json")
    answer = alice.post("/v1/workflows/run", {"workflow_id": "asking"}, format="json")
    assert answer.status_code == 409
    assert "publish" in answer.json()["error"]["message"]


def test_a_deleted_workflow_is_gone_and_its_runs_stay(alice: APIClient) -> None:
    run = start(alice)
    assert alice.delete("/v1/workflows/uti_screening").json()["deleted"] is True
    assert alice.get("/v1/workflows/uti_screening").status_code == 404
    run_until_idle(["steps"])
    assert alice.get(f"/v1/workflows/runs/{run['id']}").json()["status"] == "completed"


def test_runs_are_found_by_what_they_are(alice: APIClient) -> None:
    run = start(alice)
    for query in (
        "workflow=uti_screening",
        "status=completed",
        "patient=pat_123",
        "trigger=api",
        "since=2020-01-01T00:00:00Z",
    ):
        found = alice.get(f"/v1/workflows/runs?{query}").json()
        assert [r["id"] for r in found["data"]] == [run["id"]], query
    for query in ("workflow=other", "status=failed", "patient=pat_9", "since=2999-01-01T00:00:00Z"):
        assert alice.get(f"/v1/workflows/runs?{query}").json()["data"] == [], query
    for query in ("status=lost", "since=yesterday"):
        assert alice.get(f"/v1/workflows/runs?{query}").status_code == 400, query


def test_a_task_is_decided_over_http(alice: APIClient) -> None:
    alice.post("/v1/workflows", {**ASKING, "publish": True}, format="json")
    run = start(alice, "asking")
    run_until_idle(["steps"])
    tasks = alice.get("/v1/tasks?status=open").json()["data"]
    assert [task["run_id"] for task in tasks] == [run["id"]]
    address = f"/v1/tasks/{tasks[0]['id']}/decide"
    assert alice.post(address, {"decision": "perhaps"}, format="json").status_code == 422
    decided = alice.post(address, {"decision": "approved"}, format="json").json()
    assert decided["status"] == "approved"
    assert alice.post(address, {"decision": "approved"}, format="json").status_code == 409
    run_until_idle(["steps"])
    assert alice.get(f"/v1/workflows/runs/{run['id']}").json()["status"] == "completed"


def test_a_run_is_canceled_once(alice: APIClient) -> None:
    alice.post("/v1/workflows", {**ASKING, "publish": True}, format="json")
    run = start(alice, "asking")
    address = f"/v1/workflows/runs/{run['id']}/cancel"
    assert alice.post(address, {}, format="json").json()["status"] == "canceled"
    assert alice.post(address, {}, format="json").status_code == 409
    assert run_until_idle(["steps"]) == 1
    assert alice.get(f"/v1/workflows/runs/{run['id']}/steps").json()["data"] == []


def test_charlie_finds_none_of_it_and_moves_nothing(
    alice: APIClient, charlie: APIClient, riverside_scope: Scope
) -> None:
    alice.post("/v1/workflows", {**ASKING, "publish": True}, format="json")
    run = start(alice, "asking")["id"]
    run_until_idle(["steps"])
    task = alice.get("/v1/tasks").json()["data"][0]["id"]
    calls = [
        charlie.get("/v1/workflows/uti_screening"),
        charlie.put("/v1/workflows/uti_screening", SCREENING, format="json"),
        charlie.delete("/v1/workflows/uti_screening"),
        charlie.get("/v1/workflows/uti_screening/versions"),
        charlie.post("/v1/workflows/uti_screening/publish", {}, format="json"),
        charlie.post("/v1/workflows/uti_screening/validate", {}, format="json"),
        charlie.get("/v1/workflows/uti_screening/export"),
        charlie.post("/v1/workflows/run", {"workflow_id": "uti_screening"}, format="json"),
        charlie.get(f"/v1/workflows/runs/{run}"),
        charlie.get(f"/v1/workflows/runs/{run}/steps"),
        charlie.post(f"/v1/workflows/runs/{run}/cancel", {}, format="json"),
        charlie.post(f"/v1/workflows/runs/{run}/retry", {}, format="json"),
        charlie.post(f"/v1/workflows/runs/{run}/resume", {}, format="json"),
        charlie.post(f"/v1/workflows/runs/{run}/signal", {"name": "x"}, format="json"),
        charlie.get(f"/v1/tasks/{task}"),
        charlie.post(f"/v1/tasks/{task}/decide", {"decision": "approved"}, format="json"),
    ]
    assert [call.status_code for call in calls] == [404] * len(calls)
    for listing in ("/v1/workflows", "/v1/workflows/runs", "/v1/tasks"):
        assert charlie.get(listing).json()["data"] == []
    with tenant_scope(riverside_scope):
        assert Run.objects.get().status == "waiting"
        assert Task.objects.get().status == "open"
        assert Workflow.objects.filter(deleted_at=None, published_number=1).count() == 2


@pytest.mark.parametrize("scopes", [["workflows:read"], []])
def test_a_key_without_the_scope_starts_nothing(
    alice: APIClient, client_for: Clients, riverside_scope: Scope, scopes: list[str]
) -> None:
    weak = client_for("riverside", project="screening", scopes=scopes)
    body = {"workflow_id": "uti_screening", "input": {"patient_id": "p"}}
    assert weak.post("/v1/workflows/run", body, format="json").status_code == 403
    with tenant_scope(riverside_scope):
        assert not Run.objects.exists()


def test_a_run_in_one_project_is_not_seen_in_the_other(
    alice: APIClient, client_for: Clients
) -> None:
    run = start(alice)["id"]
    other = client_for("riverside", project="referrals")
    assert other.get(f"/v1/workflows/runs/{run}").status_code == 404
    assert other.get("/v1/workflows/runs").json()["data"] == []


def test_the_schema_is_published(alice: APIClient) -> None:
    schema = alice.get("/v1/workflows/schema.json").json()
    assert schema["$defs"]["agent"]["properties"]["kind"] == {"const": "agent"}


def test_what_assets_logged_is_listed_by_run_and_step(
    alice: APIClient,
    charlie: APIClient,
    riverside_scope: Scope,
    alice_actor: Actor,
    now: datetime,
) -> None:
    run_id = start(alice)["id"]
    with tenant_scope(riverside_scope):
        assets.install(asset_id="agent_diagnostic_v1", actor=alice_actor, now=now)
        deployed = assets.deploy(asset_id="agent_diagnostic_v1", actor=alice_actor, now=now)
        caller = {"run_id": run_id, "step_id": "read"}
        for message, parent in [("one", caller), ("other", None), ("two", caller)]:
            write_log(deployed, "info", message, {"count": 1}, now=now, parent=parent)
    address = f"/v1/workflows/runs/{run_id}/logs"
    lines = alice.get(f"{address}?step_id=read").json()["data"]
    assert [(line["message"], line["asset_id"], line["step_id"]) for line in lines] == [
        ("one", "agent_diagnostic_v1", "read"),
        ("two", "agent_diagnostic_v1", "read"),
    ]
    assert alice.get(f"{address}?step_id=other").json()["data"] == []
    assert charlie.get(address).status_code == 404
