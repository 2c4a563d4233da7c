"""Webhooks over real HTTP: signed, retried by the schedule, paused, resumed, told about."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import orjson
import pytest
from rest_framework.test import APIClient
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from healthcloud.actors import Actor
from healthcloud.audit.models import AuditEvent
from healthcloud.events import attempts, listeners
from healthcloud.events.models import Delivery, Event, Webhook
from healthcloud.events.services import publish
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.receiver import Received, Receiver, running_receiver

COMPLETED = {"run_id": "run_1", "workflow_id": "uti_screening"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture
def alice_api(client_for: Callable[..., APIClient]) -> APIClient:
    return client_for("riverside", project="screening")


@pytest.fixture
def charlie_api(client_for: Callable[..., APIClient]) -> APIClient:
    return client_for("lakeside", project="screening")


@pytest.fixture
def hook(alice_api: APIClient, receiver: Receiver) -> dict[str, str]:
    body = {"url": f"{receiver.url}/hook", "types": ["workflow.*"]}
    answer = alice_api.post("/v1/webhooks", body, format="json")
    assert answer.status_code == 201, answer.json()
    return answer.json()


@pytest.fixture
def happen(riverside_scope: Scope, alice_actor: Actor, now: datetime) -> Callable[..., Event]:
    def publish_one(type_: str = "workflow.completed", **payload: object) -> Event:
        with tenant_scope(riverside_scope):
            return publish(type=type_, payload={**COMPLETED, **payload}, actor=alice_actor, now=now)

    return publish_one


def verify(secret: str, request: Received) -> dict[str, object]:
    return Verifier(secret).verify(request.body, request.headers)


def test_an_event_reaches_the_receiver_with_a_valid_signature(
    hook: dict[str, str], receiver: Receiver, happen: Callable[..., Event]
) -> None:
    event = happen()
    run_until_idle()
    (request,) = receiver.received
    verify(hook["secret"], request)
    body = orjson.loads(request.body)
    assert (request.method, request.path) == ("POST", "/hook")
    assert request.headers["webhook-id"] == body["id"] == event.id
    assert body["type"] == "workflow.completed"
    assert body["data"] == body["payload"] == COMPLETED
    assert body["sequence"] == 1
    assert body["timestamp"] == body["created_at"] == "2026-11-22T10:00:00Z"
    assert body["organization_id"] == "org_riverside"
    assert body["project_id"] == "proj_riverside_screening"
    assert body["environment"] == "sandbox"


def test_only_wanted_types_of_its_own_project_are_sent(
    hook: dict[str, str],
    receiver: Receiver,
    happen: Callable[..., Event],
    riverside_referrals_scope: Scope,
    alice_actor: Actor,
    now: datetime,
) -> None:
    happen("task.created", task_id="task_1")
    with tenant_scope(riverside_referrals_scope):
        publish(type="workflow.completed", payload=COMPLETED, actor=alice_actor, now=now)
    run_until_idle()
    assert receiver.received == []


def test_an_organization_wide_webhook_gets_the_events_of_every_project(
    client_for: Callable[..., APIClient],
    receiver: Receiver,
    happen: Callable[..., Event],
    riverside_referrals_scope: Scope,
    alice_actor: Actor,
    now: datetime,
) -> None:
    answer = client_for("riverside").post(
        "/v1/webhooks", {"url": receiver.url, "types": ["*"]}, format="json"
    )
    assert (answer.status_code, answer.json()["project_id"]) == (201, None)
    happen()
    with tenant_scope(riverside_referrals_scope):
        publish(type="workflow.completed", payload=COMPLETED, actor=alice_actor, now=now)
    run_until_idle()
    projects = {orjson.loads(request.body)["project_id"] for request in receiver.received}
    assert projects == {"proj_riverside_screening", "proj_riverside_referrals"}


def test_after_a_rotation_both_secrets_verify_for_a_day(
    hook: dict[str, str], receiver: Receiver, happen: Callable[..., Event], alice_api: APIClient
) -> None:
    new = alice_api.post(f"/v1/webhooks/{hook['id']}/rotate-secret").json()
    assert new["secret"] != hook["secret"]
    happen()
    run_until_idle()
    for secret in (hook["secret"], new["secret"]):
        verify(secret, receiver.received[0])
    with pytest.raises(WebhookVerificationError):
        verify("whsec_" + "A" * 32, receiver.received[0])
    assert len(receiver.received[0].headers["webhook-signature"].split()) == 2


def test_a_failed_delivery_is_repeated_by_the_schedule_with_the_same_id(
    hook: dict[str, str], receiver: Receiver, happen: Callable[..., Event], alice_api: APIClient
) -> None:
    receiver.answers = [(500, {}, b"sorry" * 500), (302, {}, b""), (204, {}, b"")]
    happen()
    run_until_idle()
    (delivery,) = alice_api.get(f"/v1/webhooks/{hook['id']}/deliveries").json()["data"]
    assert (delivery["status"], delivery["attempt_count"]) == ("pending", 1)
    assert delivery["attempts"][0]["status_code"] == 500
    assert delivery["attempts"][0]["response_excerpt"] == ("sorry" * 500)[:1024]
    wait = datetime.fromisoformat(delivery["next_attempt_at"]) - datetime.fromisoformat(
        delivery["attempts"][0]["started_at"]
    )
    assert timedelta(seconds=5) <= wait <= timedelta(seconds=6)
    run_until_idle(ahead=timedelta(seconds=7))
    run_until_idle(ahead=timedelta(minutes=6))
    answer = alice_api.get(f"/v1/webhooks/{hook['id']}/deliveries/{delivery['id']}").json()
    assert answer["status"] == "delivered"
    assert [attempt["error"] for attempt in answer["attempts"]] == [
        "status_500",
        "status_302",
        None,
    ]
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
    assert len({request.headers["webhook-signature"] for request in receiver.received}) >= 1


def test_the_whole_schedule_ends_in_a_failed_delivery_and_ten_failures_pause(
    hook: dict[str, str],
    receiver: Receiver,
    happen: Callable[..., Event],
    alice_api: APIClient,
) -> None:
    receiver.answers = [(500, {}, b"")]
    happen()
    for hours in range(0, 120, 2):
        run_until_idle(ahead=timedelta(hours=hours))
    assert len(receiver.received) == 10
    webhook = alice_api.get(f"/v1/webhooks/{hook['id']}").json()
    assert (webhook["status"], webhook["status_reason"]) == ("paused", "failures")
    (delivery,) = alice_api.get(f"/v1/webhooks/{hook['id']}/deliveries").json()["data"]
    assert (delivery["status"], delivery["attempt_count"]) == ("failed", 10)
    told = alice_api.get("/v1/events?type=webhook.disabled").json()["data"]
    assert told[0]["payload"]["webhook_id"] == hook["id"]
    assert told[0]["severity"] == "warning"


def test_a_paused_webhook_keeps_what_happens_and_sends_it_when_resumed(
    hook: dict[str, str],
    receiver: Receiver,
    happen: Callable[..., Event],
    alice_api: APIClient,
    riverside_scope: Scope,
) -> None:
    receiver.answers = [(500, {}, b"")]
    for _ in range(10):
        happen()
    run_until_idle()
    assert alice_api.get(f"/v1/webhooks/{hook['id']}").json()["status"] == "paused"
    happen(trigger="late")
    run_until_idle()
    assert len(receiver.received) == 10
    receiver.answers = [(200, {}, b"")]
    receiver.received.clear()
    alice_api.patch(f"/v1/webhooks/{hook['id']}", {"status": "active"}, format="json")
    run_until_idle()
    happen(trigger="later")
    run_until_idle()
    assert len(receiver.received) == 12
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 12


def test_a_paused_webhook_costs_a_dispatch_nothing(
    hook: dict[str, str],
    happen: Callable[..., Event],
    riverside_scope: Scope,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tenant_scope(riverside_scope):
        Webhook.objects.filter(id=hook["id"]).update(status=Webhook.Status.PAUSED)
    happen()
    tried: list[str] = []
    hand_over = listeners._hand_over

    def counted(scope: Scope, name: str, last: int) -> bool:
        tried.append(name)
        return hand_over(scope, name, last)

    monkeypatch.setattr(listeners, "_hand_over", counted)
    run_until_idle()
    assert f"webhook:{hook['id']}" not in tried
    with tenant_scope(riverside_scope):
        Webhook.objects.filter(id=hook["id"]).update(status=Webhook.Status.ACTIVE)
    happen()
    run_until_idle()
    assert f"webhook:{hook['id']}" in tried


def test_gone_disables_and_says_so(
    hook: dict[str, str], receiver: Receiver, happen: Callable[..., Event], alice_api: APIClient
) -> None:
    receiver.answers = [(410, {}, b"")]
    happen()
    run_until_idle()
    webhook = alice_api.get(f"/v1/webhooks/{hook['id']}").json()
    assert (webhook["status"], webhook["status_reason"]) == ("disabled", "gone")
    assert len(alice_api.get("/v1/events?type=webhook.disabled").json()["data"]) == 1
    happen()
    run_until_idle(ahead=timedelta(days=9))
    assert len(receiver.received) == 1


def test_retry_after_puts_the_next_attempt_off(
    hook: dict[str, str], receiver: Receiver, happen: Callable[..., Event], alice_api: APIClient
) -> None:
    receiver.answers = [(429, {"Retry-After": "600"}, b"")]
    happen()
    run_until_idle()
    (delivery,) = alice_api.get(f"/v1/webhooks/{hook['id']}/deliveries").json()["data"]
    wait = datetime.fromisoformat(delivery["next_attempt_at"]) - datetime.fromisoformat(
        delivery["attempts"][0]["started_at"]
    )
    assert wait >= timedelta(seconds=600)


def test_a_silent_receiver_times_out(
    hook: dict[str, str],
    receiver: Receiver,
    happen: Callable[..., Event],
    alice_api: APIClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempts, "TIMEOUT_SECONDS", 0.2)
    receiver.delay = 0.6
    happen()
    run_until_idle()
    (delivery,) = alice_api.get(f"/v1/webhooks/{hook['id']}/deliveries").json()["data"]
    assert delivery["last_error"] == "RequestTimedOut"
    assert delivery["last_status_code"] is None


def test_a_test_event_goes_to_this_webhook_alone(
    hook: dict[str, str], receiver: Receiver, alice_api: APIClient
) -> None:
    alice_api.post("/v1/webhooks", {"url": f"{receiver.url}/other", "types": ["*"]}, format="json")
    answer = alice_api.post(f"/v1/webhooks/{hook['id']}/test")
    assert answer.status_code == 202
    assert answer.json()["event"]["type"] == "webhook.test"
    run_until_idle()
    (request,) = receiver.received
    assert request.path == "/hook"
    verify(hook["secret"], request)
    assert orjson.loads(request.body)["sequence"] == 1


def test_one_delivery_can_be_sent_again_and_failed_ones_recovered(
    hook: dict[str, str],
    receiver: Receiver,
    happen: Callable[..., Event],
    alice_api: APIClient,
    riverside_scope: Scope,
) -> None:
    happen()
    run_until_idle()
    (delivery,) = alice_api.get(f"/v1/webhooks/{hook['id']}/deliveries").json()["data"]
    path = f"/v1/webhooks/{hook['id']}/deliveries/{delivery['id']}/redeliver"
    assert alice_api.post(path).status_code == 202
    run_until_idle()
    assert len(receiver.received) == 2
    with tenant_scope(riverside_scope):
        Delivery.objects.update(status="failed")
    path = f"/v1/webhooks/{hook['id']}/recover"
    body = {"since": "2020-01-01T00:00:00Z"}
    assert alice_api.post(path, body, format="json").json()["restarted"] == 1
    run_until_idle()
    assert len(receiver.received) == 3
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1


def test_the_secret_is_answered_once_and_kept_sealed(
    hook: dict[str, str], alice_api: APIClient, riverside_scope: Scope
) -> None:
    assert hook["secret"].startswith("whsec_")
    assert "secret" not in alice_api.get(f"/v1/webhooks/{hook['id']}").json()
    assert "secret" not in alice_api.get("/v1/webhooks").json()["data"][0]
    with tenant_scope(riverside_scope):
        assert hook["secret"].encode() not in bytes(Webhook.objects.get().secret)
        assert AuditEvent.objects.get(action="webhook.create").target_id == hook["id"]


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/hook",
        "https://169.254.169.254/latest",
        "https://[fd00::1]/",
        "http://example.com/hook",
        "https://a:b@example.com/",
        "nonsense",
    ],
)
def test_urls_into_private_networks_are_refused(alice_api: APIClient, url: str) -> None:
    answer = alice_api.post("/v1/webhooks", {"url": url}, format="json")
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "url"
    assert alice_api.get("/v1/webhooks").json()["data"] == []


def test_loopback_is_for_sandboxes_whose_settings_allow_it(
    client_for: Callable[..., APIClient], receiver: Receiver, settings: object
) -> None:
    live = client_for("riverside", environment="production", project="screening")
    assert live.post("/v1/webhooks", {"url": receiver.url}, format="json").status_code == 422
    settings.ALLOW_LOOPBACK_WEBHOOKS = False
    sandbox = client_for("riverside", project="screening")
    assert sandbox.post("/v1/webhooks", {"url": receiver.url}, format="json").status_code == 422


def test_a_type_that_does_not_exist_is_refused(alice_api: APIClient) -> None:
    body = {"url": "https://example.com/", "types": ["workflow.exploded"]}
    answer = alice_api.post("/v1/webhooks", body, format="json")
    assert answer.status_code == 422
    assert "workflow.exploded" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"url": 7}, 422),
        ({"url": "https://example.com/", "types": "workflow.*"}, 422),
        ({"url": "https://example.com/", "metadata": {"\n": "a"}}, 422),
        ({"url": "https://example.com/", "metadata": {str(n): "a" for n in range(51)}}, 422),
        ({"url": "https://example.com/\0"}, 400),
        ({"url": "https://example.com/", "metadata": {"a": "\0"}}, 400),
    ],
)
def test_bad_bodies_are_refused(alice_api: APIClient, body: dict[str, object], status: int) -> None:
    assert alice_api.post("/v1/webhooks", body, format="json").status_code == status
    assert alice_api.get("/v1/webhooks").json()["data"] == []


def test_changing_and_deleting(hook: dict[str, str], alice_api: APIClient) -> None:
    path = f"/v1/webhooks/{hook['id']}"
    changed = alice_api.patch(path, {"types": ["*"], "description": "all"}, format="json").json()
    assert (changed["types"], changed["description"]) == (["*"], "all")
    assert alice_api.patch(path, {"types": ["no.such"]}, format="json").status_code == 422
    assert alice_api.patch(path, {"status": "paused"}, format="json").status_code == 422
    assert alice_api.delete(path).json()["deleted"] is True
    assert alice_api.get(path).status_code == 404


def test_a_disabled_webhook_can_be_neither_tested_nor_recovered(
    hook: dict[str, str], alice_api: APIClient, receiver: Receiver
) -> None:
    path = f"/v1/webhooks/{hook['id']}"
    alice_api.patch(path, {"status": "disabled"}, format="json")
    assert alice_api.post(f"{path}/test").status_code == 409
    body = {"since": "2020-01-01T00:00:00Z"}
    assert alice_api.post(f"{path}/recover", body, format="json").status_code == 409
    run_until_idle()
    assert receiver.received == []


def test_charlie_finds_nothing_and_moves_nothing(
    hook: dict[str, str],
    receiver: Receiver,
    happen: Callable[..., Event],
    alice_api: APIClient,
    charlie_api: APIClient,
) -> None:
    happen()
    run_until_idle()
    (delivery,) = alice_api.get(f"/v1/webhooks/{hook['id']}/deliveries").json()["data"]
    path = f"/v1/webhooks/{hook['id']}"
    before = alice_api.get(path).json()
    calls = [
        charlie_api.get(path),
        charlie_api.patch(path, {"status": "disabled"}, format="json"),
        charlie_api.delete(path),
        charlie_api.post(f"{path}/test"),
        charlie_api.post(f"{path}/rotate-secret"),
        charlie_api.post(f"{path}/recover", {"since": "2020-01-01T00:00:00Z"}, format="json"),
        charlie_api.get(f"{path}/deliveries"),
        charlie_api.get(f"{path}/deliveries/{delivery['id']}"),
        charlie_api.post(f"{path}/deliveries/{delivery['id']}/redeliver"),
    ]
    assert [answer.status_code for answer in calls] == [404] * 9
    assert charlie_api.get("/v1/webhooks").json()["data"] == []
    run_until_idle()
    assert len(receiver.received) == 1
    assert alice_api.get(path).json() == before


def _ordered(api: APIClient, receiver: Receiver) -> dict[str, str]:
    body = {"url": f"{receiver.url}/hook", "types": ["workflow.*"], "ordered": True}
    answer = api.post("/v1/webhooks", body, format="json")
    assert (answer.status_code, answer.json()["ordered"]) == (201, True)
    return answer.json()


def _runs(receiver: Receiver) -> list[str]:
    return [orjson.loads(request.body)["payload"]["run_id"] for request in receiver.received]


def test_an_ordered_webhook_gets_nothing_before_what_it_refused(
    alice_api: APIClient, receiver: Receiver, happen: Callable[..., Event]
) -> None:
    _ordered(alice_api, receiver)
    receiver.answers = [(200, {}, b""), (503, {}, b""), (200, {}, b"")]
    for number in range(1, 5):
        happen(run_id=f"run_{number}")
        run_until_idle()
    assert _runs(receiver) == ["run_1", "run_2"]
    run_until_idle(ahead=timedelta(seconds=10))
    assert _runs(receiver) == ["run_1", "run_2", "run_2", "run_3", "run_4"]


def test_a_webhook_that_gives_up_its_order_gets_the_rest_at_once(
    hook: dict[str, str],
    alice_api: APIClient,
    receiver: Receiver,
    happen: Callable[..., Event],
) -> None:
    address = f"/v1/webhooks/{hook['id']}"
    alice_api.patch(address, {"ordered": True}, format="json")
    receiver.answers = [(503, {}, b""), (200, {}, b"")]
    for number in range(1, 4):
        happen(run_id=f"run_{number}")
    run_until_idle()
    assert _runs(receiver) == ["run_1"]
    answer = alice_api.patch(address, {"ordered": False}, format="json")
    assert answer.json()["ordered"] is False
    run_until_idle()
    assert _runs(receiver) == ["run_1", "run_2", "run_3"]


def test_an_ordered_webhook_that_is_resumed_goes_on_in_order(
    alice_api: APIClient,
    receiver: Receiver,
    happen: Callable[..., Event],
    riverside_scope: Scope,
) -> None:
    hook = _ordered(alice_api, receiver)
    receiver.answers = [(503, {}, b"")]
    with tenant_scope(riverside_scope):
        Webhook.objects.update(consecutive_failures=9)
    for number in range(1, 4):
        happen(run_id=f"run_{number}")
    run_until_idle()
    receiver.answers = [(200, {}, b"")]
    alice_api.patch(f"/v1/webhooks/{hook['id']}", {"status": "active"}, format="json")
    run_until_idle()
    assert _runs(receiver) == ["run_1", "run_1", "run_2", "run_3"]
