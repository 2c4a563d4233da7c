"""The Prior Auth Agent through the API: prepare, approve, submit to the payer simulator, follow."""

import json
from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from assets.models import Deployment, DeploymentStatus
from healthcloud.events.models import Event
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.assets.authorization import ICD, NOTE, Payer, deploy, record, store

pytestmark = pytest.mark.django_db

ORDER = "ServiceRequest/mri"


def deploy_both(client: APIClient) -> dict[str, Any]:
    """Deploy the payer connector, then the agent with it in its slot."""
    connector = deploy(client, "cms_prior_auth")
    assert connector["status"] == "active", connector
    agent = deploy(client, "agent_prior_auth_v1", {"payer_api": "cms_prior_auth"})
    assert agent["status"] == "active", agent
    assert agent["slots"]["payer_api"]["deployment_id"] == connector["id"]
    return agent


def run(client: APIClient, **input: Any) -> Any:
    """Run the agent; return the record of the run."""
    answer = client.post("/v1/agents/prior_auth/runs", {"input": input}, format="json")
    return answer.json()


def started(client: APIClient, order: str = ORDER) -> str:
    """Start the workflow and carry it until it waits or ends; return the run's id."""
    body = {"workflow_id": "prior_authorization", "input": {"order": order}}
    answer = client.post("/v1/workflows/run", body, format="json")
    assert answer.status_code == 202, answer.json()
    run_until_idle()
    return str(answer.json()["id"])


def decide(client: APIClient, decision: str = "approved") -> None:
    """Decide the one open task, and carry on."""
    tasks = client.get("/v1/tasks", {"status": "open"}).json()["data"]
    assert len(tasks) == 1
    answer = client.post(
        f"/v1/tasks/{tasks[0]['id']}/decide", {"decision": decision}, format="json"
    )
    assert answer.status_code == 200, answer.json()
    run_until_idle()


def finished(client: APIClient, run_id: str) -> dict[str, Any]:
    found = client.get(f"/v1/workflows/runs/{run_id}").json()
    assert found["status"] == "completed", found["error"]
    output: dict[str, Any] = found["output"]
    return output


def types(scope: Scope) -> list[str]:
    with tenant_scope(scope):
        return list(Event.objects.order_by("position").values_list("type", flat=True))


def test_an_order_is_prepared_approved_submitted_and_followed_until_it_is_decided(
    payer: Payer, alice_client: APIClient, riverside_scope: Scope
) -> None:
    deploy_both(alice_client)
    store(alice_client, *record("W1-A4"))
    run_id = started(alice_client)
    assert payer.state()["submissions"] == 0
    decide(alice_client)
    for seconds in (10, 20, 30):
        run_until_idle(ahead=timedelta(seconds=seconds))
    output = finished(alice_client, run_id)
    assert (output["status"], output["approval"], output["state"]) == (
        "ready",
        "approved",
        "approved",
    )
    assert output["authorization_number"].startswith("AUTH")
    assert output["gaps"] == []
    assert payer.state()["submissions"] == 1
    claim = alice_client.get(f"/v1/fhir/{output['claim']}").json()
    assert claim["status"] == "active"
    assert claim["supportingInfo"][0]["valueReference"] == {"reference": "DocumentReference/note"}
    assert claim["diagnosis"][0]["diagnosisCodeableConcept"]["coding"][0]["code"] == "M25.561"
    found = alice_client.get("/v1/fhir/ClaimResponse", {"request": output["claim"]}).json()
    assert found["entry"][0]["resource"]["preAuthRef"] == output["authorization_number"]
    assert [item for item in types(riverside_scope) if item.startswith("prior_auth.")] == [
        "prior_auth.submitted",
        "prior_auth.pended",
        "prior_auth.approved",
    ]
    assert "workflow.completed" in types(riverside_scope)


def test_a_request_that_nobody_approves_is_not_sent(payer: Payer, alice_client: APIClient) -> None:
    deploy_both(alice_client)
    store(alice_client, *record())
    run_id = started(alice_client)
    decide(alice_client, "rejected")
    output = finished(alice_client, run_id)
    assert (output["approval"], output["state"]) == ("rejected", "not_submitted")
    assert payer.state()["submissions"] == 0
    assert alice_client.get(f"/v1/fhir/{output['claim']}").json()["status"] == "draft"


def test_what_is_off_an_exhaustive_list_needs_no_request(
    payer: Payer, alice_client: APIClient
) -> None:
    deploy_both(alice_client)
    parts = record()
    parts[6]["code"]["coding"][0]["code"] = "99213"
    store(alice_client, *parts)
    output = finished(alice_client, started(alice_client))
    assert (output["status"], output["pa_needed"]) == ("not_required", False)
    assert alice_client.get("/v1/tasks", {"status": "open"}).json()["data"] == []
    assert alice_client.get("/v1/fhir/Claim").json().get("entry", []) == []


