"""Keys and tokens at the door: form, expiry, address list, use noted, no detail leaked."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.test import override_settings
from rest_framework.test import APIClient

from healthcloud.errors import NotFound
from healthcloud.organizations import keys
from healthcloud.organizations.authentication import authenticate_bearer, issue_token
from healthcloud.organizations.models import ApiKey, Organization, Project

pytestmark = pytest.mark.django_db
ClientFor = Callable[..., APIClient]
URL = "/v1/projects"


@pytest.mark.parametrize("environment", ["sandbox", "production"])
def test_a_key_has_the_documented_form_and_a_checksum(environment: str) -> None:
    secret = keys.generate(environment)
    prefix = {"sandbox": "hc_test_sk_", "production": "hc_live_sk_"}[environment]
    assert secret.text.startswith(prefix)
    assert len(secret.text) == 49
    assert keys.parse(secret.text) == (environment, secret.digest)
    changed = "A" if secret.text[20] != "A" else "B"
    assert keys.parse(secret.text[:20] + changed + secret.text[21:]) is None


def test_the_prefix_without_sk_is_accepted(client_for: ClientFor) -> None:
    client = client_for("riverside")
    short = client.secret.replace("_sk_", "_")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {short}")
    assert client.get(URL).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer hc_test_sk_xxxxxxxxxxxxxxxx",
        "Bearer hc_live_sk_" + "x" * 38,
        "Bearer a.b.c",
        "Bearer ..",
        "Bearer " + "x" * 5000,
        "Bearer hc_test_sk_é",
    ],
)
def test_what_is_no_credential_is_401_with_a_challenge(header: str) -> None:
    response = APIClient().get(URL, HTTP_AUTHORIZATION=header)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer realm="healthcloud"'
    assert response.json()["error"]["code"] == "unauthorized"


def test_a_well_formed_key_that_nobody_has_is_401() -> None:
    response = APIClient().get(URL, HTTP_AUTHORIZATION=f"Bearer {keys.generate('sandbox').text}")
    assert response.status_code == 401


def test_an_expired_key_is_401(client_for: ClientFor) -> None:
    client = client_for("riverside", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert client.get(URL).status_code == 401


@pytest.mark.parametrize(
    ("allowed", "address", "status"),
    [
        (["203.0.113.0/24"], "203.0.113.7", 200),
        (["203.0.113.0/24"], "203.0.114.7", 403),
        (["203.0.113.0/24"], "::ffff:203.0.113.7", 200),
        (["2001:db8::/32"], "2001:db8::1", 200),
        (["2001:db8::/32"], "203.0.113.7", 403),
    ],
)
def test_an_address_list_is_honored(
    client_for: ClientFor, allowed: list[str], address: str, status: int
) -> None:
    client = client_for("riverside", allowed_addresses=allowed)
    assert client.get(URL, REMOTE_ADDR=address).status_code == status


def test_a_forwarded_address_counts_only_behind_a_trusted_proxy(client_for: ClientFor) -> None:
    client = client_for("riverside", allowed_addresses=["203.0.113.7/32"])
    spoofed = {"HTTP_X_FORWARDED_FOR": "203.0.113.7", "REMOTE_ADDR": "198.51.100.1"}
    assert client.get(URL, **spoofed).status_code == 403
    with override_settings(TRUSTED_PROXIES=1):
        assert client.get(URL, **spoofed).status_code == 200
        spoofed["HTTP_X_FORWARDED_FOR"] = "203.0.113.7, 198.51.100.9"
        assert client.get(URL, **spoofed).status_code == 403


def test_use_is_noted_at_most_once_a_minute(client_for: ClientFor) -> None:
    client = client_for("riverside")
    client.get(URL)
    first = ApiKey.objects.get().last_used_at
    client.get(URL)
    assert first is not None
    assert ApiKey.objects.get().last_used_at == first
    ApiKey.objects.update(last_used_at=first - timedelta(minutes=2))
    client.get(URL)
    assert ApiKey.objects.get().last_used_at > first


def test_an_outdated_token_is_401(client_for: ClientFor, now: datetime) -> None:
    client = client_for("riverside")
    principal = authenticate_bearer(client.secret, now=now, client_ip=None)
    token = issue_token(principal, scopes=frozenset({"fhir:read"}), now=now - timedelta(hours=2))
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert client.get(URL).status_code == 401


def test_a_key_is_looked_up_by_one_query(
    client_for: ClientFor, now: datetime, django_assert_num_queries: Callable[..., object]
) -> None:
    client = client_for("riverside", project="screening", last_used_at=now)
    with django_assert_num_queries(1):
        principal = authenticate_bearer(client.secret, now=now, client_ip=None)
    assert principal.project_id == "proj_riverside_screening"
    assert principal.rate_limit is None


def test_the_project_that_a_request_names_is_looked_up_with_the_key(
    client_for: ClientFor, now: datetime, django_assert_num_queries: Callable[..., object]
) -> None:
    client = client_for("riverside", last_used_at=now)
    named = "proj_riverside_screening"
    with django_assert_num_queries(1):
        principal = authenticate_bearer(client.secret, now=now, client_ip=None, named=named)
        found = principal.resolve_project(named)
    assert found is not None
    assert found.id == named
    Project.objects.filter(pk=named).update(status=Project.Status.ARCHIVED)
    principal = authenticate_bearer(client.secret, now=now, client_ip=None, named=named)
    assert getattr(principal.resolve_project(named), "archived", False)


@pytest.mark.parametrize("named", ["proj_lakeside_screening", "proj_none", "proj_\x00"])
def test_a_project_of_others_is_not_found_with_the_key(
    client_for: ClientFor, now: datetime, named: str
) -> None:
    client = client_for("riverside")
    principal = authenticate_bearer(client.secret, now=now, client_ip=None, named=named)
    with pytest.raises(NotFound):
        principal.resolve_project(named)


def test_the_plan_sets_the_limit_of_production(client_for: ClientFor, now: datetime) -> None:
    client = client_for("riverside", environment="production")
    principal = authenticate_bearer(client.secret, now=now, client_ip=None)
    assert principal.rate_limit is not None
    assert (principal.rate_limit.per_minute, principal.rate_limit.burst) == (500, 50)
    Organization.objects.update(plan="unlimited")
    assert authenticate_bearer(client.secret, now=now, client_ip=None).rate_limit is None


def test_a_token_exchanged_for_a_token_gains_no_time(client_for: ClientFor) -> None:
    client = client_for("riverside")
    first = client.post("/v1/auth/token", {}, format="json").json()
    principal = authenticate_bearer(client.secret, now=datetime.now(UTC), client_ip=None)
    soon = datetime.now(UTC) + timedelta(minutes=5)
    lent = issue_token(principal, scopes=principal.scopes, now=datetime.now(UTC), expires_at=soon)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {lent}")
    second = client.post("/v1/auth/token", {}, format="json").json()
    assert first["expires_in"] == 3600
    assert 0 < second["expires_in"] <= 300
    with pytest.raises(Exception, match="expired"):
        authenticate_bearer(second["access_token"], now=soon + timedelta(seconds=1), client_ip=None)


@pytest.mark.parametrize("path", ["/v1/api-keys", "/v1/api-keys/{id}/rotate"])
def test_a_token_lent_for_an_hour_makes_no_lasting_key(client_for: ClientFor, path: str) -> None:
    client = client_for("riverside")
    token = client.post("/v1/auth/token", {}, format="json").json()["access_token"]
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    answer = client.post(path.format(id=client.key.id), {"name": "mine"}, format="json")
    assert answer.status_code == 403
    assert ApiKey.objects.filter(name="mine").count() == 0
