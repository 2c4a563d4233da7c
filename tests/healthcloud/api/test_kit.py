"""Parts of the kit on their own: pages in memory, leases of keys, principals, metadata."""

import time
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.http import HttpResponse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from healthcloud.api import idempotency
from healthcloud.api.metadata import check_metadata
from healthcloud.api.models import IdempotencyRecord
from healthcloud.api.pagination import InvalidCursor, page_of, paginate
from healthcloud.api.principal import Principal
from healthcloud.organizations.authentication import authenticate_bearer
from healthcloud.organizations.models import Project
from healthcloud.tenancy.scope import Scope, active_scope, tenant_scope

ROWS = [{"id": f"asset_{number}"} for number in range(5)]


def request(query: str = "") -> Request:
    return Request(APIRequestFactory().get(f"/v1/x?{query}"))


def test_a_list_in_memory_is_paged_like_any_other() -> None:
    first = page_of(ROWS, request("limit=3"))
    assert [row["id"] for row in first["data"]] == ["asset_0", "asset_1", "asset_2"]
    assert first["meta"]["total"] == 5
    last = page_of(ROWS, request(f"limit=3&cursor={first['meta']['cursor']}"))
    assert [row["id"] for row in last["data"]] == ["asset_3", "asset_4"]
    assert last["meta"] == {"cursor": None, "has_more": False, "total": 5}


@pytest.mark.django_db
def test_a_cursor_of_another_list_is_refused() -> None:
    cursor = page_of(ROWS, request("limit=1"))["meta"]["cursor"]
    with pytest.raises(InvalidCursor):
        paginate(Project.objects.all(), request(f"cursor={cursor}"), serialize=lambda row: {})


@pytest.mark.django_db
def test_a_cursor_with_values_of_another_kind_is_refused() -> None:
    from healthcloud.api.pagination import _signed

    cursor = _signed(["not a time", "x"])
    with pytest.raises(InvalidCursor):
        paginate(Project.objects.all(), request(f"cursor={cursor}"), serialize=lambda row: {})


def idempotent(key: str, body: bytes = b"{}") -> idempotency.IdempotentRequest:
    return idempotency.IdempotentRequest.build(
        key=key,
        project_id="proj_riverside_screening",
        caller="key_1",
        method="POST",
        path="/v1/x",
        body=body,
        now=timezone.now(),
        complete=lambda response: response,
    )


@pytest.mark.django_db
def test_a_handler_with_its_own_transactions_is_answered_once_too(riverside_scope: Scope) -> None:
    calls: list[str] = []

    def call(_: idempotency.IdempotentRequest) -> HttpResponse:
        with pytest.raises(idempotency.RequestInFlight):
            idempotency.run_apart(idempotent("k"), call, scope=riverside_scope)
        calls.append("called")
        return HttpResponse(b"done", status=201)

    first = idempotency.run_apart(idempotent("k"), call, scope=riverside_scope)
    second = idempotency.run_apart(idempotent("k"), call, scope=riverside_scope)
    assert (first.content, second.content) == (b"done", b"done")
    assert second["Idempotent-Replayed"] == "true"
    assert calls == ["called"]


@pytest.mark.django_db
def test_a_handler_that_fails_frees_its_key(riverside_scope: Scope) -> None:
    def fail(_: idempotency.IdempotentRequest) -> HttpResponse:
        raise RuntimeError

    def refuse(_: idempotency.IdempotentRequest) -> HttpResponse:
        return HttpResponse(status=409)

    with pytest.raises(RuntimeError):
        idempotency.run_apart(idempotent("k"), fail, scope=riverside_scope)
    assert idempotency.run_apart(idempotent("k"), refuse, scope=riverside_scope).status_code == 409
    with tenant_scope(riverside_scope):
        assert IdempotencyRecord.objects.count() == 0


@pytest.mark.django_db
def test_a_key_whose_holder_lost_its_session_is_taken_over_at_once(riverside_scope: Scope) -> None:
    hold(riverside_scope, session=ended_session())
    answer = idempotency.run_apart(
        idempotent("k"), lambda _: HttpResponse(b"done"), scope=riverside_scope
    )
    assert answer.content == b"done"


@pytest.mark.django_db
def test_another_request_takes_no_key_over(riverside_scope: Scope) -> None:
    hold(riverside_scope, session=ended_session())
    other = idempotent("k", b'{"another": 1}')
    with pytest.raises(idempotency.IdempotencyMismatch):
        idempotency.run_apart(other, lambda _: HttpResponse(), scope=riverside_scope)


