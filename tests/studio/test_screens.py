"""Every screen opens for a member, asks the rest to sign in, and is nothing to strangers."""

import pytest
from django.test import Client

from tests.studio.conftest import PLACE

pytestmark = pytest.mark.django_db

SCREENS = [
    "/",
    "/catalog",
    "/catalog?kind=agent&q=diagnostic",
    "/catalog/agent_diagnostic_v1",
    "/catalog/agent_diagnostic_v1?tab=card",
    "/catalog/agent_diagnostic_v1?tab=manifest",
    "/catalog/quest_diagnostics",
    "/deployments",
    "/deployments?status=failed",
    "/workflows",
    "/runs",
    "/runs?status=failed&workflow=uti_screening&since=7&q=run_1",
    "/tasks",
    "/tasks?status=decided",
    "/records",
    "/records?q=nobody",
    "/records/Observation",
    "/events",
    "/events?type=workflow.*&severity=error",
    "/webhooks",
    "/settings",
    "/settings/members",
    "/settings/keys",
    "/settings/audit",
]
MISSING = [
    "/catalog/agent_unknown_v1",
    "/installations/inst_unknown",
    "/deployments/dep_unknown",
    "/workflows/unknown",
    "/runs/run_unknown",
    "/tasks/task_unknown",
    "/records/patients/unknown",
    "/records/Observation/unknown",
    "/events/evt_unknown",
    "/webhooks/wh_unknown",
]


@pytest.mark.parametrize("screen", SCREENS)
def test_a_member_sees_it(alice_browser: Client, screen: str) -> None:
    answer = alice_browser.get(PLACE + screen)
    assert answer.status_code == 200
    assert b"Riverside Health" in answer.content


@pytest.mark.parametrize("screen", SCREENS)
def test_a_stranger_gets_404(charlie_browser: Client, screen: str) -> None:
    answer = charlie_browser.get(PLACE + screen)
    assert answer.status_code == 404
    assert b"Riverside Health" not in answer.content


def test_who_is_not_signed_in_is_asked_to(client: Client) -> None:
    answer = client.get(PLACE + "/runs")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/?next=")


@pytest.mark.parametrize("screen", MISSING)
def test_what_does_not_exist_is_404(alice_browser: Client, screen: str) -> None:
    answer = alice_browser.get(PLACE + screen)
    assert answer.status_code == 404
    assert b"There is nothing here" in answer.content


@pytest.mark.parametrize(
    "place", ["/studio/riverside/staging/screening/", "/studio/riverside/sandbox/unknown/"]
)
def test_a_place_that_does_not_exist_is_404(alice_browser: Client, place: str) -> None:
    assert alice_browser.get(place).status_code == 404


def test_sandbox_and_production_look_different(alice_browser: Client) -> None:
    sandbox = alice_browser.get(PLACE + "/").content.decode()
    production = alice_browser.get(PLACE.replace("sandbox", "production") + "/").content.decode()
    assert "stripe-sandbox" in sandbox
    assert "stripe-production" not in sandbox
    assert "stripe-production" in production
    assert "stripe-sandbox" not in production


def test_studio_opens_where_one_was_last(alice_browser: Client) -> None:
    assert alice_browser.get("/studio/")["Location"].startswith("/studio/riverside/sandbox/")
    alice_browser.get("/studio/riverside/production/referrals/runs")
    assert alice_browser.get("/studio/")["Location"] == "/studio/riverside/production/referrals/"


def test_pages_carry_a_strict_content_security_policy(alice_browser: Client) -> None:
    policy = alice_browser.get(PLACE + "/")["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy


def test_the_chosen_theme_is_in_the_first_paint(alice_browser: Client) -> None:
    alice_browser.cookies["studio_theme"] = "dark"
    assert b'data-theme="dark"' in alice_browser.get(PLACE + "/").content


def test_actions_refuse_get(alice_browser: Client) -> None:
    assert alice_browser.get(PLACE + "/catalog/agent_diagnostic_v1/install").status_code == 405


def test_the_style_page_is_for_development_only(alice_browser: Client, settings: object) -> None:
    assert alice_browser.get("/studio/_styleguide").status_code == 404
    settings.DEBUG = True
    assert alice_browser.get("/studio/_styleguide").status_code == 200
