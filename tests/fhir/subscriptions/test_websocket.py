"""Notifications over a real websocket: bound by a token, pinged or sent Bundles, refused."""

import asyncio
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

import orjson
import pytest
import uvicorn
from channels.routing import URLRouter
from django.utils import timezone
from uvicorn.protocols.utils import ClientDisconnected
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fhir import consumers, store
from fhir.subscriptions import binding, lifecycle, websocket
from fhir.subscriptions.routing import websocket_urlpatterns
from fhir.subscriptions.websocket import SubscriptionConsumer
from healthcloud.actors import Actor
from healthcloud.api.principal import Principal, ProjectReference
from healthcloud.events import database
from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey
from healthcloud.tenancy.scope import Scope, active_project, tenant_scope
from tests.fhir.subscriptions.conftest import observation, subscription
from tests.healthcloud.conftest import live_scope, live_tenant

__all__ = ["live_scope", "live_tenant"]

TOPIC = "https://healthcloud.dev/fhir/SubscriptionTopic/observation-final"


@pytest.fixture
def address(live_tenant: Scope) -> Iterator[str]:
    """Serve the websocket's route in a thread, as the web process does."""
    config = uvicorn.Config(
        URLRouter(websocket_urlpatterns),
        host="127.0.0.1",
        port=0,
        lifespan="off",
        log_config=None,
        ws="websockets-sansio",
        timeout_graceful_shutdown=1,
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve()))
    thread.start()
    while not running.started:
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"ws://127.0.0.1:{port}{binding.PATH}"
    finally:
        running.should_exit = True
        thread.join()
        database.close_connections()


def write(scope: Scope, resource: dict, actor: Actor, now: datetime) -> str:
    with tenant_scope(scope):
        made = store.create(
            resource=resource, resource_type=resource["resourceType"], actor=actor, now=now
        )
        return made.id


def subscribe(scope: Scope, criteria: str, actor: Actor, now: datetime) -> str:
    """Make a Subscription of a workflow's: of people it would end, as nobody is a member here."""
    workflow = Actor(kind="workflow", id="wf_test", label=actor.label)
    rid = write(scope, subscription(criteria, type="websocket"), workflow, now)
    with tenant_scope(scope):
        lifecycle.activate(active_project()[1], rid, now=now)
    return rid


def token_for(scope: Scope, rid: str, actor: Actor) -> str:
    secret = keys.generate("sandbox")
    key = ApiKey.objects.create(
        organization_id=scope.organization_id,
        environment_id=scope.environment_id,
        project_id=scope.project_id,
        name="websocket",
        prefix=secret.prefix,
        last4=secret.last4,
        digest=secret.digest,
        scopes=["fhir:read"],
        created_by_id="usr_alice",
    )
    principal = Principal(
        actor=actor,
        organization_id=scope.organization_id,
        environment=scope.environment,
        environment_id=scope.environment_id,
        schema=scope.schema,
        project=ProjectReference(scope.project_id or "", scope.project_number or 0),
        scopes=frozenset(key.scopes),
        key_id=key.id,
    )
    return binding.issue(principal, scope, [rid], now=timezone.now()).text


def test_r4s_own_subscriptions_are_pinged(
    address: str, live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    rid = subscribe(live_tenant, "Observation?status=final", alice_actor, now)
    token = token_for(live_tenant, rid, alice_actor)
    with connect(address, proxy=None) as socket:
        socket.send(f"bind {rid} {token}")
        assert socket.recv(timeout=10) == f"bound {rid}"
        write(live_tenant, observation("8310-5"), alice_actor, now)
        consumers.dispatch(live_tenant)
        assert socket.recv(timeout=15) == f"ping {rid}"


def test_a_bound_websocket_gets_a_handshake_and_then_what_happens(
    address: str, live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    rid = subscribe(live_tenant, TOPIC, alice_actor, now)
    token = token_for(live_tenant, rid, alice_actor)
    with connect(address, proxy=None) as socket:
        socket.send(f"bind-with-token {token}")
        handshake = orjson.loads(socket.recv(timeout=10))
        assert handshake["entry"][0]["resource"]["parameter"][3]["valueCode"] == "handshake"
        made = write(live_tenant, observation("8310-5"), alice_actor, now)
        consumers.dispatch(live_tenant)
        told = orjson.loads(socket.recv(timeout=15))
        assert told["entry"][1]["fullUrl"].endswith(f"/Observation/{made}")


def test_a_bad_token_binds_nothing(address: str) -> None:
    with connect(address, proxy=None) as socket:
        socket.send("bind-with-token not.a.token")
        assert str(socket.recv(timeout=10)).startswith("error This token")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=10)


def test_a_client_that_goes_away_while_it_is_sent_to_leaves_no_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []

    async def gone(*args: object, **members: object) -> None:
        closed.append(int(str(members.get("code", 0))))
        raise ClientDisconnected

    consumer = SubscriptionConsumer()
    monkeypatch.setattr(consumer, "_notify", gone)
    monkeypatch.setattr(consumer, "close", gone)
    monkeypatch.setattr(websocket, "UNBOUND_SECONDS", 0.0)
    asyncio.run(consumer._follow(cast(Any, None), "s1"))
    asyncio.run(consumer._give_up())
    assert closed == [0, 1001, 4400]
    assert caplog.records == []
