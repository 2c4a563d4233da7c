"""Server-sent events over a real server: resumed without gap or double, filtered, closed."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import httpx
import pytest
from django.conf import settings
from django.utils import timezone
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from healthcloud.actors import Actor
from healthcloud.events import stream
from healthcloud.events.models import Event
from healthcloud.events.services import publish
from healthcloud.organizations.models import ApiKey
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.events.conftest import Server

Key = Callable[..., tuple[str, ApiKey]]
Happen = Callable[..., str]


class Listening:
    """A client of the stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def next(self) -> dict[str, str]:
        """Return the next message that has data."""
        message: dict[str, str] = {}
        for line in self._lines:
            if not line:
                if "data" in message:
                    return message
                message = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(": ")
                message[name] = value
        raise EOFError

    def event(self) -> dict[str, object]:
        return json.loads(self.next()["data"])

    def comment(self) -> str:
        return next(line for line in self._lines if line.startswith(":"))


@contextmanager
def listen(server: Server, key: str | None, query: str = "", **headers: str) -> Iterator[Listening]:
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    with (
        httpx.Client(timeout=10, trust_env=False) as client,
        client.stream("GET", f"{server.url}/v1/events/stream{query}", headers=headers) as answer,
    ):
        yield Listening(answer)


def test_events_arrive_live_with_their_number_type_and_scope(
    server: Server, live_key: Key, happen: Happen, live_tenant: Scope
) -> None:
    happen("task.created", task_id="before")
    with listen(server, live_key()[0]) as stream_:
        assert stream_.response.status_code == 200
        assert stream_.response.headers["content-type"].startswith("text/event-stream")
        assert (
            stream_.response.headers["healthcloud-organization-id"] == live_tenant.organization_id
        )
        assert stream_.response.headers["x-request-id"].startswith("req_")
        event_id = happen()
        message = stream_.next()
        event = json.loads(message["data"])
        assert (message["id"], message["event"]) == ("2", "workflow.completed")
        assert (event["id"], event["sequence"]) == (event_id, 2)
        assert event["project_id"] == live_tenant.project_id
        assert event["environment"] == "sandbox"


@pytest.mark.parametrize("way", ["header", "query"])
def test_a_reconnecting_client_misses_nothing_and_gets_nothing_twice(
    server: Server, live_key: Key, happen: Happen, way: str
) -> None:
    key = live_key()[0]
    ids = [happen() for _ in range(5)]
    headers = {"Last-Event-ID": "2"} if way == "header" else {}
    with listen(server, key, "" if headers else "?after=2", **headers) as stream_:
        ids += [happen() for _ in range(3)]
        got = [stream_.event() for _ in range(6)]
    assert [event["id"] for event in got] == ids[2:]
    assert [event["sequence"] for event in got] == [3, 4, 5, 6, 7, 8]


def test_a_burst_from_many_threads_arrives_complete_and_in_order(
    server: Server, live_key: Key, happen: Happen
) -> None:
    def many() -> None:
        from django.db import connection

        for _ in range(50):
            happen()
        connection.close()

    threads = [threading.Thread(target=many) for _ in range(4)]
    with listen(server, live_key()[0], "?after=0") as stream_:
        for thread in threads:
            thread.start()
        numbers = [stream_.event()["sequence"] for _ in range(200)]
        for thread in threads:
            thread.join()
    assert numbers == list(range(1, 201))


def test_filters_take_types_severities_and_sources(
    server: Server, live_key: Key, happen: Happen
) -> None:
    key = live_key()[0]
    happen("task.created", task_id="t")
    failed = happen("workflow.failed")
    happen("workflow.completed")
    with listen(server, key, "?after=0&type=workflow.*,task.*&severity=error") as stream_:
        assert stream_.event()["id"] == failed
    with listen(server, key, "?after=0&source=task") as stream_:
        assert stream_.event()["type"] == "task.created"


def test_fhir_events_come_only_to_those_who_name_them(
    server: Server, live_key: Key, happen: Happen
) -> None:
    key = live_key()[0]
    happen("fhir.resource.created", resource_type="Patient", id="pat_1")
    completed = happen()
    with listen(server, key, "?after=0") as stream_:
        assert stream_.event()["id"] == completed
    with listen(server, key, "?after=0&type=fhir.*") as stream_:
        assert stream_.event()["type"] == "fhir.resource.created"


