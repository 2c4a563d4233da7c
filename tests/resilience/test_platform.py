"""`manage.py up` on an empty folder: the five steps, a killed process, a clean end."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from healthcloud.http import OutboundError, client
from healthcloud.runtime.local import is_alive
from healthcloud.runtime.ports import free_port
from tests.healthcloud.receiver import running_receiver
from tests.waiting import wait_until

pytestmark = [pytest.mark.resilience, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
State = dict[str, Any]


class Platform:
    """A platform of its own, with embedded servers, below a temporary folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if name not in {"DATABASE_URL", "VALKEY_URL"}
            },
            "HEALTHCLOUD_HOME": str(home),
            "PORT": str(free_port()),
        }

    def manage(self, *arguments: str) -> str:
        answer = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def state(self) -> State:
        return json.loads((self.home / "local.json").read_text(encoding="utf-8"))

    def call(
        self, method: str, path: str, body: State | None = None, key: str = ""
    ) -> tuple[int, State]:
        state = self.state()
        http = client(allow_hosts=None, allow_loopback=True, timeout=40.0)
        headers = {
            "Authorization": f"Bearer {state['sandbox_key']}",
            "HealthCloud-Project": state["project_id"],
            **({"Idempotency-Key": key} if key else {}),
        }
        answer = http.request(method, f"{state['base_url']}/v1/{path}", headers=headers, json=body)
        return answer.status, answer.json()


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    home = Path(tempfile.mkdtemp(prefix="healthcloud-platform-"))  # pytest closes its own folders
    home.chmod(0o755)
    running = Platform(home)
    running.manage("up", "--detach")
    pids = [pid for group in running.state()["pids"].values() for pid in group]
    yield running
    running.manage("down")
    assert [pid for pid in pids if is_alive(pid)] == []
    shutil.rmtree(home, ignore_errors=True)


def test_local_json_says_where_everything_is(platform: Platform) -> None:
    state = platform.state()
    assert state["ready"] is True
    assert state["sandbox_key"].startswith("hc_test_sk_")
    assert state["production_key"].startswith("hc_live_sk_")
    assert state["database_admin_url"].startswith("postgresql://")
    assert set(state["user"]) == {"email", "password"}
    assert all(state["pids"][role] for role in ("web", "worker", "database", "cache"))


def test_the_five_steps_were_performed(platform: Platform) -> None:
    status, runs = platform.call("GET", "workflows/runs?workflow=uti_screening")
    assert status == 200
    first = runs["data"][-1]
    assert (first["status"], first["output"]["level"]) == ("completed", "likely")
    status, events = platform.call("GET", "events?type=diagnostic.*&limit=100")
    assert "diagnostic.result_ready" in {event["type"] for event in events["data"]}


def test_the_sandbox_has_a_hundred_patients(platform: Platform) -> None:
    status, bundle = platform.call("GET", "fhir/Patient?_total=accurate&_count=1")
    assert (status, bundle["total"] >= 100) == (200, True)


def test_a_killed_worker_loses_no_run(platform: Platform) -> None:
    body = {"workflow_id": "uti_screening", "input": {"patient_id": "pat_camila"}}
    started = [platform.call("POST", "workflows/run", body)[1]["id"] for _ in range(5)]
    for pid in platform.state()["pids"]["worker"]:
        os.killpg(pid, signal.SIGKILL)
    started += [platform.call("POST", "workflows/run", body)[1]["id"] for _ in range(5)]

    def statuses() -> list[str]:
        return [platform.call("GET", f"workflows/runs/{run}")[1]["status"] for run in started]

    wait_until(lambda: not {"queued", "running"} & set(statuses()), 90)
    assert statuses() == ["completed"] * len(started)


def test_a_killed_web_process_comes_back(platform: Platform) -> None:
    before = platform.state()["pids"]["web"]
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    def answers() -> bool:
        try:
            return platform.call("GET", "projects")[0] == 200
        except OutboundError:
            return False

    wait_until(answers, 60)
    assert platform.state()["pids"]["web"] != before


PAUSE = {"id": "pause", "kind": "wait", "with": {"duration": "2s"}}
MAKE = {"resourceType": "Basic", "code": {"text": "resilience"}}
FLOW = {
    "slug": "paused",
    "name": "Paused",
    "steps": [PAUSE, {"id": "make", "kind": "fhir_create", "with": {"resource": MAKE}}],
}


