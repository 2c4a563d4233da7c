"""/explorer: a strict policy, and a sandbox key for whoever is signed in."""

import re

import pytest
from django.test import Client
from rest_framework.test import APIClient

from healthcloud.organizations.models import ApiKey, User

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_a_stranger_sees_the_reference_without_a_key(db: None) -> None:
    response = Client().get("/explorer")
    assert response.status_code == 200
    assert b"data-key" not in response.content
    assert ApiKey.objects.count() == 0


def test_scripts_and_calls_stay_on_this_server(db: None) -> None:
    policy = Client().get("/explorer")["Content-Security-Policy"]
    directives = {directive.strip() for directive in policy.split(";")}
    assert {"script-src 'self'", "connect-src 'self'", "default-src 'none'"} <= directives


def test_a_person_gets_a_sandbox_key_that_works_and_is_kept_for_the_session(alice: User) -> None:
    client = signed_in(alice)
    first, second = client.get("/explorer"), client.get("/explorer")
    keys = [re.search(rb'data-key="([^"]+)"', page.content)[1].decode() for page in (first, second)]
    assert keys[0] == keys[1]
    assert keys[0].startswith("hc_test_sk_")
    assert ApiKey.objects.count() == 1
    assert keys[0] not in str(dict(client.session))
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {keys[0]}")
    assert api.get("/v1/projects").json()["organization_id"] == "org_riverside"
    assert "no-store" in first["Cache-Control"]


def test_a_key_that_was_revoked_is_replaced(alice: User) -> None:
    client = signed_in(alice)
    client.get("/explorer")
    ApiKey.objects.update(revoked_at="2026-01-01T00:00:00Z")
    client.get("/explorer")
    assert ApiKey.objects.filter(revoked_at=None).count() == 1


def test_charlie_gets_no_key_of_riverside(charlie: User) -> None:
    response = signed_in(charlie).get("/explorer?organization=riverside")
    assert b"data-key" not in response.content
    assert ApiKey.objects.count() == 0
