"""Rate limits: exact counts, headers, 429 with Retry-After, nobody refused without Valkey."""

from collections.abc import Callable
from time import monotonic

import pytest
from django.test import override_settings
from rest_framework.test import APIClient

from healthcloud.api.principal import RateLimit
from healthcloud.organizations import queries

pytestmark = pytest.mark.django_db
ClientFor = Callable[..., APIClient]


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(queries.PLAN_LIMITS, "starter", RateLimit(per_minute=5, burst=3))


def test_the_burst_is_exact_and_then_429(client_for: ClientFor) -> None:
    for _ in range(10):  # a machine so busy that the bucket fills meanwhile proves nothing
        client = client_for("riverside", environment="production")
        began = monotonic()
        answers = [client.get("/v1/projects") for _ in range(4)]
        if monotonic() - began < 0.3:
            break
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0]["X-RateLimit-Limit"] == "5"
    assert [answer["X-RateLimit-Remaining"] for answer in answers] == ["4", "3", "2", "2"]
    assert int(answers[0]["X-RateLimit-Reset"]) > 1_700_000_000
    refused = answers[3]
    assert refused["Retry-After"] == "1"
    assert refused.json()["error"]["code"] == "rate_limited"
    assert refused.json()["organization_id"] == "org_riverside"


def test_each_key_has_its_own_bucket(client_for: ClientFor) -> None:
    first = client_for("riverside", environment="production")
    second = client_for("riverside", environment="production")
    assert [first.get("/v1/projects").status_code for _ in range(12)].count(429) >= 6
    assert second.get("/v1/projects").status_code == 200


def test_the_sandbox_of_one_machine_has_no_limit_unless_told(client_for: ClientFor) -> None:
    client = client_for("riverside")
    answers = [client.get("/v1/projects") for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}
    assert "X-RateLimit-Limit" not in answers[0]
    with override_settings(SANDBOX_UNLIMITED=False):
        assert client.get("/v1/projects")["X-RateLimit-Limit"] == "5"


@override_settings(VALKEY_URL="redis://127.0.0.1:1/0")
def test_without_valkey_nobody_is_refused(client_for: ClientFor) -> None:
    client = client_for("riverside", environment="production")
    assert {client.get("/v1/projects").status_code for _ in range(6)} == {200}
