"""The connector `cms_prior_auth` through the API, against the payer simulator over real HTTP."""

import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey
from rest_framework.test import APIClient

from healthcloud.events.models import Event
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.assets.authorization import Payer, claim, deploy, record, store

pytestmark = pytest.mark.django_db


def invoke(client: APIClient, deployment: dict[str, Any], action: str, **input: Any) -> Any:
    body = {"action": f"{action}_prior_auth", "input": input or {"claim": "Claim/pa-1"}}
    return client.post(f"/v1/deployments/{deployment['id']}/invoke", body, format="json")


def submit(client: APIClient, member: str, **changes: Any) -> Any:
    """Store the record, deploy the connector, submit the claim."""
    deployment = deploy(client, "cms_prior_auth")
    assert deployment["status"] == "active", deployment
    store(client, *record(member), claim(**changes))
    return invoke(client, deployment, "submit"), deployment


def types(scope: Scope) -> list[str]:
    with tenant_scope(scope):
        found = Event.objects.filter(type__startswith="prior_auth.").order_by("position")
        return list(found.values_list("type", flat=True))


def test_it_deploys_with_nothing_but_defaults(payer: Payer, alice_client: APIClient) -> None:
    deployment = deploy(alice_client, "cms_prior_auth")
    assert deployment["status"] == "active"
    assert deployment["config"]["base_url"] == f"{payer.url}/payer/fhir"
    installation = deployment["installation_id"]
    check = alice_client.post(f"/v1/asset-installations/{installation}/check", {}, format="json")
    assert [(p["name"], p["ok"], p["status"]) for p in check.json()["probes"]] == [
        ("discovery", True, 200),
        ("token", True, 200),
        ("metadata", True, 200),
    ]
    assert payer.state()["submissions"] == 0


@pytest.mark.parametrize(
    ("ending", "state", "decided", "event"),
    [
        ("A1", "approved", True, "approved"),
        ("A2", "partially_approved", True, "approved"),
        ("A3", "denied", True, "denied"),
        ("A4", "pended", False, "pended"),
        ("A6", "approved_modified", True, "approved"),
        ("C", "cancelled", True, None),
        ("CT", "action_required", False, "action_required"),
        ("NA", "not_required", True, None),
        ("MOREINFO", "action_required", False, "action_required"),
        ("AAA75", "action_required", False, "action_required"),
    ],
)
def test_each_decision_has_its_state_and_event(
    payer: Payer,
    alice_client: APIClient,
    riverside_scope: Scope,
    ending: str,
    state: str,
    decided: bool,
    event: str | None,
) -> None:
    answer, _ = submit(alice_client, f"W100-{ending}", documents=False)
    assert answer.status_code == 200, answer.json()
    output = answer.json()["output"]
    assert (output["state"], output["decided"]) == (state, decided)
    wanted = ["prior_auth.submitted"] + ([f"prior_auth.{event}"] if event else [])
    assert types(riverside_scope) == wanted
    stored = alice_client.get(f"/v1/fhir/{output['claim_response']}").json()
    assert stored["request"] == {"reference": "Claim/pa-1"}
    assert stored["patient"] == {"reference": "Patient/pat_pa"}
    assert alice_client.get("/v1/fhir/Claim/pa-1").json()["status"] == "active"
    is_asked = state == "action_required"
    assert (output["task"] is not None) == is_asked
    if is_asked:
        assert alice_client.get(f"/v1/fhir/{output['task']}").json()["status"] == "requested"


def test_an_approval_brings_number_period_and_provenance(
    payer: Payer, alice_client: APIClient
) -> None:
    answer, deployment = submit(alice_client, "W100-A1")
    output = answer.json()["output"]
    assert output["authorization_number"].startswith("AUTH")
    assert output["valid_from"] < output["valid_until"]
    assert output["items"][0]["state"] == "approved"
    found = alice_client.get("/v1/fhir/Provenance", {"target": output["claim_response"]}).json()
    provenance = found["entry"][0]["resource"]
    assert provenance["agent"][0]["who"]["reference"] == f"Device/{deployment['id']}"
    sources = {item["what"]["reference"] for item in provenance["entity"]}
    assert "Coverage/cov/_history/1" in sources


