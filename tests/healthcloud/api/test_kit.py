"""Parts of the kit on their own: pages in memory, leases of keys, principals, metadata."""

from collections.abc import Callable
from datetime import timedelta

import pytest
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

    def call() -> HttpResponse:
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
    def fail() -> HttpResponse:
        raise RuntimeError

    def refuse() -> HttpResponse:
        return HttpResponse(status=409)

    with pytest.raises(RuntimeError):
        idempotency.run_apart(idempotent("k"), fail, scope=riverside_scope)
    assert idempotency.run_apart(idempotent("k"), refuse, scope=riverside_scope).status_code == 409
    with tenant_scope(riverside_scope):
        assert IdempotencyRecord.objects.count() == 0


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
        idempotent("k"), lambda: Response({"a": 1}, status=200), scope=riverside_scope
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
