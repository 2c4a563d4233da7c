"""The websocket over a real server: admitted, subscribed, resumed, refused, closed."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from uvicorn.protocols.utils import ClientDisconnected
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from healthcloud.events import consumers
from healthcloud.events.consumers import EventsConsumer
from healthcloud.organizations.models import ApiKey, Membership, User
from healthcloud.tenancy.scope import Scope
from tests.healthcloud.events.conftest import Server

Key = Callable[..., tuple[str, ApiKey]]
Happen = Callable[..., str]


class Socket:
    """A client that speaks JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def next(self) -> dict[str, Any]:
        return json.loads(self.connection.recv(timeout=5))

    def send(self, **message: object) -> None:
        self.connection.send(json.dumps(message))

    def event(self) -> dict[str, Any]:
        message = self.next()
        assert message["type"] == "event", message
        return message["event"]


@contextmanager
def opened(
    server: Server, key: str | None = None, query: str = "", **headers: str
) -> Iterator[Socket]:
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    url = f"ws://{server.host}/v1/events/ws{query}"
    with connect(url, additional_headers=headers, proxy=None) as connection:
        yield Socket(connection)


def test_it_says_hello_and_sends_what_was_subscribed(
    server: Server, live_key: Key, happen: Happen, live_tenant: Scope
) -> None:
    happen()
    with opened(server, live_key()[0]) as socket:
        assert socket.next() == {"type": "hello", "last_sequence": 1, **live_tenant.metadata()}
        socket.send(type="subscribe", types=["workflow.*"])
        assert socket.next() == {"type": "subscribed", "types": ["workflow.*"], "after": 1}
        happen("task.created", task_id="t")
        event_id = happen()
        event = socket.event()
        assert (event["id"], event["sequence"]) == (event_id, 3)
        assert event["project_id"] == live_tenant.project_id


def test_a_client_that_asks_for_nothing_gets_everything_after_the_hello(
    server: Server, live_key: Key, happen: Happen
) -> None:
    happen()
    with opened(server, live_key()[0]) as socket:
        assert socket.next()["last_sequence"] == 1
        event_id = happen("task.created", task_id="t")
        assert socket.next() == {"type": "subscribed", "types": ["*"], "after": 1}
        assert socket.event()["id"] == event_id


def test_resuming_misses_nothing_and_repeats_nothing(
    server: Server, live_key: Key, happen: Happen
) -> None:
    key = live_key()[0]
    with opened(server, key) as socket:
        socket.next()
        socket.send(type="subscribe", types=["workflow.*"])
        socket.next()
        happen()
        last = socket.event()["sequence"]
    for _ in range(300):
        happen()
    with opened(server, key) as socket:
        socket.next()
        socket.send(type="resume", after=last)
        socket.next()
        happen()
        numbers = [socket.event()["sequence"] for _ in range(301)]
    assert numbers == list(range(last + 1, last + 302))


def test_a_url_can_subscribe_at_once_and_a_ticket_opens_it(
    server: Server, live_key: Key, happen: Happen
) -> None:
    from rest_framework.test import APIClient

    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {live_key()[0]}")
    ticket = client.post("/v1/stream-tickets").json()["ticket"]
    event_id = happen()
    with opened(server, None, f"?ticket={ticket}&after=0") as socket:
        assert [socket.next()["type"] for _ in range(2)] == ["hello", "subscribed"]
        assert socket.event()["id"] == event_id
    with pytest.raises(InvalidStatus) as refused, opened(server, None, f"?ticket={ticket}"):
        pass
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("nonsense", None),
        ("[]", None),
        ('{"type": "dance"}', "type"),
        ('{"type": "subscribe", "types": ["workflow.exploded"]}', "type"),
        ('{"type": "subscribe", "types": "workflow.*"}', "types"),
        ('{"type": "subscribe", "severities": ["loud"]}', "severity"),
        ('{"type": "subscribe", "sources": ["a\\u0000"]}', "sources"),
        ('{"type": "resume", "after": -1}', "after"),
        ('{"type": "resume", "after": "1"}', "after"),
        ('{"type": "' + "x" * 20_000 + '"}', None),
    ],
)
def test_a_bad_message_is_answered_and_the_socket_stays(
    server: Server, live_key: Key, happen: Happen, message: str, param: str | None
) -> None:
    with opened(server, live_key()[0]) as socket:
        socket.next()
        socket.connection.send(message)
        answer = socket.next()
        assert (answer["type"], answer["error"]["code"]) == ("error", "bad_request")
        assert answer["error"]["param"] == param
        socket.send(type="subscribe")
        assert socket.next()["type"] == "subscribed"
        assert happen() == socket.event()["id"]


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"Authorization": "Bearer nonsense"}, 401)]
)
def test_without_a_credential_the_handshake_is_refused(
    server: Server, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(InvalidStatus) as refused, opened(server, **headers):
        pass
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body)["error"]["code"] == "unauthorized"


