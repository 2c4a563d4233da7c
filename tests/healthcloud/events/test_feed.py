"""The shared feed when things go wrong: no Valkey, a slow stream, a failing database."""

import time
from collections.abc import Callable

import pytest
from django.db import OperationalError
from websockets.exceptions import ConnectionClosed

from healthcloud.events import doorbell, feed, following
from healthcloud.organizations.models import ApiKey, Membership
from tests.healthcloud.events.conftest import Server
from tests.healthcloud.events.test_consumers import opened, session_cookie  # noqa: F401
from tests.healthcloud.events.test_stream import listen

Key = Callable[..., tuple[str, ApiKey]]
Happen = Callable[..., str]
NOWHERE = "redis://127.0.0.1:9/0"


@pytest.fixture
def no_valkey(settings: object, monkeypatch: pytest.MonkeyPatch) -> object:
    doorbell._client().close()
    doorbell._client.cache_clear()
    settings.VALKEY_URL = NOWHERE
    monkeypatch.setitem(doorbell._valkey, "silent_until", 0.0)
    yield
    doorbell._client().close()
    doorbell._client.cache_clear()


def test_without_valkey_events_still_arrive_and_publishing_does_not_wait(
    no_valkey: object, server: Server, live_key: Key, happen: Happen
) -> None:
    with listen(server, live_key()[0]) as stream:
        started = time.monotonic()
        ids = [happen() for _ in range(5)]
        assert time.monotonic() - started < 10.0
        assert [stream.event()["id"] for _ in range(5)] == ids
        assert time.monotonic() - started < feed.LOOK_SECONDS + 20


def test_a_failed_ring_is_not_tried_again_for_a_moment(no_valkey: object) -> None:
    assert doorbell.ring("t_x") is False
    assert doorbell._valkey["silent_until"] > time.monotonic()
    assert doorbell.ring("t_x") is False


def test_a_stream_that_falls_behind_the_memory_reads_the_table(
    server: Server, live_key: Key, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MEMORY", 3)
    monkeypatch.setattr(feed, "BATCH", 7)
    monkeypatch.setattr(following, "PAGE", 4)
    key = live_key()[0]
    with listen(server, key) as first, listen(server, key, "?after=0") as second:
        for _ in range(40):
            happen()
        for stream in (first, second):
            numbers = [stream.event()["sequence"] for _ in range(40)]
            assert numbers == list(range(1, 41))


def test_a_database_error_is_survived(
    server: Server, live_key: Key, happen: Happen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "LOOK_SECONDS", 0.1)
    with listen(server, live_key()[0]) as stream:
        with monkeypatch.context() as broken:

            def fail(*args: object, **options: object) -> None:
                raise OperationalError

            broken.setattr(feed, "read_news", fail)
            broken.setattr(feed, "still_valid", fail)
            event_id = happen()
            time.sleep(0.5)
        assert stream.event()["id"] == event_id


def test_removing_a_member_closes_the_members_socket(
    server: Server,
    session_cookie: str,  # noqa: F811
    live_tenant: object,
) -> None:
    headers = {"Origin": server.url, "Cookie": session_cookie}
    with opened(server, None, "?type=*", **headers) as socket:
        assert [socket.next()["type"] for _ in range(2)] == ["hello", "subscribed"]
        Membership.objects.filter(organization_id=live_tenant.organization_id).delete()
        with pytest.raises(ConnectionClosed) as closed:
            socket.connection.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
