"""The Quest connector through the API, against the simulator process over real HTTP."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from assets.models import Receipt
from healthcloud.events.models import Event
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope

JANE = {
    "mrn": "MRN-100",
    "family": "Doe",
    "given": "Jane",
    "birth_date": "1970-02-14",
    "gender": "female",
}
pytestmark = pytest.mark.django_db


def deploy(client: APIClient, config: dict[str, Any] | None = None) -> dict[str, Any]:
    client.post("/v1/assets/install", {"asset_id": "quest_diagnostics"}, format="json")
    body = {"asset_id": "quest_diagnostics", "environment": "sandbox", "config": config or {}}
    answer = client.post("/v1/deployments", body, format="json")
    assert answer.status_code == 202, answer.json()
    assert answer.json()["status"] == "pending"
    run_until_idle()
    return client.get(f"/v1/deployments/{answer.json()['id']}").json()


def retrieve(client: APIClient, deployment: dict[str, Any], **input: Any) -> Any:
    body = {"action": "retrieve_results", "input": input}
    return client.post(f"/v1/deployments/{deployment['id']}/invoke", body, format="json")


def test_it_installs_and_deploys_with_nothing_but_defaults(
    quest: Any, alice_client: APIClient
) -> None:
    deployment = deploy(alice_client)
    assert deployment["status"] == "active"
    assert deployment["config"]["base_url"] == f"{quest.url}/quest"
    assert deployment["config"]["client_id"] == quest.client_id
    assert quest.state()["acknowledged"] == []


def test_a_result_is_filed_and_acknowledged_after_the_commit(
    quest: Any, alice_client: APIClient, jane: str, riverside_scope: Scope
) -> None:
    deployment = deploy(alice_client)
    control_id = quest.add(patient=JANE, panel="uti_positive", pdf=True)
    answer = retrieve(alice_client, deployment, patient_id="pat_jane")
    assert answer.status_code == 200, answer.json()
    report = answer.json()["output"]["reports"][0]
    assert report["patient"] == jane
    assert len(report["observations"]) == 4
    assert quest.state()["acknowledged"] == []
    run_until_idle()
    assert quest.state()["acknowledged"] == [control_id]
    assert retrieve(alice_client, deployment).json()["output"]["received"] == 0
    found = alice_client.get(
        "/v1/fhir/Observation", {"patient": "pat_jane", "code": "http://loinc.org|5802-4"}
    ).json()
    assert found["entry"][0]["resource"]["valueString"] == "POSITIVE"
    provenance = alice_client.get(
        "/v1/fhir/Provenance", {"target": report["diagnostic_report"]}
    ).json()
    assert provenance["entry"][0]["resource"]["agent"][0]["who"]["reference"] == (
        f"Device/{deployment['id']}"
    )


def test_the_same_result_twice_makes_no_second_version(
    quest: Any, alice_client: APIClient, jane: str
) -> None:
    deployment = deploy(alice_client)
    quest.add(patient=JANE, control_id="C1", reported="20261121100000")
    first = retrieve(alice_client, deployment).json()
    second = retrieve(alice_client, deployment).json()
    assert second["output"]["received"] == 1
    assert first["resources"] == second["resources"]
    path = f"/v1/fhir/{first['output']['reports'][0]['diagnostic_report']}"
    assert alice_client.get(path).json()["meta"]["versionId"] == "1"


def test_a_correction_lands_on_the_report_that_it_corrects(
    quest: Any, alice_client: APIClient, jane: str
) -> None:
    deployment = deploy(alice_client)
    common = {"patient": JANE, "filler": "WX9", "collected": "20261120140000"}
    quest.add(**common, reported="20261121100000")
    first = retrieve(alice_client, deployment).json()["output"]["reports"][0]
    run_until_idle()
    line = {"code": "5802-4", "local": "50055100", "name": "NITRITE", "value": "NEGATIVE"}
    quest.add(**common, reported="20261122080000", status="C", results=[line])
    second = retrieve(alice_client, deployment).json()["output"]["reports"][0]
    run_until_idle()
    assert second["diagnostic_report"] == first["diagnostic_report"]
    report = alice_client.get(f"/v1/fhir/{first['diagnostic_report']}").json()
    assert (report["status"], report["meta"]["versionId"]) == ("corrected", "2")
    nitrite = alice_client.get(f"/v1/fhir/{second['observations'][0]}").json()
    assert (nitrite["status"], nitrite["valueString"]) == ("corrected", "NEGATIVE")
    quest.add(**common, reported="20261121100000")
    late = retrieve(alice_client, deployment).json()["output"]
    assert (late["filed"], len(late["superseded"])) == (0, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mrn": "MRN-999"}, "not_found"),
        ({"birth_date": "1970-02-15"}, "mismatch"),
        ({"family": "Roe"}, "mismatch"),
    ],
)
def test_an_unmatched_result_becomes_a_task_and_no_patient(
    quest: Any, alice_client: APIClient, jane: str, change: dict[str, str], reason: str
) -> None:
    deployment = deploy(alice_client)
    control_id = quest.add(patient={**JANE, **change})
    output = retrieve(alice_client, deployment).json()["output"]
    run_until_idle()
    assert output["filed"] == 0
    assert output["unmatched"][0]["reason"] == reason
    task = alice_client.get(f"/v1/fhir/{output['unmatched'][0]['task']}").json()
    assert task["status"] == "requested"
    assert quest.state()["rejected"] == {control_id: f"patient not matched: {reason}"}
    patients = alice_client.get("/v1/fhir/Patient").json()
    assert [entry["resource"]["id"] for entry in patients["entry"]] == ["pat_jane"]


def test_an_unreadable_message_is_rejected_and_kept_for_a_person(
    quest: Any, alice_client: APIClient
) -> None:
    deployment = deploy(alice_client)
    quest.add(hl7="MSH|^~\\&|LAB|MET|||20261121||ADT^A01|X1|T|2.5.1\rPID|1\r")
    output = retrieve(alice_client, deployment).json()["output"]
    run_until_idle()
    assert output["rejected"] == [
        {"control_id": "X1", "reason": "MSH-9 is ADT^A01; expected ORU^R01"}
    ]
    assert "X1" in quest.state()["rejected"]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("429", 503, "vendor_rate_limited"),
        ("500", 503, "vendor_unavailable"),
        ("rubbish", 422, "vendor_rubbish"),
    ],
)
def test_vendor_faults_are_typed_and_change_nothing(
    quest: Any,
    alice_client: APIClient,
    jane: str,
    riverside_scope: Scope,
    fault: str,
    status: int,
    code: str,
) -> None:
    deployment = deploy(alice_client)
    quest.add(patient=JANE)
    quest.fail("getResults", fault)
    answer = retrieve(alice_client, deployment)
    assert answer.status_code == status
    details = answer.json()["error"]["details"]
    assert details["code"] == code
    assert details["remedy"]
    with tenant_scope(riverside_scope):
        assert Receipt.objects.count() == 0
    assert alice_client.get("/v1/fhir/Observation").json().get("entry", []) == []
    assert retrieve(alice_client, deployment).json()["output"]["filed"] == 1


def test_a_hub_that_says_nothing_is_a_timeout(quest: Any, alice_client: APIClient) -> None:
    deployment = deploy(alice_client, {"timeout_seconds": 1})
    quest.fail("getResults", "hang")
    answer = retrieve(alice_client, deployment)
    assert answer.status_code == 503
    assert answer.json()["error"]["details"]["code"] == "vendor_timeout"


def test_an_expired_token_is_renewed_once(quest: Any, alice_client: APIClient) -> None:
    deployment = deploy(alice_client)
    issued = quest.state()["tokens_issued"]
    quest.fail("getResults", "401")
    assert retrieve(alice_client, deployment).status_code == 200
    assert quest.state()["tokens_issued"] == issued + 1
    assert retrieve(alice_client, deployment).status_code == 200
    assert quest.state()["tokens_issued"] == issued + 1


def test_bad_credentials_fail_the_deployment_with_a_remedy(
    quest: Any, alice_client: APIClient, riverside_scope: Scope
) -> None:
    installed = alice_client.post(
        "/v1/assets/install", {"asset_id": "quest_diagnostics"}, format="json"
    ).json()
    path = f"/v1/asset-installations/{installed['id']}"
    changed = alice_client.put(
        f"{path}/credentials", {"credentials": {"client_secret": "not-the-secret"}}, format="json"
    ).json()
    assert changed["credentials"]["client_secret"]["set"] is True
    assert changed["credentials"]["client_secret"]["last4"] == "cret"
    check = alice_client.post(f"{path}/check", {}, format="json").json()
    assert check["ok"] is False
    assert [(p["name"], p["ok"], p["status"]) for p in check["probes"]] == [
        ("connection", True, 404),
        ("token", False, 401),
    ]
    deployment = deploy(alice_client)
    assert deployment["status"] == "failed"
    assert deployment["error"]["code"] == "vendor_unauthorized"
    with tenant_scope(riverside_scope):
        event = Event.objects.get(type="deployment.failed")
    assert event.payload["code"] == "vendor_unauthorized"
    assert "client secret" in event.payload["remedy"]
    answer = retrieve(alice_client, deployment)
    assert answer.status_code == 409


def test_an_acknowledgement_that_fails_is_sent_again(
    quest: Any, alice_client: APIClient, jane: str
) -> None:
    from datetime import timedelta

    deployment = deploy(alice_client)
    control_id = quest.add(patient=JANE)
    retrieve(alice_client, deployment)
    quest.fail("acknowledgeResults", "503")
    run_until_idle(raising=False)
    assert quest.state()["acknowledged"] == []
    run_until_idle(ahead=timedelta(minutes=1), raising=False)
    assert quest.state()["acknowledged"] == [control_id]


def test_an_order_brings_its_requisition_and_later_its_result(
    quest: Any, alice_client: APIClient, jane: str
) -> None:
    deployment = deploy(alice_client)
    system = "https://www.questdiagnostics.com/fhir/CodeSystem/test-code"
    order = {
        "resourceType": "ServiceRequest",
        "id": "order-1",
        "status": "draft",
        "intent": "order",
        "code": {"coding": [{"system": system, "code": "5463", "display": "URINALYSIS"}]},
        "subject": {"reference": jane},
        "requester": {"display": "John Smith"},
    }
    stored = alice_client.put("/v1/fhir/ServiceRequest/order-1", order, format="json")
    assert stored.status_code == 201, stored.json()
    body = {"action": "submit_order", "input": {"service_request_id": "order-1"}}
    path = f"/v1/deployments/{deployment['id']}/invoke"
    answer = alice_client.post(path, body, format="json")
    assert answer.status_code == 200, answer.json()
    assert len(answer.json()["output"]["documents"]) == 1
    assert alice_client.get("/v1/fhir/ServiceRequest/order-1").json()["status"] == "active"
    output = retrieve(alice_client, deployment).json()["output"]
    report = alice_client.get(f"/v1/fhir/{output['reports'][0]['diagnostic_report']}").json()
    assert report["basedOn"] == [{"reference": "ServiceRequest/order-1"}]


def test_it_does_not_reach_other_services_of_this_machine(
    quest: Any, alice_client: APIClient
) -> None:
    deployment = deploy(alice_client, {"base_url": "http://127.0.0.1:56379"})
    assert deployment["status"] == "failed"
    assert deployment["error"]["code"] == "host_not_allowed"


def test_production_needs_real_credentials(client_for: Any, quest: Any) -> None:
    client = client_for("riverside", environment="production")
    client.post(
        "/v1/assets/install",
        {"asset_id": "quest_diagnostics", "config": {"client_id": "real"}},
        format="json",
    )
    answer = client.post(
        "/v1/deployments",
        {"asset_id": "quest_diagnostics", "environment": "production"},
        format="json",
    )
    assert answer.status_code == 409
    assert answer.json()["error"]["details"]["code"] == "secret_missing"


def test_another_organization_never_sees_the_deployment(
    quest: Any, alice_client: APIClient, charlie_client: APIClient, jane: str
) -> None:
    deployment = deploy(alice_client)
    control_id = quest.add(patient=JANE)
    assert retrieve(charlie_client, deployment).status_code == 404
    assert charlie_client.get(f"/v1/deployments/{deployment['id']}").status_code == 404
    assert charlie_client.get("/v1/deployments").json()["data"] == []
    assert quest.state()["waiting"] == [control_id]
