"""Idempotency-Key: one effect, one answer; another body is refused; errors may be retried."""

from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from django.conf import settings
from django.utils import timezone
from rest_framework.test import APIClient

from healthcloud.api import idempotency
from healthcloud.api.models import IdempotencyRecord
from healthcloud.organizations.models import Project
from healthcloud.tenancy.scope import Scope, tenant_scope

pytestmark = pytest.mark.django_db
ClientFor = Callable[..., APIClient]
BODY = {"name": "Care gaps"}


def create(client: APIClient, key: str, body: object = BODY) -> object:
    return client.post("/v1/projects", body, format="json", HTTP_IDEMPOTENCY_KEY=key)


def count() -> int:
    return Project.objects.filter(organization_id="org_riverside").count()


def test_the_same_request_twice_has_one_effect_and_one_answer(client_for: ClientFor) -> None:
    client = client_for("riverside")
    first, second = create(client, "k-1"), create(client, "k-1")
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert second["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert second["Content-Type"] == "application/json"
    assert second["HealthCloud-Organization-Id"] == "org_riverside"
    assert count() == 3


def test_another_body_with_the_same_key_is_422(client_for: ClientFor) -> None:
    client = client_for("riverside")
    create(client, "k-1")
    other = create(client, "k-1", {"name": "Other"})
    assert other.status_code == 422
    assert other.json()["error"]["param"] == "Idempotency-Key"
    assert count() == 3


def test_a_refused_request_may_be_tried_again_with_its_key(client_for: ClientFor) -> None:
    client = client_for("riverside")
    assert create(client, "k-1", {"name": ""}).status_code == 422
    assert create(client, "k-1").status_code == 201
    assert count() == 3


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel"])
def test_a_bad_key_is_400(client_for: ClientFor, key: str) -> None:
    response = create(client_for("riverside"), key)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "Idempotency-Key")
    assert count() == 2


def test_the_same_key_in_another_organization_is_another_request(client_for: ClientFor) -> None:
    first = create(client_for("riverside"), "k-1")
    other = create(client_for("lakeside"), "k-1")
    assert other.status_code == 201
    assert "Idempotent-Replayed" not in other
    assert other.json()["id"] != first.json()["id"]


def test_after_24_hours_the_key_is_free_again(
    client_for: ClientFor, riverside_wide_scope: Scope
) -> None:
    client = client_for("riverside")
    create(client, "k-1")
    with tenant_scope(riverside_wide_scope):
        IdempotencyRecord.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    again = create(client, "k-1")
    assert (again.status_code, again.json()["slug"]) == (201, "care-gaps-2")


def test_a_request_in_flight_is_409(client_for: ClientFor, riverside_wide_scope: Scope) -> None:
    client = client_for("riverside")
    with tenant_scope(riverside_wide_scope):
        IdempotencyRecord.objects.create(
            project_id="",
            key="k-1",
            fingerprint=b"x" * 32,
            locked_until=timezone.now() + timedelta(seconds=30),
            expires_at=timezone.now() + timedelta(hours=1),
        )
    response = create(client, "k-1")
    assert (response.status_code, response["Retry-After"]) == (409, "1")
    assert count() == 2


def test_a_key_that_another_transaction_holds_is_409_at_once(
    client_for: ClientFor, riverside_wide_scope: Scope
) -> None:
    client = client_for("riverside")
    number = idempotency.lock_number(riverside_wide_scope.schema, "", "k-held")
    owner = settings.DATABASE_OWNER
    with psycopg.connect(
        host=owner["HOST"],
        port=owner["PORT"],
        user=owner["USER"],
        password=owner["PASSWORD"],
        dbname=owner["NAME"],
    ) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [number])
        response = create(client, "k-held")
    assert response.status_code == 409
    assert count() == 2


def test_a_stored_answer_is_sealed(client_for: ClientFor, riverside_wide_scope: Scope) -> None:
    client = client_for("riverside")
    body = {"name": "CI", "scopes": ["fhir:read"]}
    headers = {"HTTP_IDEMPOTENCY_KEY": "k-secret"}
    first = client.post("/v1/api-keys", body, format="json", **headers).json()
    with tenant_scope(riverside_wide_scope):
        stored = bytes(IdempotencyRecord.objects.get().body)
    assert first["secret"].encode() not in stored
    assert client.post("/v1/api-keys", body, format="json", **headers).json() == first


def test_another_callers_answer_is_never_replayed(client_for: ClientFor) -> None:
    body = {"name": "Lab", "scopes": ["org:admin"]}
    strong = client_for("riverside")
    issued = strong.post("/v1/api-keys", body, format="json", HTTP_IDEMPOTENCY_KEY="k-2").json()
    weak = client_for("riverside", scopes=["keys:write"])
    answer = weak.post("/v1/api-keys", body, format="json", HTTP_IDEMPOTENCY_KEY="k-2")
    assert answer.status_code == 422
    assert issued["secret"] not in answer.content.decode()
