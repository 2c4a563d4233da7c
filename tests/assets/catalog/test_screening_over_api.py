"""The agent and the dataset on the real store, through the API, with Quest's simulator."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from healthcloud.events.models import Event
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.assets.catalog.chart import CATALOG, DYSURIA, condition, dipstick, patient

pytestmark = pytest.mark.django_db
CAMILA = json.loads(
    (CATALOG / "datasets" / "synthetic_patients" / "examples" / "quest_results.json").read_text()
)


def deploy(client: APIClient, asset_id: str, **config: Any) -> dict[str, Any]:
    client.post("/v1/assets/install", {"asset_id": asset_id}, format="json")
    body = {"asset_id": asset_id, "environment": "sandbox", "config": config}
    answer = client.post("/v1/deployments", body, format="json")
    assert answer.status_code == 202, answer.json()
    run_until_idle()
    found: dict[str, Any] = client.get(f"/v1/deployments/{answer.json()['id']}").json()
    assert found["status"] == "active", found
    return found


def invoke(client: APIClient, deployment: dict[str, Any], **input: Any) -> dict[str, Any]:
    answer = client.post(
        f"/v1/deployments/{deployment['id']}/invoke", {"input": input}, format="json"
    )
    assert answer.status_code == 200, answer.json()
    output: dict[str, Any] = answer.json()["output"]
    return output


def read(client: APIClient, reference: str) -> dict[str, Any]:
    answer = client.get(f"/v1/fhir/{reference}")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_patients_load_and_are_screened_at_their_levels(
    alice_client: APIClient, riverside_scope: Scope
) -> None:
    dataset = deploy(alice_client, "dataset_synthetic_patients_v1", patients=12)
    loaded = invoke(alice_client, dataset)
    again = invoke(alice_client, dataset)
    agent = deploy(alice_client, "agent_diagnostic_v1")

    assert loaded["patients"] == again["patients"] == 12
    assert read(alice_client, "Patient/pat_123")["meta"]["versionId"] == "1"
    likely = invoke(alice_client, agent, patient_id="pat_123")
    assert (likely["level"], likely["probability"]) == ("likely", 0.92)
    assessment = read(alice_client, likely["risk_assessment"])
    assert assessment["prediction"][0]["probabilityDecimal"] == 0.92
    assert assessment["meta"]["security"][0]["code"] == "AIAST"
    silent = invoke(alice_client, agent, patient_id="pat_ruth")
    assert silent["level"] == "asymptomatic_bacteriuria"
    assert read(alice_client, silent["detected_issues"][0])["severity"] == "moderate"
    urgent = invoke(alice_client, agent, patient_id="pat_grace")
    assert read(alice_client, urgent["task"])["priority"] == "urgent"
    with tenant_scope(riverside_scope):
        types = list(Event.objects.order_by("position").values_list("type", flat=True))
    assert types.count("diagnostic.result_ready") == 3
    assert types.count("diagnostic.red_flag_raised") == 1


def test_results_that_wait_at_quest_make_the_difference(
    quest: Any, alice_client: APIClient
) -> None:
    invoke(alice_client, deploy(alice_client, "dataset_synthetic_patients_v1", patients=8))
    deploy(alice_client, "quest_diagnostics")
    agent = deploy(alice_client, "agent_diagnostic_v1", labs="quest_diagnostics")
    before = invoke(alice_client, agent, patient_id="pat_camila")
    control_id = quest.add(**CAMILA)
    after = invoke(alice_client, agent, patient_id="pat_camila")
    run_until_idle()

    assert (before["level"], before["probability"]) == ("insufficient_data", None)
    assert (after["level"], after["probability"]) == ("likely", 0.92)
    assert quest.state()["acknowledged"] == [control_id]
    observations = [item for item in after["evidence"] if item.startswith("Observation/")]
    assert len(observations) >= 3
    for reference in observations:
        assert read(alice_client, reference)["subject"]["reference"] == "Patient/pat_camila"


def test_an_unknown_patient_fails_by_name_and_writes_nothing(alice_client: APIClient) -> None:
    agent = deploy(alice_client, "agent_diagnostic_v1")
    answer = alice_client.post(
        f"/v1/deployments/{agent['id']}/invoke", {"input": {"patient_id": "pat_nobody"}},
        format="json",
    )  # fmt: skip

    assert answer.status_code in {404, 409, 422}
    assert "Patient/pat_nobody" in answer.json()["error"]["message"]
    assert alice_client.get("/v1/fhir/RiskAssessment").json().get("total", 0) in {0, None}


def run_workflow(client: APIClient, patient_id: str) -> dict[str, Any]:
    answer = client.post(
        "/v1/workflows/run",
        {"workflow_id": "uti_screening", "input": {"patient_id": patient_id}},
        format="json",
    )
    assert answer.status_code == 202, answer.json()
    run_until_idle()
    found: dict[str, Any] = client.get(f"/v1/workflows/runs/{answer.json()['id']}").json()
    return found


def put(client: APIClient, resource: dict[str, Any]) -> None:
    path = f"/v1/fhir/{resource['resourceType']}/{resource['id']}"
    answer = client.put(path, resource, format="json")
    assert answer.status_code == 201, answer.content


def test_the_workflow_that_the_agent_brings_screens_a_patient(
    alice_client: APIClient, riverside_scope: Scope
) -> None:
    deploy(alice_client, "agent_diagnostic_v1")
    for resource in (patient(), condition(DYSURIA), *dipstick("Positive", "2+", "1+")):
        resource.pop("effectiveDateTime", None)
        resource.pop("onsetDateTime", None)
        put(alice_client, resource)
    run = run_workflow(alice_client, "pat_123")

    assert run["status"] == "completed", run
    assert (run["output"]["level"], run["output"]["probability"]) == ("likely", 0.92)
    assert read(alice_client, run["output"]["risk_assessment"])["status"] == "preliminary"
    with tenant_scope(riverside_scope):
        types = list(Event.objects.order_by("position").values_list("type", flat=True))
    assert "diagnostic.result_ready" in types
    assert "custom.uti_screening.review_needed" in types
    assert types.index("diagnostic.result_ready") < types.index("workflow.completed")


def test_the_workflow_fails_with_a_step_error_that_names_an_unknown_patient(
    alice_client: APIClient,
) -> None:
    deploy(alice_client, "agent_diagnostic_v1")
    run = run_workflow(alice_client, "pat_nobody")

    assert run["status"] == "failed"
    assert "Patient/pat_nobody" in run["error"]["message"]
    assert (run["error"]["code"], run["error"]["step"]) == ("patient_not_found", "screen")
