"""The checklist on Home performs the five steps, and shows them done."""

import re
from datetime import datetime

import pytest
from django.test import Client

from assets.models import Deployment, Installation
from healthcloud.actors import Actor
from healthcloud.events import numbering
from healthcloud.events.services import publish
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope
from studio import first_steps
from studio.first_steps import CONNECTOR
from studio.page import Page
from studio.views import home
from tests.studio.conftest import PLACE, Quest
from workflows.models import Run

pytestmark = pytest.mark.django_db


def done_steps(browser: Client) -> int:
    text = browser.get(PLACE + "/").content.decode()
    if "All five steps done" in text:
        return 5
    found = re.search(r"(\d) of 5 done", text)
    assert found
    return int(found.group(1))


def press(browser: Client, step: str, **fields: str) -> str:
    answer = browser.post(f"{PLACE}/first-steps/{step}", fields)
    assert answer.status_code == 302, answer.content
    return str(answer["Location"])


def test_the_five_steps_by_their_buttons(
    quest: Quest, alice_browser: Client, maya: str, riverside_scope: Scope
) -> None:
    assert done_steps(alice_browser) == 0
    press(alice_browser, "install")
    assert done_steps(alice_browser) == 1
    assert press(alice_browser, "integrate") == f"{PLACE}/"
    assert done_steps(alice_browser) == 2
    press(alice_browser, "deploy")
    run_until_idle()
    assert done_steps(alice_browser) == 3
    run_page = press(alice_browser, "run", patient_id=maya)
    run_until_idle()
    assert done_steps(alice_browser) == 5
    page = alice_browser.get(run_page).content.decode()
    assert "Screen the patient" in page
    assert "AI asserted, preliminary" in page
    assert "Nitrite" in page


def test_a_laboratory_that_refuses_leads_to_the_remedy(
    quest: Quest, alice_browser: Client, riverside_scope: Scope
) -> None:
    quest.fail("token", "401", times=5)
    press(alice_browser, "install")
    with tenant_scope(riverside_scope):
        assert not Installation.objects.filter(asset_id=CONNECTOR).exists()
    location = press(alice_browser, "integrate")
    assert "/installations/" in location or location == f"{PLACE}/"


def test_deploying_what_is_not_installed_says_so_and_changes_nothing(
    alice_browser: Client, riverside_scope: Scope
) -> None:
    answer = alice_browser.post(
        f"{PLACE}/first-steps/deploy",
        headers={"Referer": f"http://testserver{PLACE}/"},
        follow=True,
    )
    assert b"is not installed in this project" in answer.content
    with tenant_scope(riverside_scope):
        assert not Deployment.objects.exists()


def test_a_patient_who_does_not_exist_fails_the_run_by_name(
    quest: Quest, alice_browser: Client, riverside_scope: Scope
) -> None:
    for step in ("install", "integrate", "deploy"):
        press(alice_browser, step)
    run_until_idle()
    page = press(alice_browser, "run", patient_id="pat_nobody")
    run_until_idle()
    assert b"pat_nobody" in alice_browser.get(page).content
    with tenant_scope(riverside_scope):
        assert Run.objects.get().status == "failed"


def test_a_stranger_can_press_nothing(charlie_browser: Client, riverside_scope: Scope) -> None:
    for step in ("install", "integrate", "deploy", "run", "patients"):
        assert charlie_browser.post(f"{PLACE}/first-steps/{step}").status_code == 404
    with tenant_scope(riverside_scope):
        assert not Installation.objects.exists()


def test_what_happens_while_a_page_is_drawn_is_told_to_it(
    alice_browser: Client,
    alice_actor: Actor,
    riverside_scope: Scope,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, numbers = first_steps.first_steps, []

    def happening(page: Page) -> list[first_steps.FirstStep]:
        steps = before(page)
        payload = {"run_id": "run_1", "workflow_id": "uti_screening"}
        publish(type="workflow.started", payload=payload, actor=alice_actor, now=now)
        numbers.append(numbering.number_committed())
        return steps

    monkeypatch.setattr(home, "first_steps", happening)
    text = alice_browser.get(PLACE + "/").content.decode()
    found = re.search(r'data-live-after="(\d+)"', text)
    assert found
    assert int(found.group(1)) < numbers[0]
