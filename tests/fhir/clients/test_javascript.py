"""fhir-kit-client, fhirclient.js and Medplum's client against the server as it runs.

They are installed from npm into a cache folder by the first test; without Node.js, npm or a way to
the registry the tests are skipped and say so.
"""

import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fhir.clients.conftest import Served

PACKAGES = ("fhir-kit-client@2.0.3", "fhirclient@2.6.3", "@medplum/core@4.5.2")
DRIVERS = Path(__file__).parent / "drivers.mjs"
INSTALL = (
    *("npm", "install", "--omit=optional", "--omit=peer", "--legacy-peer-deps", "--ignore-scripts"),
    *("--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=0", "--fetch-timeout=20000"),
)

RETRY_SECONDS = 600


@pytest.fixture(scope="session")
def modules() -> Path:
    """The folder with the packages, installed once per machine and set of versions."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js and npm are not here")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "healthcloud" / "-".join(p.replace("/", "_") for p in PACKAGES)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # of several test processes one installs
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            install(folder)
    return folder / "node_modules"


def install(folder: Path) -> None:
    """Install the packages, or skip; what failed a moment ago is not tried again."""
    failed = folder / "failed"
    if failed.exists() and time.time() - failed.stat().st_mtime < RETRY_SECONDS:
        pytest.skip("the packages could not be installed from npm a moment ago")
    command = (*INSTALL, "--prefix", str(folder), *PACKAGES)
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=90)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        failed.touch()
        pytest.skip(f"the packages can't be installed from npm: {str(error)[:200]}")
    (folder / "complete").touch()


def drive(name: str, served: Served, modules: Path) -> dict[str, Any]:
    """Run what a user of a client does, and return what came of it."""
    key = served.authorization.removeprefix("Bearer ")
    done = subprocess.run(
        ("node", str(DRIVERS), name, str(modules)),
        env={"PATH": os.environ["PATH"], "FHIR_URL": served.url, "FHIR_KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_fhir_kit_client(served: Served, modules: Path) -> None:
    found = drive("fhir-kit-client", served, modules)
    names = [name for page in found["pages"] for name in page]
    assert ([len(page) for page in found["pages"]], sorted(names)) == (
        [2, 2, 1],
        [f"Kit{n}" for n in range(5)],
    )
    assert found["back"] == found["pages"][0]
    assert (found["patched"], found["old"], found["history"]) == ([False, "female", "3"], True, 3)
    assert (found["everything"], found["compartment"]) == (1, 0)
    assert (found["transaction"], found["batch"]) == (["201", "200"], ["200", "404"])
    assert (found["gone"], found["invalid"]) == (410, [422, "Patient.gender"])
    assert found["statement"] == ["4.0.1", "instance"]


def test_fhirclient(served: Served, modules: Path) -> None:
    found = drive("fhirclient", served, modules)
    assert found["all"] == [f"Smart{n}" for n in range(5)]
    assert (found["updated"], found["patched"]) == ("2", [False, "female", "3"])
    assert (found["resolved"], found["transaction"], found["history"]) == ("Smart0", ["201"], 3)
    assert (found["gone"], found["version"], found["release"]) == (410, "4.0.1", 4)
    assert found["smart"] == [True, True]


def test_medplum_core(served: Served, modules: Path) -> None:
    found = drive("@medplum/core", served, modules)
    assert sorted(name for page in found["pages"] for name in page) == [f"Med{n}" for n in range(5)]
    assert (found["once"], found["updated"], found["patched"]) == (
        True,
        "2",
        [False, "female", "3"],
    )
    assert found["many"] == [f"Med{n}" for n in range(5)]
    assert (found["history"], found["old"]) == (3, True)
    assert (found["transaction"], found["graph"]) == (["201", "200"], "Med0")
    assert (found["gone"], found["invalid"]) == ("deleted", "Patient.gender")