def test_a_key_without_the_scope_is_refused(server: Server, live_key: Key) -> None:
    with (
        pytest.raises(InvalidStatus) as refused,
        opened(server, live_key(scopes=["fhir:read"])[0]),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_revoking_the_key_closes_the_socket(server: Server, live_key: Key) -> None:
    secret, key = live_key()
    with opened(server, secret) as socket:
        socket.next()
        socket.send(type="subscribe")
        socket.next()
        ApiKey.objects.filter(pk=key.pk).update(revoked_at=timezone.now())
        with pytest.raises(ConnectionClosed) as closed:
            socket.connection.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


def test_an_idle_socket_is_pinged(
    server: Server, live_key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "HEARTBEAT_SECONDS", 0.2)
    with opened(server, live_key()[0]) as socket:
        socket.next()
        socket.send(type="subscribe")
        socket.next()
        assert [socket.next()["type"] for _ in range(3)] == ["ping"] * 3


@pytest.fixture
def session_cookie(live_tenant: Scope) -> Iterator[str]:
    """A signed-in member of the live tenant's organization."""
    user = User.objects.create_user("wanda@example.com", "a long pass phrase")
    member = Membership.objects.create(
        organization_id=live_tenant.organization_id, user=user, role="viewer"
    )
    session = SessionStore()
    session[SESSION_KEY] = user.pk
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    yield f"{settings.SESSION_COOKIE_NAME}={session.session_key}"
    session.delete()
    member.delete()
    user.delete()


def test_a_session_opens_it_from_its_own_origin_only(
    server: Server, session_cookie: str, happen: Happen, live_tenant: Scope
) -> None:
    own, other = {"Origin": server.url}, {"Origin": "https://evil.example"}
    query = f"?project_id={live_tenant.project_id}&after=0"
    event_id = happen()
    with opened(server, None, query, Cookie=session_cookie, **own) as socket:
        assert [socket.next()["type"] for _ in range(2)] == ["hello", "subscribed"]
        assert socket.event()["id"] == event_id
    for headers in (other, {}):
        with (
            pytest.raises(InvalidStatus) as refused,
            opened(server, None, query, Cookie=session_cookie, **headers),
        ):
            pass
        assert refused.value.response.status_code == 403


def test_a_stream_that_fails_closes_its_socket(
    server: Server, live_key: Key, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError

    with opened(server, live_key()[0], "?type=*") as socket:
        assert [socket.next()["type"] for _ in range(2)] == ["hello", "subscribed"]
        monkeypatch.setattr(consumers.queries, "as_dict", fail)
        happen()
        with pytest.raises(ConnectionClosed) as closed:
            socket.connection.recv(timeout=30)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011


def test_a_client_that_goes_away_while_it_is_sent_to_leaves_no_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []

    async def gone(*args: object, **members: object) -> None:
        closed.append(int(str(members.get("code", 0))))
        raise ClientDisconnected

    consumer = EventsConsumer()
    monkeypatch.setattr(consumer, "_send_events", gone)
    monkeypatch.setattr(consumer, "_begin", gone)
    monkeypatch.setattr(consumer, "close", gone)
    monkeypatch.setattr(consumers, "SILENT_SECONDS", 0.0)
    asyncio.run(consumer._follow(cast(Any, None), 0))
    asyncio.run(consumer._begin_unasked(cast(Any, None)))
    assert closed == [0, 1001, 0]
    assert caplog.records == []