def test_a_denial_brings_the_payers_reason(payer: Payer, alice_client: APIClient) -> None:
    output = submit(alice_client, "W100-A3")[0].json()["output"]
    assert output["reasons"] == [
        {"system": "https://codesystem.x12.org/external/886", "code": "0V"}
    ]
    assert "Conservative therapy" in output["notes"][0]
    assert output["human_reviewed"] is True


def test_the_bundle_holds_what_the_claim_names_and_no_more(
    payer: Payer, alice_client: APIClient
) -> None:
    submit(alice_client, "W100-A1")
    bundle = payer.state()["requests"][0]
    kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert kinds[0] == "Claim"
    assert sorted(kinds[1:]) == [
        "Coverage",
        "DocumentReference",
        "Organization",
        "Organization",
        "Patient",
        "ServiceRequest",
    ]
    order = next(e["resource"] for e in bundle["entry"] if e["resource"].get("id") == "mri")
    assert order["encounter"] == {"display": "Visit"}
    assert "requester" not in order
    patient = next(e["resource"] for e in bundle["entry"] if e["resource"].get("gender"))
    assert "id" not in patient


@pytest.mark.parametrize(("priority", "hours"), [("normal", 168), ("stat", 72)])
def test_the_deadline_runs_from_the_payers_receipt(
    payer: Payer, alice_client: APIClient, priority: str, hours: int
) -> None:
    from datetime import datetime, timedelta

    priority_of = {"coding": [{"code": priority}]}
    output = submit(alice_client, "W100-A4", priority=priority_of)[0].json()["output"]
    received, due = (datetime.fromisoformat(output[name]) for name in ("received_at", "due_at"))
    assert due - received == timedelta(hours=hours)
    assert output["expedited"] is (hours == 72)


def test_a_pended_request_is_decided_at_a_later_inquiry(
    payer: Payer, alice_client: APIClient, riverside_scope: Scope
) -> None:
    _, deployment = submit(alice_client, "W100-A4A3")
    first = invoke(alice_client, deployment, "inquire").json()["output"]
    second = invoke(alice_client, deployment, "inquire").json()["output"]
    third = invoke(alice_client, deployment, "inquire").json()["output"]
    assert [item["state"] for item in (first, second, third)] == ["pended", "denied", "denied"]
    assert types(riverside_scope) == [
        "prior_auth.submitted",
        "prior_auth.pended",
        "prior_auth.denied",
    ]
    stored = alice_client.get(f"/v1/fhir/{third['claim_response']}").json()
    assert stored["meta"]["versionId"] == "2"


def test_submitting_twice_makes_one_request(payer: Payer, alice_client: APIClient) -> None:
    first, deployment = submit(alice_client, "W100-A1")
    second = invoke(alice_client, deployment, "submit")
    assert second.json()["output"]["state"] == "approved"
    assert first.json()["output"] == second.json()["output"]
    assert payer.state()["submissions"] == 1


def test_an_answer_that_was_lost_is_asked_for_and_nothing_is_sent_again(
    payer: Payer, alice_client: APIClient
) -> None:
    answer, _ = submit(alice_client, "W100-LOST")
    assert answer.json()["output"]["state"] == "approved"
    assert payer.state()["submissions"] == 1


@pytest.mark.parametrize(
    ("ending", "status", "code"),
    [
        ("422", 422, "vendor_rejected"),
        ("429", 503, "vendor_rate_limited"),
        ("503", 503, "vendor_unavailable"),
        ("AAA42", 503, "payer_try_again"),
    ],
)
def test_faults_of_the_payer_are_typed_and_change_nothing(
    payer: Payer,
    alice_client: APIClient,
    riverside_scope: Scope,
    ending: str,
    status: int,
    code: str,
) -> None:
    answer, _ = submit(alice_client, f"W100-{ending}")
    assert answer.status_code == status, answer.json()
    details = answer.json()["error"]["details"]
    assert details["code"] == code
    assert details["remedy"]
    assert alice_client.get("/v1/fhir/Claim/pa-1").json()["status"] == "draft"
    assert types(riverside_scope) == []


def test_a_refusal_says_where_but_does_not_repeat_the_payers_text(
    payer: Payer, alice_client: APIClient
) -> None:
    error = submit(alice_client, "W100-422")[0].json()["error"]
    assert "business-rule at Claim.diagnosis[0]" in error["message"]
    assert "does not support" not in json.dumps(error)


