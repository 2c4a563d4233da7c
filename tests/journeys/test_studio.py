"""Nora opens Studio in a browser, builds the diagnostic app, and every screen holds up."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext, Route, expect

from tests.journeys.conftest import PASSWORD, Site

pytestmark = [pytest.mark.browser, pytest.mark.slow]

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCREENS = [
    "/",
    "/catalog",
    "/catalog/agent_diagnostic_v1",
    "/catalog/agent_diagnostic_v1?tab=card",
    "/deployments",
    "/workflows",
    "/workflows/uti_screening",
    "/runs",
    "/tasks",
    "/records",
    "/records/patients/pat_123",
    "/records/Observation",
    "/records/Patient/pat_123",
    "/events",
    "/webhooks",
    "/settings",
    "/settings/members",
    "/settings/keys",
    "/settings/audit",
]


@pytest.fixture(scope="module")
def signed_in(browser: Browser, site: Site) -> dict[str, Any]:
    """The cookies of Nora, who signs in through the form."""
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.goto("/studio/")
    page.get_by_label("Email").fill(site.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(re.escape(site.place)))
    state: dict[str, Any] = context.storage_state()
    context.close()
    return state


@pytest.fixture
def context(browser: Browser, site: Site, signed_in: dict[str, Any]) -> Iterator[BrowserContext]:
    """A browser in which Nora is signed in."""
    context = browser.new_context(
        base_url=site.url, storage_state=signed_in, viewport={"width": 1280, "height": 900}
    )
    yield context
    context.close()


@pytest.fixture(scope="module")
def app(browser: Browser, site: Site, signed_in: dict[str, Any]) -> str:
    """Perform the five steps by their buttons; the address of the run."""
    context = browser.new_context(base_url=site.url, storage_state=signed_in)
    page = context.new_page()
    page.goto(site.place + "/")
    for name in ("Install", "Configure and test", "Deploy"):
        page.get_by_role("button", name=name, exact=True).click()
    page.get_by_role("button", name="Get synthetic patients").click(timeout=30_000)
    page.get_by_role("button", name="Load synthetic patients").click(timeout=30_000)
    page.get_by_label("Patient").select_option("pat_123", timeout=60_000)
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Completed", timeout=30_000)
    address = page.url
    context.close()
    return address


def test_the_run_went_live_to_its_end_without_a_reload(context: BrowserContext, app: str) -> None:
    page = context.new_page()
    page.goto(app)
    expect(page.get_by_text("Screen the patient")).to_be_visible()
    expect(page.get_by_text("AI asserted, preliminary")).to_be_visible()
    expect(page.locator(".rail .tone-good").first).to_be_visible()


def test_home_shows_all_five_steps_done(context: BrowserContext, site: Site, app: str) -> None:
    page = context.new_page()
    page.goto(site.place + "/")
    expect(page.get_by_text("All five steps done")).to_be_visible()


def test_the_event_tail_shows_what_happens_elsewhere(
    context: BrowserContext, site: Site, app: str
) -> None:
    tail, other = context.new_page(), context.new_page()
    tail.goto(site.place + "/events?type=workflow.*")
    expect(tail.get_by_text("Live", exact=True)).to_be_visible(timeout=10_000)
    newest = tail.locator("[data-event-tail] [data-sequence]").first.inner_text()
    other.goto(app)
    other.get_by_role("button", name="Run again").click()
    expect(other.get_by_role("heading", level=1)).to_contain_text("Completed", timeout=30_000)
    first = tail.locator("[data-event-tail] li").first
    expect(first.get_by_text("workflow.completed")).to_be_visible(timeout=10_000)
    assert tail.locator("[data-event-tail] [data-sequence]").first.inner_text() != newest


def test_what_happens_while_a_page_asks_again_is_asked_for_once_more(
    context: BrowserContext, site: Site, app: str
) -> None:
    home, run = context.new_page(), context.new_page()
    asked: list[Route] = []

    def hold(route: Route) -> None:
        if "hx-request" in route.request.headers:
            asked.append(route)
        else:
            route.continue_()

    home.route(re.compile(re.escape(site.place) + "/$"), hold)
    home.goto(site.place + "/")
    run.goto(app)
    for number in (1, 2):  # the second one runs while the answer of the first is under way
        run.get_by_role("button", name="Run again").click()
        expect(run.get_by_role("heading", level=1)).to_contain_text("Completed", timeout=30_000)
        if number == 2:
            asked[0].continue_()
        for _ in range(300):
            if len(asked) >= number:
                break
            home.wait_for_timeout(100)
    assert len(asked) == 2
    asked[1].continue_()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_screen(
    browser: Browser, site: Site, signed_in: dict[str, Any], app: str, theme: Any
) -> None:
    context = browser.new_context(
        base_url=site.url,
        storage_state=signed_in,
        color_scheme=theme,
        reduced_motion="reduce",
        bypass_csp=True,
    )
    page = context.new_page()
    found: list[str] = []
    for screen in [*(site.place + path for path in SCREENS), app, "/accounts/2fa/", "/studio/new"]:
        page.goto(screen)
        page.evaluate(AXE)
        result = page.evaluate(f"axe.run(document, {{runOnly: {json.dumps(RULES)}}})")
        found += [
            f"{screen}: {rule['id']} at {node['html'][:120]}"
            for rule in result["violations"]
            for node in rule["nodes"]
        ]
    context.close()
    assert found == []


def test_no_screen_breaks_the_content_policy_or_scrolls_sideways(
    browser: Browser, site: Site, signed_in: dict[str, Any], app: str
) -> None:
    context = browser.new_context(
        base_url=site.url, storage_state=signed_in, viewport={"width": 360, "height": 740}
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for screen in [*(site.place + path for path in SCREENS), app]:
        page.goto(screen)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            complaints.append(f"{screen} is {wide} px too wide")
    context.close()
    assert complaints == []


def test_the_keyboard_goes_everywhere(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    page.goto(site.place + "/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Control+k")
    page.keyboard.type("deploy")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/deployments$"))
    page.wait_for_load_state()  # its scripts hear the keys from then on
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page).to_have_url(re.compile("/runs$"))


def test_the_theme_stays_chosen(context: BrowserContext, site: Site) -> None:
    page = context.new_page()
    page.goto(site.place + "/")
    page.get_by_label("Account of").click()
    page.get_by_label("Dark theme").click()
    page.goto(site.place + "/runs")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_dangerous_button_asks_first(context: BrowserContext, site: Site, app: str) -> None:
    page = context.new_page()
    page.goto(site.place + "/deployments")
    page.get_by_role("link", name="Diagnostic Agent").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("dialog")).to_contain_text("Stop this deployment?")
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Active")


def test_studio_works_without_javascript(
    browser: Browser, site: Site, signed_in: dict[str, Any], app: str
) -> None:
    context = browser.new_context(
        base_url=site.url, storage_state=signed_in, java_script_enabled=False
    )
    page = context.new_page()
    page.goto(site.place + "/catalog/model_uti_dipstick_v1")
    page.get_by_role("button", name="Install").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Not deployed")
    expect(page.get_by_text("is installed. Configure and deploy it.")).to_be_visible()
    context.close()