def start_until_answered(platform: Platform, key: str) -> str:
    """Start a run as a client does whose requests may die: again, with the same key."""
    found: list[str] = []

    def answered() -> bool:
        try:
            status, body = platform.call("POST", "workflows/run", {"workflow_id": "paused"}, key)
        except OutboundError:
            return False
        assert status in {202, 409, 503}, body
        if status == 202:
            found.append(body["id"])
        return bool(found)

    wait_until(answered, 60)
    return found[0]


def completed(platform: Platform, run: str) -> bool:
    try:
        status, body = platform.call("GET", f"workflows/runs/{run}")
    except OutboundError:
        return False
    assert status in {200, 503}, body
    return body.get("status") == "completed"


@pytest.mark.parametrize("role", ["scheduler", "cache", "database"])
def test_a_run_that_waits_goes_on_whatever_is_killed_under_it(
    platform: Platform, role: str
) -> None:
    if platform.call("GET", "workflows/paused")[0] == 404:
        status, body = platform.call("POST", "workflows", {**FLOW, "publish": True})
        assert status == 201, body
    before = start_until_answered(platform, f"{role}-before")
    killed = platform.state()["pids"][role]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    after = start_until_answered(platform, f"{role}-after")
    wait_until(lambda: completed(platform, before) and completed(platform, after), 90)
    for run in (before, after):
        steps = platform.call("GET", f"workflows/runs/{run}/steps")[1]["data"]
        assert [(s["step_id"], s["status"]) for s in steps if s["status"] != "lost"] == [
            ("pause", "succeeded"),
            ("make", "succeeded"),
        ]
    assert platform.state()["pids"][role] != killed


def test_status_names_what_runs(platform: Platform) -> None:
    answer = platform.manage("status")
    assert "supervisor" in answer
    assert "not running" not in answer


def test_a_second_start_in_the_same_folder_says_that_it_runs(platform: Platform) -> None:
    assert "already runs" in platform.manage("up", "--detach")


def kill(platform: Platform, role: str) -> None:
    for pid in platform.state()["pids"][role]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_killed_processes_lose_no_notification_and_number_none_twice(platform: Platform) -> None:
    with running_receiver() as receiver:
        body = {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "resilience",
            "criteria": "Observation?code=urn:resilience|told",
            "channel": {
                "type": "rest-hook",
                "endpoint": f"{receiver.url}/hook",
                "payload": "application/fhir+json",
            },
        }
        status, made = platform.call("POST", "fhir/Subscription", body)
        assert status == 201, made
        path = f"fhir/Subscription/{made['id']}"
        wait_until(lambda: platform.call("GET", path)[1]["status"] == "active", 60)
        written = set()
        for number in range(30):
            observation = {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": "urn:resilience", "code": "told"}]},
            }
            status, stored = platform.call("POST", "fhir/Observation", observation)
            assert status == 201, stored
            written.add(stored["id"])
            if number in {5, 15, 25}:
                kill(platform, "worker")

        def told() -> set[str]:
            return {request.path.rpartition("/")[2] for request in receiver.received}

        wait_until(lambda: written <= told(), 120)
        assert told() == written
        _, answer = platform.call("GET", f"{path}/$status")
        told_of = json.dumps(answer)
        assert f'"events-since-subscription-start", "valueString": "{len(written)}"' in told_of


def test_a_killed_web_process_loses_no_audit_of_what_it_answered(platform: Platform) -> None:
    answered = {200: 0, 404: 0}
    for number in range(40):
        if number == 20:
            kill(platform, "web")
        name = "pat_camila" if number % 2 else "nobody_resilient"
        try:
            status, _ = platform.call("GET", f"fhir/Patient/{name}")
        except (OutboundError, ValueError):
            time.sleep(0.5)
            continue
        answered[status] = answered.get(status, 0) + 1

    def answers() -> bool:
        with contextlib.suppress(OutboundError):
            return platform.call("GET", "fhir/metadata")[0] == 200
        return False

    wait_until(answers, 60)
    for name, status in (("pat_camila", 200), ("nobody_resilient", 404)):
        query = f"fhir/AuditEvent?entity=Patient/{name}&subtype=read&_count=200"
        _, bundle = platform.call("GET", query)
        assert len(bundle["entry"]) >= answered[status] > 0
