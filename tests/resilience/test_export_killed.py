"""A worker that is killed in the middle of an export: another one finishes it, nothing doubles."""

import json
import signal
import subprocess
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.utils import timezone

from fhir import jobs, store
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.fhir.operations.test_export import client_of, kick_off
from tests.healthcloud.conftest import live_scope, live_tenant
from tests.resilience.test_worker_killed import start_worker
from tests.waiting import wait_until

__all__ = ["live_scope", "live_tenant", "start_worker"]

pytestmark = pytest.mark.resilience
PATIENTS = 300


@pytest.fixture
def now() -> datetime:
    """The real moment: the ledger has the database's clock."""
    return timezone.now()


def test_a_killed_export_is_finished_with_every_line_once(
    live_tenant: Scope,
    start_worker: Callable[..., subprocess.Popen[str]],
    alice_actor: Actor,
    now: datetime,
) -> None:
    types = ("Patient", "Basic", "Group", "Device")
    with tenant_scope(live_tenant):
        resources: list[dict[str, Any]] = [
            {"resourceType": "Patient", "id": f"p{n}"} for n in range(PATIENTS)
        ]
        resources += [
            {"resourceType": "Basic", "id": f"b{n}", "code": {"text": "x"}} for n in (1, 2)
        ]
        resources += [{"resourceType": "Group", "id": "g", "type": "person", "actual": True}]
        resources += [{"resourceType": "Device", "id": "d"}]
        store.write_many(resources=resources, actor=alice_actor, now=now)
    client = client_of(live_tenant)
    place = kick_off(client, "$export")
    job_id = place.rpartition("/")[2]

    def position() -> int:
        with tenant_scope(live_tenant):
            return int(jobs.require(job_id).position.get("at", 0))

    first = start_worker("bulk")
    wait_until(lambda: position() >= 3, 30)
    first.send_signal(signal.SIGKILL)
    assert client.get(place).status_code == 202
    start_worker("bulk")
    wait_until(lambda: client.get(place).status_code == 200, 60)
    lines = [
        json.loads(line)
        for entry in client.get(place).json()["output"]
        for line in client.get(entry["url"].removeprefix("http://testserver")).content.splitlines()
    ]
    found = [f"{line['resourceType']}/{line['id']}" for line in lines]
    assert len(found) == len(set(found)) == PATIENTS + 4
    assert {line["resourceType"] for line in lines} == set(types)
