"""A real web server on loopback for streams, with real commits in a tenant of its own."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest
import uvicorn

from healthcloud.actors import Actor
from healthcloud.api.principal import ALL_SCOPES
from healthcloud.events import database
from healthcloud.events.services import publish
from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey
from healthcloud.tenancy.scope import Scope, tenant_scope


@dataclass(frozen=True)
class Server:
    """Where the server listens."""

    host: str

    @property
    def url(self) -> str:
        return f"http://{self.host}"


@pytest.fixture
def server(live_tenant: Scope) -> Iterator[Server]:
    """Serve the streaming routes in a thread, as the web process does."""
    from channels.routing import URLRouter

    from healthcloud.events.routing import websocket_urlpatterns
    from healthcloud.events.stream import sse_application

    websockets = URLRouter(websocket_urlpatterns)

    async def application(scope: dict, receive: object, send: object) -> None:
        if scope["type"] == "http":
            await sse_application(scope, receive, send)
        else:
            await websockets(scope, receive, send)

    config = uvicorn.Config(
        application,
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
        yield Server(f"127.0.0.1:{port}")
    finally:
        running.should_exit = True
        thread.join()
        database.close_connections()


@pytest.fixture
def live_key(live_tenant: Scope) -> Callable[..., tuple[str, ApiKey]]:
    """Return a function that makes a key of the live tenant."""

    def make(*, wide: bool = False, scopes: list[str] | None = None) -> tuple[str, ApiKey]:
        secret = keys.generate("sandbox")
        key = ApiKey.objects.create(
            organization_id=live_tenant.organization_id,
            environment_id=live_tenant.environment_id,
            project_id=None if wide else live_tenant.project_id,
            name="stream",
            prefix=secret.prefix,
            last4=secret.last4,
            digest=secret.digest,
            scopes=list(ALL_SCOPES) if scopes is None else scopes,
            created_by_id="usr_alice",
        )
        return secret.text, key

    return make


@pytest.fixture
def happen(live_tenant: Scope, alice_actor: Actor, now: datetime) -> Callable[..., str]:
    """Return a function that commits one event and returns its id."""

    def publish_one(type_: str = "workflow.completed", **payload: object) -> str:
        with tenant_scope(live_tenant):
            event = publish(
                type=type_,
                payload={"run_id": "run_1", "workflow_id": "uti_screening", **payload},
                actor=alice_actor,
                now=now,
            )
        return event.id

    return publish_one


@pytest.fixture(autouse=True)
def only_our_work(request: pytest.FixtureRequest) -> None:
    """Start without the due work of other tests, where the test is rolled back anyway."""
    if "db" in request.fixturenames and "live_tenant" not in request.fixturenames:
        request.getfixturevalue("empty_ledger")
