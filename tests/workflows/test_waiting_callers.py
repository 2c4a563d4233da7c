"""Callers who wait for a run hold a connection of theirs, and no thread of ours."""

import asyncio
import json
import time
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from rest_framework.test import APIClient

from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey
from healthcloud.runtime.bridge import AsgiMessage, WsgiBridge
from healthcloud.tenancy.scope import Scope
from tests.healthcloud.conftest import live_scope, live_tenant
from tests.workflows.conftest import Json, definition

__all__ = ["live_scope", "live_tenant"]
RESTING = definition({"id": "rest", "kind": "wait", "with": {"signal": "go"}})


class Web:
    """A web process with one thread."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.bridge = WsgiBridge(WSGIHandler(), threads=1)

    async def ask(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        data = json.dumps(body).encode() if body is not None else b""
        sent: list[AsgiMessage] = []

        async def receive() -> AsgiMessage:
            return {"type": "http.request", "body": data}

        async def send(message: AsgiMessage) -> None:
            sent.append(message)

        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path.partition("?")[0],
            "query_string": path.partition("?")[2].encode(),
            "http_version": "1.1",
            "headers": [
                (b"host", b"localhost"),
                (b"content-type", b"application/json"),
                (b"content-length", str(len(data)).encode()),
                (b"authorization", f"Bearer {self.secret}".encode()),
            ],
        }
        await self.bridge(scope, receive, send)
        length = dict(sent[0]["headers"])[b"content-length"]
        assert int(length) == len(sent[1]["body"])
        return sent[0]["status"], json.loads(sent[1]["body"])

    async def close(self) -> None:
        await self.bridge.pool.run(connections.close_all)
        self.bridge.pool.shutdown()


@pytest.fixture
def secret(live_tenant: Scope) -> str:
    """A key of a tenant in which a workflow is published that waits for a signal."""
    made = keys.generate("sandbox")
    ApiKey.objects.create(
        organization_id=live_tenant.organization_id,
        environment_id=live_tenant.environment_id,
        project_id=live_tenant.project_id,
        name="waiting",
        prefix=made.prefix,
        last4=made.last4,
        digest=made.digest,
        scopes=["workflows:read", "workflows:write", "workflows:run"],
    )
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {made.text}")
    answer = client.post("/v1/workflows", {**RESTING, "publish": True}, format="json")
    assert answer.status_code == 201
    return made.text


START = {"workflow_id": "flow", "input": {}}


def test_many_wait_while_one_thread_serves_others_and_are_answered_at_the_end(secret: str) -> None:
    async def story() -> None:
        web = Web(secret)
        try:
            began = time.monotonic()
            _, run = await web.ask("POST", "/v1/workflows/run", START)
            address = f"/v1/workflows/runs/{run['id']}"
            waiters = [asyncio.create_task(web.ask("GET", f"{address}?wait=30")) for _ in range(5)]
            started = asyncio.create_task(
                web.ask("POST", "/v1/workflows/run", {**START, "wait": 30})
            )
            await asyncio.sleep(0.3)
            assert not any(waiter.done() for waiter in waiters)
            status, canceled = await web.ask("POST", f"{address}/cancel")
            assert (status, canceled["status"]) == (200, "canceled")
            answers = await asyncio.gather(*waiters)
            assert [(s, body["status"]) for s, body in answers] == [(200, "canceled")] * 5
            assert answers[0][1] == canceled
            assert time.monotonic() - began < 10
            _, listed = await web.ask("GET", "/v1/workflows/runs?limit=1")
            other = listed["data"][0]["id"]
            assert not started.done()
            await web.ask("POST", f"/v1/workflows/runs/{other}/cancel")
            status, body = await started
            assert (status, body["id"], body["status"]) == (200, other, "canceled")
        finally:
            await web.close()

    asyncio.run(story())


def test_who_waited_long_enough_is_told_how_the_run_stands(secret: str) -> None:
    async def story() -> None:
        web = Web(secret)
        try:
            began = time.monotonic()
            status, run = await web.ask("POST", "/v1/workflows/run", {**START, "wait": 0.4})
            assert (status, run["status"]) == (202, "queued")
            assert time.monotonic() - began >= 0.4
            status, again = await web.ask("GET", f"/v1/workflows/runs/{run['id']}?wait=0.2")
            assert (status, again) == (200, run)
        finally:
            await web.close()

    asyncio.run(story())


@pytest.mark.parametrize("wait", ["x", "-1", "31", "nan"])
def test_a_wait_that_is_none_is_refused(secret: str, wait: str) -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    run = client.post("/v1/workflows/run", START, format="json").json()
    answer = client.get(f"/v1/workflows/runs/{run['id']}?wait={wait}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "wait")
