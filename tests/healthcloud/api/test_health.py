"""/livez, /readyz and /metrics."""

import pytest
from django.test import Client, override_settings

pytestmark = pytest.mark.django_db


def test_a_live_process_says_so() -> None:
    assert Client().get("/livez").json() == {"status": "ok"}


def test_a_ready_process_names_every_part() -> None:
    response = Client().get("/readyz")
    assert response.status_code == 200
    assert {name: check["ok"] for name, check in response.json()["checks"].items()} == {
        "database": True,
        "tenancy": True,
        "valkey": True,
    }


@override_settings(VALKEY_URL="redis://127.0.0.1:1/0")
def test_readiness_names_the_part_that_fails_and_the_remedy() -> None:
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert response.json()["failing"] == ["valkey"]
    assert "VALKEY_URL" in response.json()["checks"]["valkey"]["remedy"]


@override_settings(METRICS_TOKEN="scrape-me")
def test_metrics_need_the_token_and_hold_routes_without_ids() -> None:
    client = Client()
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    client.get("/v1/projects/proj_secret")
    text = client.get("/metrics", headers={"Authorization": "Bearer scrape-me"}).content.decode()
    assert 'route="v1/projects/<str:project_id>"' in text
    assert "proj_secret" not in text
    assert "healthcloud_queue_due" in text


def test_without_a_token_nobody_reads_metrics() -> None:
    response = Client().get("/metrics", headers={"Authorization": "Bearer "})
    assert response.status_code == 401
