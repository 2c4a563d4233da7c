"""Install, configure, deploy, stop, roll back, uninstall: over the API, and what is refused."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from assets.models import Deployment, Installation, Release
from assets.services import health
from healthcloud.actors import SYSTEM
from healthcloud.audit.models import AuditEvent
from healthcloud.events.models import Event
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope

pytestmark = pytest.mark.django_db
QUEST = "connector_quest_diagnostics_v1"


def install(client: APIClient, **body: Any) -> Any:
    return client.post("/v1/assets/install", {"asset_id": QUEST, **body}, format="json")


def deploy(client: APIClient, **body: Any) -> Any:
    return client.post("/v1/deployments", {"asset_id": QUEST, **body}, format="json")


def types(scope: Scope) -> list[str]:
    with tenant_scope(scope):
        return list(Event.objects.order_by("position").values_list("type", flat=True))


def test_installing_runs_nothing_and_is_audited(
    alice_client: APIClient, riverside_scope: Scope
) -> None:
    answer = install(alice_client)
    assert answer.status_code == 201
    body = answer.json()
    assert (body["asset_id"], body["status"], body["version"]) == (QUEST, "installed", "1.0.0")
    assert body["project_id"] == "proj_riverside_screening"
    assert body["environment"] == "sandbox"
    assert body["credentials"] == {
        "client_secret": {"set": False, "last4": None, "rotated_at": None}
    }
    assert types(riverside_scope) == ["asset.installed"]
    with tenant_scope(riverside_scope):
        assert Deployment.objects.count() == 0
        assert AuditEvent.objects.filter(action="asset.install").count() == 1


def test_a_second_install_is_a_conflict_that_names_the_first(
    alice_client: APIClient, riverside_scope: Scope
) -> None:
    first = install(alice_client).json()
    again = install(alice_client)
    assert again.status_code == 409
    assert again.json()["error"]["details"]["installation_id"] == first["id"]
    with tenant_scope(riverside_scope):
        assert Installation.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"asset_id": "connector_nothing_v1"}, 404, "asset_id"),
        ({"version": "9.9.9"}, 404, "version"),
        ({"config": {"base_url": 7}}, 422, "config.base_url"),
        ({"config": {"colour": "red"}}, 422, "config.colour"),
        ({"config": {"client_secret": "s"}}, 422, "config.client_secret"),
        ({"config": []}, 422, "config"),
        ({"environment": "production"}, 403, "environment"),
    ],
)
def test_a_bad_install_changes_nothing(
    alice_client: APIClient, riverside_scope: Scope, body: Any, status: int, param: str
) -> None:
    answer = install(alice_client, **body)
    assert answer.status_code == status, answer.json()
    assert answer.json()["error"]["param"] == param
    with tenant_scope(riverside_scope):
        assert Installation.objects.count() == 0


def test_configuration_errors_name_each_field(alice_client: APIClient) -> None:
    installed = install(alice_client).json()
    path = f"/v1/asset-installations/{installed['id']}"
    bad = {"config": {"max_messages": 1000, "bill_type": "X"}}
    answer = alice_client.patch(path, bad, format="json")
    assert answer.status_code == 422
    details = answer.json()["error"]["details"]
    assert [item["param"] for item in details] == ["config.bill_type", "config.max_messages"]
    assert details[1]["message"] == "must be at most 100"
    good = alice_client.patch(path, {"config": {"max_messages": 10}}, format="json")
    assert good.json()["config"] == {"max_messages": 10}


def test_credentials_are_sealed_and_never_read_back(
    alice_client: APIClient, riverside_scope: Scope
) -> None:
    installed = install(alice_client).json()
    path = f"/v1/asset-installations/{installed['id']}/credentials"
    answer = alice_client.put(path, {"client_secret": "a-very-long-secret"}, format="json")
    assert answer.json()["credentials"]["client_secret"]["last4"] == "cret"
    assert "a-very-long" not in answer.content.decode()
    with tenant_scope(riverside_scope):
        sealed = Installation.objects.get().credentials.get().sealed
        assert b"a-very-long" not in bytes(sealed)
        audited = AuditEvent.objects.get(action="asset.set_credentials")
        assert audited.details == {"names": ["client_secret"]}
    unknown = alice_client.put(path, {"credentials": {"password": "x"}}, format="json")
    assert unknown.status_code == 422
    assert unknown.json()["error"]["param"] == "credentials.password"


def test_an_uninstalled_asset_cannot_be_deployed(
    alice_client: APIClient, riverside_scope: Scope
) -> None:
    answer = deploy(alice_client)
    assert answer.status_code == 409
    assert "POST /v1/assets/install" in answer.json()["error"]["message"]
    with tenant_scope(riverside_scope):
        assert Deployment.objects.count() == 0


def test_a_sandbox_key_never_deploys_to_production(
    alice_client: APIClient, riverside_scope: Scope
) -> None:
    install(alice_client)
    answer = deploy(alice_client, environment="production")
    assert answer.status_code == 403
    with tenant_scope(riverside_scope):
        assert Deployment.objects.count() == 0


def test_an_organization_wide_key_must_name_the_project(client_for: Any) -> None:
    wide = client_for("riverside", project=None)
    assert install(wide).status_code == 400
    answer = install(wide, project_id="proj_riverside_referrals")
    assert answer.status_code == 201
    assert answer.json()["project_id"] == "proj_riverside_referrals"
    assert install(wide, project_id="proj_lakeside_screening").status_code == 404


def test_each_deploy_is_a_release_and_a_rollback_makes_another(
    quest: Any, alice_client: APIClient, riverside_scope: Scope
) -> None:
    install(alice_client)
    first = deploy(alice_client, config={"max_messages": 10}).json()
    run_until_idle()
    second = deploy(alice_client, config={"max_messages": 20}).json()
    run_until_idle()
    assert first["id"] == second["id"]
    path = f"/v1/deployments/{first['id']}"
    back = alice_client.post(f"{path}/rollback", {}, format="json")
    assert back.status_code == 202
    run_until_idle()
    now = alice_client.get(path).json()
    assert (now["status"], now["release"], now["serving_release"]) == ("active", 3, 3)
    assert now["config"]["max_messages"] == 10
    releases = alice_client.get(f"{path}/releases").json()["data"]
    assert [(item["number"], item["rollback_of"]) for item in releases] == [
        (3, 1),
        (2, None),
        (1, None),
    ]
    assert "deployment.rolled_back" in types(riverside_scope)
    with tenant_scope(riverside_scope):
        assert Release.objects.count() == 3


def test_a_failed_redeploy_leaves_the_release_before_serving(
    quest: Any, alice_client: APIClient
) -> None:
    install(alice_client)
    first = deploy(alice_client).json()
    run_until_idle()
    deploy(alice_client, config={"base_url": f"{quest.url}/nothing"})
    run_until_idle()
    now = alice_client.get(f"/v1/deployments/{first['id']}").json()
    assert (now["status"], now["release"], now["serving_release"]) == ("failed", 2, 1)
    assert now["error"]["remedy"]
    body = {"action": "retrieve_results", "input": {}}
    answer = alice_client.post(f"/v1/deployments/{first['id']}/invoke", body, format="json")
    assert answer.status_code == 200


def test_stop_start_and_uninstall(
    quest: Any, alice_client: APIClient, riverside_scope: Scope
) -> None:
    installed = install(alice_client).json()
    deployed = deploy(alice_client).json()
    run_until_idle()
    path = f"/v1/deployments/{deployed['id']}"
    home = f"/v1/asset-installations/{installed['id']}"
    refused = alice_client.delete(home)
    assert refused.status_code == 409
    assert f"{deployed['id']}/stop" in refused.json()["error"]["message"]
    assert alice_client.post(f"{path}/stop", {}, format="json").json()["status"] == "stopped"
    body = {"action": "retrieve_results", "input": {}}
    assert alice_client.post(f"{path}/invoke", body, format="json").status_code == 409
    assert alice_client.post(f"{path}/start", {}, format="json").status_code == 202
    run_until_idle()
    assert alice_client.get(path).json()["status"] == "active"
    alice_client.post(f"{path}/stop", {}, format="json")
    assert alice_client.delete(home).status_code == 204
    assert alice_client.get(home).status_code == 404
    assert types(riverside_scope)[-1] == "asset.uninstalled"
    assert install(alice_client).status_code == 201


def test_health_logs_and_integrations_tell_the_state(quest: Any, alice_client: APIClient) -> None:
    states = {
        item["slug"]: item["state"] for item in alice_client.get("/v1/integrations").json()["data"]
    }
    assert states["quest_diagnostics"] == "not_installed"
    answer = alice_client.put("/v1/integrations/quest_diagnostics", {}, format="json")
    assert answer.status_code == 202, answer.json()
    run_until_idle()
    integration = alice_client.get("/v1/integrations/quest_diagnostics").json()
    assert integration["state"] == "connected"
    path = f"/v1/deployments/{integration['deployment_id']}"
    health = alice_client.get(f"{path}/health").json()
    assert health["healthy"] is True
    assert [probe["name"] for probe in health["probes"]] == ["connection", "token", "results"]
    messages = [line["message"] for line in alice_client.get(f"{path}/logs").json()["data"]]
    assert messages[0] == "deployment.activate"


def test_three_failed_health_checks_degrade_and_one_good_recovers(
    quest: Any, alice_client: APIClient, riverside_scope: Scope, now: datetime
) -> None:
    install(alice_client)
    deployed = deploy(alice_client).json()
    run_until_idle()
    quest.fail("getResults", "500", times=3)
    for status in ("active", "active", "degraded", "active"):
        again = health.watch(
            scope=riverside_scope, deployment_id=deployed["id"], actor=SYSTEM, now=now
        )
        assert again == now + timedelta(minutes=5)
        path = f"/v1/deployments/{deployed['id']}"
        assert alice_client.get(path).json()["status"] == status
    assert "deployment.degraded" in types(riverside_scope)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "asset-installations/{installation}"),
        ("patch", "asset-installations/{installation}"),
        ("delete", "asset-installations/{installation}"),
        ("post", "asset-installations/{installation}/upgrade"),
        ("put", "asset-installations/{installation}/credentials"),
        ("post", "asset-installations/{installation}/check"),
        ("get", "deployments/{deployment}"),
        ("post", "deployments/{deployment}/stop"),
        ("post", "deployments/{deployment}/start"),
        ("post", "deployments/{deployment}/rollback"),
        ("get", "deployments/{deployment}/releases"),
        ("get", "deployments/{deployment}/logs"),
        ("get", "deployments/{deployment}/health"),
        ("post", "deployments/{deployment}/invoke"),
    ],
)
def test_charlie_gets_404_and_nothing_moves(
    quest: Any,
    alice_client: APIClient,
    charlie_client: APIClient,
    client_for: Any,
    method: str,
    path: str,
) -> None:
    installed = install(alice_client).json()
    deployed = deploy(alice_client).json()
    run_until_idle()
    where = "/v1/" + path.format(installation=installed["id"], deployment=deployed["id"])
    bodies = {
        "patch": {"config": {}},
        "put": {"client_secret": "x" * 20},
        "post": {"action": "retrieve_results", "input": {}} if "invoke" in path else {},
    }
    before = alice_client.get(f"/v1/deployments/{deployed['id']}").json()
    for stranger in (charlie_client, client_for("riverside", project="referrals")):
        answer = getattr(stranger, method)(where, bodies.get(method), format="json")
        assert answer.status_code == 404, answer.content
    assert alice_client.get(f"/v1/deployments/{deployed['id']}").json() == before
    home = f"/v1/asset-installations/{installed['id']}"
    assert alice_client.get(home).json() == installed


def test_scopes_are_needed(client_for: Any) -> None:
    reader = client_for("riverside", scopes=["assets:read"])
    assert reader.get("/v1/assets").status_code == 200
    assert install(reader).status_code == 403
    assert deploy(reader).status_code == 403
    half = client_for("riverside", scopes=["deployments:write"])
    answer = half.put("/v1/integrations/quest_diagnostics", {}, format="json")
    assert answer.status_code == 403


def test_the_catalog_is_found_by_kind_word_and_alias(alice_client: APIClient) -> None:
    found = alice_client.get("/v1/assets", {"kind": "connector", "q": "lab results"}).json()
    assert [item["id"] for item in found["data"]] == [QUEST]
    detail = alice_client.get("/v1/assets/quest").json()
    assert detail["config_defaults"]["client_id"] == "sandbox-proj_riverside_screening"
    assert alice_client.get("/v1/assets/schema.json").json()["schema"]["title"] == "Manifest"
    assert alice_client.get("/v1/assets/nothing").status_code == 404


def test_an_address_that_names_a_row_means_its_project(client_for: Any) -> None:
    wide = client_for("riverside", project=None)
    installed = install(wide, project_id="proj_riverside_referrals").json()
    address = f"/v1/asset-installations/{installed['id']}"
    assert wide.get(address).json()["project_id"] == "proj_riverside_referrals"
    answer = wide.patch(address, {"config": {}}, format="json")
    assert (answer.status_code, answer.json()["project_id"]) == (200, "proj_riverside_referrals")
    assert wide.get("/v1/asset-installations/inst_unknown").status_code == 404
    assert client_for("lakeside", project=None).get(address).status_code == 404


def test_an_upgrade_takes_the_catalogs_version_once(
    alice_client: APIClient, riverside_scope: Scope
) -> None:
    installed = install(alice_client).json()
    home = f"/v1/asset-installations/{installed['id']}"
    assert alice_client.post(f"{home}/upgrade", {}, format="json").status_code == 409
    with tenant_scope(riverside_scope):
        Installation.objects.update(version="0.9.0")
    assert alice_client.get(home).json()["status"] == "update_available"
    upgraded = alice_client.post(f"{home}/upgrade", {}, format="json").json()
    assert (upgraded["version"], upgraded["status"]) == ("1.0.0", "installed")
    with tenant_scope(riverside_scope):
        event = Event.objects.get(type="asset.upgraded")
    assert event.payload["from_version"] == "0.9.0"


def test_an_app_installs_what_it_requires(alice_client: APIClient, riverside_scope: Scope) -> None:
    answer = alice_client.post(
        "/v1/assets/install", {"asset_id": "app_uti_screening_v1"}, format="json"
    )
    assert answer.status_code == 201, answer.json()
    with tenant_scope(riverside_scope):
        found = set(Installation.objects.values_list("asset_id", flat=True))
        required = Installation.objects.get(asset_id="agent_diagnostic_v1")
    assert {"app_uti_screening_v1", "agent_diagnostic_v1"} <= found
    refused = alice_client.delete(f"/v1/asset-installations/{required.id}")
    assert refused.status_code == 409
    assert refused.json()["error"]["details"]["required_by"] == ["app_uti_screening_v1"]


@pytest.mark.parametrize("route", ["assets", "integrations", "agents"])
def test_lists_in_memory_are_paged_like_all_others(alice_client: APIClient, route: str) -> None:
    assert alice_client.get(f"/v1/{route}?limit=0").status_code == 400
    assert alice_client.get(f"/v1/{route}?cursor=rubbish").status_code == 400
    first = alice_client.get(f"/v1/{route}?limit=1").json()
    assert len(first["data"]) <= 1
    if first["meta"]["has_more"]:
        cursor = first["meta"]["cursor"]
        second = alice_client.get(f"/v1/{route}?limit=1&cursor={cursor}").json()
        assert second["data"][0]["id"] != first["data"][0]["id"]