@pytest.mark.django_db
def test_a_key_whose_holder_lives_is_in_flight(riverside_scope: Scope) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (session,) = cursor.fetchone()
    hold(riverside_scope, session=session)
    with pytest.raises(idempotency.RequestInFlight):
        idempotency.run_apart(
            idempotent("k"), lambda _: HttpResponse(b"done"), scope=riverside_scope
        )


@pytest.mark.django_db
def test_who_lost_its_key_undoes_its_effect(riverside_scope: Scope) -> None:
    effect = {
        "project_id": "proj_riverside_screening",
        "key": "effect",
        "expires_at": timezone.now(),
    }

    def overtaken(held: idempotency.IdempotentRequest) -> HttpResponse:
        with tenant_scope(riverside_scope):
            IdempotencyRecord.objects.update(holder="1/another")
        with tenant_scope(riverside_scope):
            IdempotencyRecord.objects.create(**effect)
            idempotency.keep(held, HttpResponse(b"mine"))
        raise AssertionError

    with pytest.raises(idempotency.RequestInFlight):
        idempotency.run_apart(idempotent("k"), overtaken, scope=riverside_scope)
    with tenant_scope(riverside_scope):
        assert [row.holder for row in IdempotencyRecord.objects.all()] == ["1/another"]


@pytest.mark.django_db
def test_what_was_kept_with_the_effect_is_answered_though_its_caller_died(
    riverside_scope: Scope,
) -> None:
    def killed(held: idempotency.IdempotentRequest) -> HttpResponse:
        with tenant_scope(riverside_scope):
            idempotency.keep(held, HttpResponse(b"done", status=201))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        idempotency.run_apart(idempotent("k"), killed, scope=riverside_scope)
    again = idempotency.run_apart(idempotent("k"), killed, scope=riverside_scope)
    assert (again.status_code, again.content) == (201, b"done")
    assert again["Idempotent-Replayed"] == "true"


def hold(scope: Scope, *, session: int) -> None:
    """Leave the key as a request leaves it that works, or died at work."""
    request = idempotent("k")
    with tenant_scope(scope):
        IdempotencyRecord.objects.create(
            project_id=request.project_id,
            key="k",
            fingerprint=request.fingerprint,
            locked_until=request.now + idempotency.LEASE,
            expires_at=request.now + idempotency.KEPT_FOR,
            holder=f"{session}/random",
        )


def ended_session() -> int:
    """Return the process id of a session with the database that is over."""
    owner = settings.DATABASE_OWNER
    with psycopg.connect(
        host=owner["HOST"],
        port=owner["PORT"],
        user=owner["USER"],
        password=owner["PASSWORD"],
        dbname=owner["NAME"],
    ) as other:
        session = other.info.backend_pid
    deadline = time.monotonic() + 30
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # what a transaction saw stays
            cursor.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [session])
            if cursor.fetchone() is None:
                return session
            time.sleep(0.05)
    raise AssertionError("the session did not end")


@pytest.mark.django_db
def test_a_lease_that_ran_out_is_taken_over(riverside_scope: Scope) -> None:
    with tenant_scope(riverside_scope):
        past = timezone.now() - timedelta(seconds=1)
        IdempotencyRecord.objects.create(
            project_id="proj_riverside_screening",
            key="k",
            fingerprint=idempotent("k").fingerprint,
            locked_until=past,
            expires_at=timezone.now() + timedelta(hours=1),
        )
    answer = idempotency.run_apart(
        idempotent("k"), lambda _: Response({"a": 1}, status=200), scope=riverside_scope
    )
    assert answer.status_code == 200
    again = idempotency.run_apart(idempotent("k"), HttpResponse, scope=riverside_scope)
    assert again.content == b'{"a":1}'


@pytest.mark.django_db
def test_a_principal_knows_its_scopes_and_projects(client_for: Callable[..., object]) -> None:
    client = client_for("riverside", scopes=["fhir:read", "Observation:write"])
    principal: Principal = authenticate_bearer(
        client.secret, now=timezone.now(), client_ip="127.0.0.1"
    )
    assert principal.can("Patient:read")
    assert principal.can("Observation:write")
    assert not principal.can("Patient:write")
    assert not principal.can("org:admin")
    assert principal.pk == client.key.id
    scope = principal.scope("proj_riverside_screening")
    assert scope.project_number == Project.objects.get(pk="proj_riverside_screening").number
    with tenant_scope(scope):
        assert active_scope().metadata()["project_id"] == "proj_riverside_screening"


@pytest.mark.parametrize(
    "value", [5, {"": "x"}, {"k" * 41: "x"}, {"k": 5}, {"k": "v" * 501}, {"k": None}]
)
def test_metadata_that_is_no_pairs_of_text_is_refused(value: object) -> None:
    with pytest.raises(serializers.ValidationError):
        check_metadata(value)