def test_a_ticket_opens_one_stream_once(
    server: Server, live_key: Key, happen: Happen, live_tenant: Scope
) -> None:
    from rest_framework.test import APIClient

    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {live_key()[0]}")
    answer = client.post("/v1/stream-tickets")
    assert answer.status_code == 201
    query = f"?after=0&ticket={answer.json()['ticket']}"
    event_id = happen()
    with listen(server, None, query) as stream_:
        assert stream_.event()["id"] == event_id
    with listen(server, None, query) as stream_:
        assert stream_.response.status_code == 401


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("", {}, 401, "unauthorized"),
        ("", {"Authorization": "Bearer nonsense"}, 401, "unauthorized"),
        ("?ticket=tkt_x.y", {}, 401, "unauthorized"),
        ("?after=abc", None, 400, "bad_request"),
        ("?type=workflow.exploded", None, 400, "bad_request"),
        ("?severity=loud", None, 400, "bad_request"),
        ("?project_id=proj_riverside_screening", None, 404, "not_found"),
        ("?environment=production", None, 403, "forbidden"),
    ],
)
def test_refusals_have_the_one_error_shape(
    server: Server,
    live_key: Key,
    query: str,
    headers: dict[str, str] | None,
    status: int,
    code: str,
) -> None:
    key = live_key()[0] if headers is None else None
    with listen(server, key, query, **(headers or {})) as stream_:
        stream_.response.read()
        assert stream_.response.status_code == status
        body = stream_.response.json()
        assert body["error"]["code"] == code
        assert "organization_id" in body


def test_a_key_without_the_scope_is_refused(server: Server, live_key: Key) -> None:
    with listen(server, live_key(scopes=["fhir:read"])[0]) as stream_:
        assert stream_.response.status_code == 403


def test_a_key_holds_only_so_many_streams_open(
    server: Server, live_key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "STREAMS_PER_KEY", 2)
    secret, other = live_key()[0], live_key()[0]
    with listen(server, secret) as first, listen(server, secret) as second:
        assert {first.response.status_code, second.response.status_code} == {200}
        with listen(server, secret) as third:
            third.response.read()
            assert third.response.status_code == 429
            assert third.response.headers["retry-after"] == "10"
            assert third.response.json()["error"]["code"] == "rate_limited"
            assert third.response.json()["organization_id"] == "org_live"
        with pytest.raises(InvalidStatus) as refused:
            connect(
                f"ws://{server.host}/v1/events/ws",
                additional_headers={"Authorization": f"Bearer {secret}"},
                proxy=None,
            )
        assert refused.value.response.status_code == 429
        with listen(server, other) as another:
            assert another.response.status_code == 200


def test_revoking_the_key_closes_the_stream(server: Server, live_key: Key, happen: Happen) -> None:
    secret, key = live_key()
    with listen(server, secret) as stream_:
        happen()
        stream_.event()
        ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now())
        with pytest.raises(EOFError):
            stream_.next()
    with listen(server, secret) as stream_:
        assert stream_.response.status_code == 401


def test_what_is_no_longer_kept_is_answered_with_a_reset(
    server: Server, live_key: Key, happen: Happen, live_tenant: Scope
) -> None:
    for _ in range(4):
        happen()
    with tenant_scope(live_tenant):
        from healthcloud.events.numbering import number_committed

        number_committed()
        Event.objects.filter(sequence__lte=2).delete()
    key = live_key()[0]
    for after in ("1", "99"):
        with listen(server, key, **{"Last-Event-ID": after}) as stream_:
            message = stream_.next()
            assert (message["event"], message["id"]) == ("reset", "2")
            assert json.loads(message["data"]) == {"after": 2, "last_sequence": 4}
            assert stream_.event()["sequence"] == 3


def test_an_idle_stream_is_kept_alive(
    server: Server, live_key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.2)
    with listen(server, live_key()[0]) as stream_:
        assert [stream_.comment() for _ in range(3)] == [": keep-alive"] * 3


def test_a_key_of_one_project_hears_nothing_of_the_others(
    server: Server,
    live_key: Key,
    happen: Happen,
    live_tenant: Scope,
    alice_actor: Actor,
    now: datetime,
) -> None:
    with tenant_scope(live_tenant.in_project("proj_other", 999_999)):
        other = publish(
            type="workflow.completed",
            payload={"run_id": "run_2", "workflow_id": "x"},
            actor=alice_actor,
            now=now,
        )
    own = happen()
    with listen(server, live_key()[0], "?after=0") as stream_:
        assert stream_.event()["id"] == own
    with listen(server, live_key(wide=True)[0], "?after=0") as stream_:
        assert [stream_.event()["id"] for _ in range(2)] == [other.id, own]


def test_a_reset_sandbox_ends_its_streams_and_resuming_is_answered_with_a_reset(
    server: Server, live_key: Key, happen: Happen, live_tenant: Scope
) -> None:
    key = live_key()[0]
    for _ in range(3):
        happen()
    with listen(server, key, "?after=0") as stream_:
        assert [stream_.event()["sequence"] for _ in range(3)] == [1, 2, 3]
        with tenant_scope(live_tenant):
            Event.objects.all().delete()
        first = happen()
        with pytest.raises(EOFError):
            stream_.next()
    with listen(server, key, **{"Last-Event-ID": "3"}) as stream_:
        assert stream_.next()["event"] == "reset"
        assert stream_.event()["id"] == first