def test_what_is_missing_is_listed_with_its_rule_and_source(
    payer: Payer, alice_client: APIClient
) -> None:
    deploy_both(alice_client)
    parts = record()
    parts[7]["content"] = [{"attachment": {"url": "https://files.example/note.pdf"}}]
    parts[6].pop("reasonReference")
    store(alice_client, *parts)
    made = run(alice_client, order=ORDER)
    assert made["status"] == "succeeded", made
    output = made["output"]
    assert output["status"] == "incomplete"
    assert [gap["id"] for gap in output["gaps"]] == ["diagnosis", "clinical_note"]
    assert output["rule"] == "sample-plan-imaging/joint_mri"
    assert output["citation"]["url"].startswith("https://")
    assert alice_client.get(f"/v1/fhir/{output['task']}").json()["status"] == "requested"
    rules = {rule["id"]: rule["result"] for rule in made["rules"]}
    assert rules == {
        "sample-plan-imaging/joint_mri": "true",
        "sample-plan-imaging/joint_mri.clinical_note": "unknown",
    }
    assert {"reference": "Coverage/cov", "version": 1}.items() <= next(
        item for item in made["evidence"] if item["reference"] == "Coverage/cov"
    ).items()


def test_preparing_again_changes_nothing(payer: Payer, alice_client: APIClient) -> None:
    deploy_both(alice_client)
    store(alice_client, *record())
    first = run(alice_client, order=ORDER)["output"]
    second = run(alice_client, order=ORDER)["output"]
    assert first["claim_digest"] == second["claim_digest"]
    claim = alice_client.get(f"/v1/fhir/{second['claim']}").json()
    assert claim["meta"]["versionId"] == "1"


def test_a_medicare_item_is_found_on_the_published_list(
    payer: Payer, alice_client: APIClient
) -> None:
    deploy_both(alice_client)
    parts = record()
    parts[2]["identifier"] = [{"value": "00430"}]
    parts[4]["type"] = {"coding": [{"system": "https://nahdo.org/sopt", "code": "11"}]}
    wheelchair = {
        "resourceType": "DeviceRequest",
        "id": "chair",
        "status": "active",
        "intent": "order",
        "priority": "urgent",
        "codeCodeableConcept": {
            "coding": [
                {
                    "system": "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
                    "code": "K0861",
                }
            ]
        },
        "subject": {"reference": "Patient/pat_pa"},
        "reasonCode": [{"coding": [{"system": ICD, "code": "G82.20"}]}],
    }
    store(alice_client, *parts, wheelchair)
    output = run(alice_client, order="DeviceRequest/chair")["output"]
    assert output["rule"] == "cms-dmepos/power_wheelchair"
    assert output["expedited"] is True
    assert [gap["id"] for gap in output["gaps"]] == ["face_to_face"]
    unknown = run(alice_client, order=ORDER)["output"]
    assert (unknown["pa_needed"], unknown["rule"]) == (None, None)


def test_only_what_a_person_approved_is_sent(payer: Payer, alice_client: APIClient) -> None:
    deploy_both(alice_client)
    store(alice_client, *record())
    prepared = run(alice_client, order=ORDER)["output"]
    approval = {"decision": "approved", "decided_by": "usr_alice"}
    sent = {"action": "submit", "claim": prepared["claim"]}
    refused = [
        run(alice_client, **sent, claim_digest=prepared["claim_digest"]),
        run(alice_client, **sent, approval=approval),
        run(alice_client, **sent, approval=approval, claim_digest="another"),
        run(
            alice_client,
            **sent,
            approval={"decision": "rejected", "decided_by": "usr_alice"},
            claim_digest=prepared["claim_digest"],
        ),
    ]
    assert [item["error"]["code"] for item in refused] == [
        "approval_missing",
        "claim_changed",
        "claim_changed",
        "approval_missing",
    ]
    assert payer.state()["submissions"] == 0
    done = run(alice_client, **sent, approval=approval, claim_digest=prepared["claim_digest"])
    assert done["output"]["state"] == "approved"
    again = run(alice_client, order=ORDER)["output"]
    assert (again["status"], again["claim"]) == ("submitted", prepared["claim"])


def without(kind: str) -> list[dict[str, Any]]:
    return [part for part in record() if part["resourceType"] != kind]


