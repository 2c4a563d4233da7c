"""A running platform on the session's database, and a real browser that visits it."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection
from playwright.sync_api import Browser, sync_playwright
from pytest_django.plugin import DjangoDbBlocker

from healthcloud.actors import SYSTEM
from healthcloud.organizations import services
from healthcloud.runtime.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
WORKER = """
import time, django
django.setup()
from healthcloud.ledger.worker import run_until_idle
while True:
    run_until_idle(raising=False)
    time.sleep(0.2)
"""


@dataclass(frozen=True)
class Site:
    """Where the platform answers, and who may sign in."""

    url: str
    email: str
    place: str


def find_chromium() -> str | None:
    """Return the path of an installed Chromium, None without one."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found:
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


@contextmanager
def process(*command: str, environment: dict[str, str]) -> Iterator[None]:
    """Run a Python process for as long as the block lasts."""
    running = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        running.terminate()
        running.wait(15)


def wait_for(url: str, seconds: float = 180) -> None:
    """Wait until an address answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer")


@pytest.fixture(scope="module")  # its worker must not do the work of other modules' tests
def site(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """A web server, a worker and the simulators, with an organization of their own."""
    if find_chromium() is None:
        pytest.skip("No Chromium on this machine: install one to run the browser journeys.")
    owner = settings.DATABASE_OWNER
    login = f"{quote(owner['USER'])}:{quote(owner['PASSWORD'])}"
    web, simulators = free_port(), free_port()
    environment = os.environ | {
        "DATABASE_URL": f"postgresql://{login}@{owner['HOST']}:{owner['PORT']}/{owner['NAME']}",
        "VALKEY_URL": settings.VALKEY_URL,
        "DJANGO_SETTINGS_MODULE": "healthcloud.settings",
        "HEALTHCLOUD_BASE_URL": f"http://127.0.0.1:{web}",
        "HEALTHCLOUD_SIMULATOR_URL": f"http://127.0.0.1:{simulators}",
        "HEALTHCLOUD_HOME": str(tmp_path_factory.mktemp("home")),
        "PYTHONPATH": str(ROOT),
    }
    with django_db_blocker.unblock():
        place = _organization()
        connection.close()
    server = ("-m", "uvicorn", "healthcloud.asgi:application", "--port", str(web))
    vendors = ("manage.py", "runsimulators", "--port", str(simulators))
    with (
        process(*server, environment=environment),
        process(*vendors, environment=environment),
        process("-c", WORKER, environment=environment),
    ):
        wait_for(f"http://127.0.0.1:{web}/accounts/login/")
        wait_for(f"http://127.0.0.1:{simulators}/health")
        yield Site(f"http://127.0.0.1:{web}", "nora@example.com", place)


def _organization() -> str:
    now = datetime.now(UTC)
    nora = services.create_user(email="nora@example.com", password=PASSWORD, name="Nora Diaz")
    organization = services.create_organization(
        name="Northside Clinic", owner=nora, actor=SYSTEM, now=now
    )
    project = services.create_project(
        organization_id=organization.id, name="Screening", actor=SYSTEM, now=now
    )
    return f"/studio/{organization.slug}/sandbox/{project.slug}"


@pytest.fixture(scope="module")
def browser(site: Site) -> Iterator[Browser]:
    """A headless Chromium, started after the site: its event loop keeps Django's database shut."""
    path = find_chromium()
    if path is None:
        pytest.skip("No Chromium on this machine: install one to run the browser journeys.")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield running
        running.close()
