"""The diagnostic app in five steps over the API, with results that wait at the laboratory."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from assets import calls
from healthcloud.api import idempotency
from healthcloud.events.models import Event
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope

pytestmark = pytest.mark.django_db


def post(client: APIClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(f"/v1/{path}", body, format="json")
    assert answer.status_code in (200, 201, 202), answer.json()
    return answer.json()


def test_results_of_the_laboratory_lead_to_a_screening(
    quest: Any, alice_client: APIClient, jane: str, riverside_scope: Scope
) -> None:
    dysuria = {
        "resourceType": "Condition",
        "clinicalStatus": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                    "code": "active",
                }
            ]
        },
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "49650001"}]},
        "subject": {"reference": jane},
        "onsetDateTime": "2026-11-21",
    }
    alice_client.post("/v1/fhir/Condition", dysuria, format="json")
    post(alice_client, "assets/install", {"asset_id": "agent_diagnostic_v1"})
    post(alice_client, "assets/install", {"asset_id": "quest_diagnostics"})
    post(alice_client, "deployments", {"asset_id": "quest_diagnostics"})
    run_until_idle()
    body = {
        "asset_id": "agent_diagnostic_v1",
        "environment": "sandbox",
        "config": {"labs": "quest_diagnostics"},
    }
    deployed = post(alice_client, "deployments", body)
    run_until_idle()
    state = alice_client.get(f"/v1/deployments/{deployed['id']}").json()
    assert state["status"] == "active", state
    control_id = quest.add(
        patient=alice_client.get("/v1/fhir/Patient/pat_jane").json(), panel="uti_positive"
    )
    run = post(
        alice_client,
        "workflows/run",
        {"workflow_id": "uti_screening", "input": {"patient_id": "pat_jane"}},
    )
    run_until_idle()
    finished = alice_client.get(f"/v1/workflows/runs/{run['id']}").json()
    assert finished["status"] == "completed", finished
    assert finished["output"]["level"] in ("likely", "possible")
    assert quest.state()["acknowledged"] == [control_id]
    with tenant_scope(riverside_scope):
        types = list(Event.objects.order_by("position").values_list("type", flat=True))
    for expected in ("agent.run.started", "agent.run.completed", "diagnostic.result_ready",
                     "diagnostic.report_received", "workflow.completed"):  # fmt: skip
        assert expected in types
    record = alice_client.get("/v1/agent-runs").json()["data"][0]
    assert record["status"] == "succeeded"
    assert record["evidence"]
    assert record["rules"]
    risk = alice_client.get(f"/v1/fhir/{record['output']['risk_assessment']}").json()
    assert risk["meta"]["security"][0]["code"] == "AIAST"
    report = alice_client.get(
        "/v1/fhir/DiagnosticReport", {"identifier": "", "patient": "pat_jane", "_count": "10"}
    )
    assert report.status_code == 200


def test_an_unknown_patient_is_named_in_the_run_record(quest: Any, alice_client: APIClient) -> None:
    post(alice_client, "assets/install", {"asset_id": "agent_diagnostic_v1"})
    post(alice_client, "deployments", {"asset_id": "agent_diagnostic_v1"})
    run_until_idle()
    record = post(alice_client, "agents/diagnostic/runs", {"input": {"patient_id": "pat_none"}})
    assert record["status"] == "failed"
    assert "pat_none" in record["error"]["message"]
    bad = alice_client.post("/v1/agents/diagnostic/runs", {"input": {"age": 3}}, format="json")
    assert bad.status_code == 422
    agents = alice_client.get("/v1/agents").json()["data"]
    assert [(item["id"], item["status"], item["runs"]) for item in agents] == [
        ("agent_diagnostic_v1", "ready", 1)
    ]


def test_an_agent_that_is_not_deployed_says_what_to_do(alice_client: APIClient) -> None:
    answer = alice_client.post(
        "/v1/agents/diagnostic/runs", {"input": {"patient_id": "pat_1"}}, format="json"
    )
    assert answer.status_code == 409
    assert "POST /v1/assets/install" in answer.json()["error"]["message"]


def test_a_slot_takes_only_what_fits_and_runs(quest: Any, alice_client: APIClient) -> None:
    post(alice_client, "assets/install", {"asset_id": "agent_diagnostic_v1"})
    for value, status in (
        ("quest_diagnostics", 409),
        ("agent_diagnostic_v1", 422),
        ("nothing_v1", 404),
        (7, 422),
    ):
        body = {"asset_id": "agent_diagnostic_v1", "config": {"labs": value}}
        answer = alice_client.post("/v1/deployments", body, format="json")
        assert answer.status_code == status, answer.json()
    details = alice_client.post(
        "/v1/deployments",
        {"asset_id": "agent_diagnostic_v1", "config": {"labs": "quest_diagnostics"}},
        format="json",
    ).json()["error"]["details"]
    assert details["code"] == "missing_slot"
    assert "POST /v1/assets/install" in details["remedy"]


def test_an_agent_goes_on_without_a_laboratory_that_was_stopped(
    quest: Any, alice_client: APIClient, jane: str
) -> None:
    alice_client.put("/v1/integrations/quest_diagnostics", {}, format="json")
    post(alice_client, "assets/install", {"asset_id": "agent_diagnostic_v1"})
    run_until_idle()
    agent = post(alice_client, "deployments", {"asset_id": "agent_diagnostic_v1"})
    run_until_idle()
    assert agent["slots"]["labs"]["asset_id"] == "connector_quest_diagnostics_v1"
    connector = agent["slots"]["labs"]["deployment_id"]
    post(alice_client, f"deployments/{connector}/stop", {})
    record = post(alice_client, "agents/diagnostic/runs", {"input": {"patient_id": "pat_jane"}})
    assert record["status"] in ("succeeded", "failed")
    if record["status"] == "failed":
        assert record["error"]["code"] == "slot_unavailable"


def test_the_synthetic_patients_load(alice_client: APIClient) -> None:
    post(alice_client, "assets/install", {"asset_id": "dataset_synthetic_patients_v1"})
    deployed = post(alice_client, "deployments", {"asset_id": "dataset_synthetic_patients_v1"})
    run_until_idle()
    body = {"input": {"patients": 10}}
    answer = post(alice_client, f"deployments/{deployed['id']}/invoke", body)
    assert answer["output"]["patients"] == 10
    total = alice_client.get("/v1/fhir/Patient", {"_total": "accurate", "_count": "1"}).json()
    assert total["total"] == 10


def test_an_agent_runs_later_when_that_is_preferred(
    quest: Any, alice_client: APIClient, jane: str
) -> None:
    post(alice_client, "assets/install", {"asset_id": "agent_diagnostic_v1"})
    post(alice_client, "deployments", {"asset_id": "agent_diagnostic_v1"})
    run_until_idle()
    answer = alice_client.post(
        "/v1/agents/diagnostic/runs",
        {"input": {"patient_id": "pat_jane"}},
        format="json",
        headers={"Prefer": "respond-async"},
    )
    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    run_until_idle()
    record = alice_client.get(f"/v1/agent-runs/{answer.json()['id']}").json()
    assert (record["status"], record["attempt"]) == ("succeeded", 1)


def test_charlie_sees_no_run(
    quest: Any, alice_client: APIClient, charlie_client: APIClient, jane: str
) -> None:
    post(alice_client, "assets/install", {"asset_id": "agent_diagnostic_v1"})
    post(alice_client, "deployments", {"asset_id": "agent_diagnostic_v1"})
    run_until_idle()
    record = post(alice_client, "agents/diagnostic/runs", {"input": {"patient_id": "pat_jane"}})
    assert charlie_client.get(f"/v1/agent-runs/{record['id']}").status_code == 404
    assert charlie_client.get("/v1/agent-runs").json()["data"] == []
    assert charlie_client.get("/v1/agents").json()["data"] == []
    assert charlie_client.get("/v1/agents/diagnostic/runs").json()["data"] == []


def test_an_idempotency_key_runs_an_agent_once(
    quest: Any, alice_client: APIClient, jane: str
) -> None:
    post(alice_client, "assets/install", {"asset_id": "agent_diagnostic_v1"})
    post(alice_client, "deployments", {"asset_id": "agent_diagnostic_v1"})
    run_until_idle()
    answers = [
        alice_client.post(
            "/v1/agents/diagnostic/runs",
            {"input": {"patient_id": "pat_jane"}},
            format="json",
            headers={"Idempotency-Key": "once"},
        )
        for _ in range(2)
    ]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert alice_client.get("/v1/agent-runs").json()["meta"]["total"] == 1


class Killed(BaseException):
    """The web process died."""


@pytest.mark.parametrize("call", ["agents/diagnostic/runs", "deployments/{}/invoke"])
def test_a_call_whose_web_process_died_after_its_commit_is_answered_at_once_and_done_once(
    quest: Any, alice_client: APIClient, jane: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    post(alice_client, "assets/install", {"asset_id": "agent_diagnostic_v1"})
    deployed = post(alice_client, "deployments", {"asset_id": "agent_diagnostic_v1"})
    run_until_idle()

    def ask() -> Any:
        return alice_client.post(
            f"/v1/{call.format(deployed['id'])}",
            {"input": {"patient_id": "pat_jane"}},
            format="json",
            headers={"Idempotency-Key": "once"},
        )

    def die(**asked: Any) -> None:
        invoke(**asked)
        raise Killed

    invoke = calls.invoke
    with monkeypatch.context() as patched:
        patched.setattr(calls, "invoke", die)
        with pytest.raises(Killed):
            ask()
    again = ask()
    assert again.headers["Idempotent-Replayed"] == "true"
    runs = alice_client.get("/v1/agent-runs").json()["data"]
    assert [(run["status"], run["attempt"]) for run in runs] == [("succeeded", 1)]
    assert (again.json().get("agent_run_id") or again.json()["id"]) == runs[0]["id"]


def test_a_call_that_was_taken_over_leaves_the_run_to_who_has_it(
    quest: Any, alice_client: APIClient, jane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(alice_client, "assets/install", {"asset_id": "agent_diagnostic_v1"})
    post(alice_client, "deployments", {"asset_id": "agent_diagnostic_v1"})
    run_until_idle()

    def ask() -> Any:
        return alice_client.post(
            "/v1/agents/diagnostic/runs",
            {"input": {"patient_id": "pat_jane"}},
            format="json",
            headers={"Idempotency-Key": "once"},
        )

    def lose(*_: object) -> None:
        raise idempotency.RequestInFlight("Another request has the key.")

    with monkeypatch.context() as patched:
        patched.setattr(idempotency, "keep", lose)
        assert ask().status_code == 409
    assert [run["status"] for run in alice_client.get("/v1/agent-runs").json()["data"]] == [
        "running"
    ]
    assert ask().json()["status"] == "succeeded"
    assert alice_client.get("/v1/events?type=agent.run.failed").json()["data"] == []