def test_what_can_not_be_prepared_says_why(payer: Payer, alice_client: APIClient) -> None:
    deploy_both(alice_client)
    store(alice_client, *without("Coverage"))
    missing = run(alice_client, order=ORDER)["error"]
    assert missing["code"] == "coverage_missing"
    assert "Coverage" in missing["remedy"]
    unknown = run(alice_client, order="ServiceRequest/none")["error"]
    assert unknown["code"] == "order_not_found"
    order = record()[6] | {"status": "revoked"}
    expired = record()[4] | {"period": {"end": "2020-12-31"}}
    store(alice_client, order, expired)
    assert run(alice_client, order=ORDER)["error"]["code"] == "order_closed"
    store(alice_client, record()[6])
    assert "none in force" in run(alice_client, order=ORDER)["error"]["message"]
    for input in ({}, {"order": "Patient/pat_pa"}, {"action": "submit"}, {"action": "deny"}):
        answer = alice_client.post("/v1/agents/prior_auth/runs", {"input": input}, format="json")
        assert answer.status_code == 422, input
        assert answer.json()["error"]["param"].startswith("input")
    assert alice_client.get("/v1/fhir/Claim").json().get("entry", []) == []


def test_the_slot_takes_only_a_deployed_payer_connector(
    payer: Payer, alice_client: APIClient
) -> None:
    alice_client.post("/v1/assets/install", {"asset_id": "agent_prior_auth_v1"}, format="json")
    answers = {}
    for name in ("cms_prior_auth", "quest_diagnostics", "nothing_v1", None):
        config = {"payer_api": name} if name else {}
        body = {"asset_id": "agent_prior_auth_v1", "environment": "sandbox", "config": config}
        answer = alice_client.post("/v1/deployments", body, format="json")
        answers[name] = answer.status_code
        assert "error" in answer.json()
    assert answers == {
        "cms_prior_auth": 409,
        "quest_diagnostics": 422,
        "nothing_v1": 404,
        None: 409,
    }


def test_the_requests_of_the_documentation_work_in_production(
    payer: Payer, client_for: Any, now: Any, riverside_production_scope: Scope
) -> None:
    client = client_for("riverside", environment="production")
    body = {
        "asset_id": "agent_prior_auth_v1",
        "environment": "production",
        "config": {"payer_api": "cms_prior_auth"},
    }
    installed = client.post(
        "/v1/assets/install",
        {"asset_id": "agent_prior_auth_v1", "project_id": "proj_riverside_screening"},
        format="json",
    )
    assert installed.status_code == 201, installed.json()
    refused = client.post("/v1/deployments", body, format="json").json()["error"]
    assert refused["details"]["code"] == "missing_slot"
    assert "cms_prior_auth" in refused["message"]
    config = {"base_url": "https://payer.example/fhir", "client_id": "c", "key_id": "k"}
    path = "/v1/assets/install"
    connector = {"asset_id": "cms_prior_auth", "config": config}
    installation = client.post(path, connector, format="json").json()["id"]
    client.put(
        f"/v1/asset-installations/{installation}/credentials",
        {"credentials": {"private_key": "a key of the payer's registration"}},
        format="json",
    )
    deployed = client.post(
        "/v1/deployments",
        {"asset_id": "cms_prior_auth", "environment": "production"},
        format="json",
    )
    assert deployed.status_code == 202, deployed.json()
    with tenant_scope(riverside_production_scope):
        Deployment.objects.filter(id=deployed.json()["id"]).update(
            status=DeploymentStatus.ACTIVE, serving_number=1
        )
    answer = client.post("/v1/deployments", body, format="json")
    assert answer.status_code == 202, answer.json()
    assert answer.json()["slots"]["payer_api"]["asset_id"] == "connector_cms_prior_auth_v1"
    sandbox = client_for("riverside").post("/v1/deployments", body, format="json")
    assert sandbox.status_code == 403


@pytest.mark.parametrize(
    ("ending", "code"), [("422", "vendor_rejected"), ("503", "vendor_unavailable")]
)
def test_a_payer_that_refuses_leaves_the_draft(
    payer: Payer, alice_client: APIClient, ending: str, code: str
) -> None:
    deploy_both(alice_client)
    store(alice_client, *record(f"W1-{ending}"))
    prepared = run(alice_client, order=ORDER)["output"]
    failed = run(
        alice_client,
        action="submit",
        claim=prepared["claim"],
        claim_digest=prepared["claim_digest"],
        approval={"decision": "approved", "decided_by": "usr_alice"},
    )
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == code
    assert alice_client.get(f"/v1/fhir/{prepared['claim']}").json()["status"] == "draft"
    assert NOTE not in json.dumps(failed)


def test_another_organizations_order_does_not_exist(
    payer: Payer, alice_client: APIClient, charlie_client: APIClient
) -> None:
    store(alice_client, *record())
    deploy_both(charlie_client)
    made = run(charlie_client, order=ORDER)
    assert made["error"]["code"] == "order_not_found"
    assert charlie_client.get("/v1/fhir/Claim").json().get("entry", []) == []
    assert alice_client.get("/v1/fhir/Claim").json().get("entry", []) == []