def test_a_payer_that_says_nothing_is_a_timeout(payer: Payer, alice_client: APIClient) -> None:
    deployment = deploy(alice_client, "cms_prior_auth", {"timeout_seconds": 4})
    store(alice_client, *record("W100-SLOW"), claim())
    answer = invoke(alice_client, deployment, "submit")
    assert answer.status_code == 503
    assert answer.json()["error"]["details"]["code"] == "vendor_timeout"


def test_an_expired_token_is_renewed_once(payer: Payer, alice_client: APIClient) -> None:
    _, deployment = submit(alice_client, "W100-A4")
    issued = payer.state()["tokens_issued"]
    payer.post("expire")
    assert invoke(alice_client, deployment, "inquire").status_code == 200
    assert payer.state()["tokens_issued"] == issued + 1


@pytest.mark.parametrize("kind", ["rsa", "other"])
def test_only_the_registered_key_gets_a_token(
    payer: Payer, alice_client: APIClient, kind: str
) -> None:
    deployment = deploy(alice_client, "cms_prior_auth")
    key = RSAKey.generate_key(2048, {"kid": "healthcloud-sandbox-1"}, private=True)
    if kind == "rsa":
        payer.post("clients", jwks={"keys": [key.as_dict(private=False)]})
    else:
        key = ECKey.generate_key("P-384", {"kid": "healthcloud-sandbox-1"}, private=True)
    path = f"/v1/asset-installations/{deployment['installation_id']}"
    secret = key.as_pem(private=True).decode()
    alice_client.put(f"{path}/credentials", {"credentials": {"private_key": secret}}, format="json")
    check = alice_client.post(f"{path}/check", {}, format="json").json()
    token = next(item for item in check["probes"] if item["name"] == "token")
    assert token["ok"] is (kind == "rsa")
    if kind == "other":
        assert token["code"] == "vendor_unauthorized"
        assert "private key" in token["remedy"]


def test_a_text_that_is_no_key_is_named(payer: Payer, alice_client: APIClient) -> None:
    deployment = deploy(alice_client, "cms_prior_auth")
    path = f"/v1/asset-installations/{deployment['installation_id']}"
    body = {"credentials": {"private_key": "not a key"}}
    alice_client.put(f"{path}/credentials", body, format="json")
    probes = alice_client.post(f"{path}/check", {}, format="json").json()["probes"]
    assert probes[-1]["code"] == "secret_invalid"


def test_a_claim_that_can_not_be_sent_says_why_and_nothing_is_sent(
    payer: Payer, alice_client: APIClient
) -> None:
    deployment = deploy(alice_client, "cms_prior_auth")
    parts = record("")
    parts[4].pop("subscriberId")
    parts[1]["identifier"][0]["value"] = "1234567890"
    store(alice_client, *parts, claim())
    said = invoke(alice_client, deployment, "validate").json()["output"]
    assert said["valid"] is False
    assert [item["text"] for item in said["problems"]] == [
        "The provider has no valid NPI",
        "The coverage names no member id (subscriberId)",
    ]
    error = invoke(alice_client, deployment, "submit").json()["error"]
    assert error["details"]["code"] == "claim_invalid"
    assert "NPI" in error["message"]
    assert payer.state()["submissions"] == 0


def test_an_unknown_claim_is_named(payer: Payer, alice_client: APIClient) -> None:
    deployment = deploy(alice_client, "cms_prior_auth")
    for action in ("submit", "inquire"):
        answer = invoke(alice_client, deployment, action, claim="Claim/none")
        assert answer.status_code == 404
        assert answer.json()["error"]["details"]["code"] == "claim_not_found"


def test_asking_for_what_was_never_sent_says_so(payer: Payer, alice_client: APIClient) -> None:
    deployment = deploy(alice_client, "cms_prior_auth")
    store(alice_client, *record(), claim())
    error = invoke(alice_client, deployment, "inquire").json()["error"]
    assert error["details"]["code"] == "not_submitted"


def test_another_organization_reaches_neither_deployment_nor_claim(
    payer: Payer, alice_client: APIClient, charlie_client: APIClient
) -> None:
    _, deployment = submit(alice_client, "W100-A4")
    assert invoke(charlie_client, deployment, "inquire").status_code == 404
    theirs = deploy(charlie_client, "cms_prior_auth")
    error = invoke(charlie_client, theirs, "submit").json()["error"]
    assert error["details"]["code"] == "claim_not_found"
    assert payer.state()["submissions"] == 1
