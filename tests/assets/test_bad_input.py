"""Input that no honest client sends: refused with the right code, never a fault of ours."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from healthcloud.ledger.worker import run_until_idle

pytestmark = pytest.mark.django_db
QUEST = "connector_quest_diagnostics_v1"
STRANGE: list[Any] = [
    "\u0000",
    "a\u0000b",
    "x" * 100_000,
    10**30,
    -1,
    1.5,
    True,
    None,
    [],
    {"a": "\u0000"},
    [[["\u0000"]]],
    {"\u0000": 1},
]


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: repr(value)[:20])
def test_no_value_anywhere_in_a_body_breaks_a_route(
    quest: Any, alice_client: APIClient, value: Any
) -> None:
    alice_client.raise_request_exception = True
    alice_client.post("/v1/assets/install", {"asset_id": QUEST}, format="json")
    deployed = alice_client.post("/v1/deployments", {"asset_id": QUEST}, format="json").json()
    run_until_idle()
    home = f"/v1/deployments/{deployed['id']}"
    inst = f"/v1/asset-installations/{deployed['installation_id']}"
    calls: list[tuple[str, str, Any]] = [
        ("post", "/v1/assets/install", {"asset_id": value}),
        ("post", "/v1/assets/install", {"asset_id": "agent_diagnostic_v1", "version": value}),
        ("post", "/v1/assets/install", {"asset_id": "agent_diagnostic_v1", "config": value}),
        ("post", "/v1/assets/install", value),
        ("post", "/v1/deployments", {"asset_id": value}),
        ("post", "/v1/deployments", {"asset_id": QUEST, "config": {"account": value}}),
        ("post", "/v1/deployments", {"asset_id": QUEST, "metadata": {"a": value}}),
        ("post", "/v1/deployments", {"asset_id": QUEST, "metadata": value}),
        ("post", f"{home}/rollback", {"release": value}),
        ("post", f"{home}/invoke", {"action": value, "input": {}}),
        ("post", f"{home}/invoke", {"action": "retrieve_results", "input": value}),
        (
            "post",
            f"{home}/invoke",
            {"action": "retrieve_results", "input": {"patient_id": value}},
        ),
        (
            "post",
            f"{home}/invoke",
            {"action": "submit_order", "input": {"service_request_id": value}},
        ),
        ("patch", inst, {"config": {"account": value}}),
        ("patch", inst, {"config": value}),
        ("put", f"{inst}/credentials", {"credentials": value}),
        ("put", f"{inst}/credentials", {"credentials": {"client_secret": value}}),
        ("put", "/v1/integrations/quest_diagnostics", {"config": value}),
        ("post", "/v1/agents/diagnostic/runs", {"input": value}),
        ("post", "/v1/agents/diagnostic/runs", {"input": {"patient_id": value}}),
    ]
    alice_client.raise_request_exception = False
    for method, path, body in calls:
        answer = getattr(alice_client, method)(path, body, format="json")
        assert answer.status_code < 500, (method, path, body, answer.content[:500])
        if answer.status_code >= 400:
            assert answer.json()["error"]["message"]
            assert answer.json()["organization_id"] == "org_riverside"


@pytest.mark.parametrize(
    "path",
    [
        "deployments/%00",
        "deployments/dep_%ff",
        "asset-installations/%00",
        "agent-runs/%00",
        "assets/%00",
        "integrations/%00",
        "agents/%00/runs",
        "deployments?status=%00",
        "deployments?asset_id=%00",
        "asset-installations?asset_id=%00",
        "agent-runs?status=%00",
        "assets?q=%00&kind=%00&category=%00",
    ],
)
def test_no_address_breaks_a_route(alice_client: APIClient, path: str) -> None:
    answer = alice_client.get(f"/v1/{path}")
    assert answer.status_code in (200, 400, 404), answer.content


def test_malformed_json_is_a_bad_request(alice_client: APIClient) -> None:
    for body in (
        "{",
        "",
        "nonsense",
        '{"a": NaN}',
        '{"asset_id": "a", "asset_id": ',
        '{"asset_id": "\\ud800"}',
    ):
        answer = alice_client.post("/v1/assets/install", body, content_type="application/json")
        assert answer.status_code in (400, 422), (body, answer.content)
