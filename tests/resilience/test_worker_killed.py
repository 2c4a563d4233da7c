"""A worker that is killed in the middle of a run: another one finishes it, and nothing doubles."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings

from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant
from tests.waiting import wait_until
from workflows import queries, runs, services
from workflows.models import StepRun

__all__ = ["live_scope", "live_tenant"]

pytestmark = pytest.mark.resilience
ROOT = Path(__file__).resolve().parents[2]
LEASE_SECONDS = 2
STEPS = 400


def _start_worker(*queues: str) -> subprocess.Popen[str]:
    owner = settings.DATABASE_OWNER
    login = f"{quote(str(owner['USER']))}:{quote(str(owner['PASSWORD']))}"
    url = f"postgresql://{login}@{owner['HOST']}:{owner['PORT']}/{owner['NAME']}"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.resilience.worker_process", *queues],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "HEALTHCLOUD_LEASE_SECONDS": str(LEASE_SECONDS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def start_worker() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start worker processes that are gone after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*queues: str) -> subprocess.Popen[str]:
        started.append(_start_worker(*queues))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(timeout=10)
        assert process.stdout is not None
        process.stdout.close()


def _definition() -> dict[str, object]:
    """Return many steps, each of which creates a resource of its own."""
    resource = {"resourceType": "Basic", "code": {"text": "step"}}
    steps = [
        {
            "id": f"make_{number}",
            "kind": "fhir_create",
            "with": {"resource": {**resource, "identifier": [{"value": str(number)}]}},
        }
        for number in range(STEPS)
    ]
    return {"slug": "long", "name": "Long", "steps": steps}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_another_worker_takes_over_and_no_effect_is_lost_or_doubled(
    live_tenant: Scope,
    start_worker: Callable[[], subprocess.Popen[str]],
    alice_actor: Actor,
    now: datetime,
    how: signal.Signals,
) -> None:
    with tenant_scope(live_tenant):
        services.create_workflow(definition=_definition(), actor=alice_actor, now=now, publish=True)
        run = runs.start(actor=alice_actor, workflow="long", input={}, now=now)

    def finished_steps() -> int:
        with tenant_scope(live_tenant):
            return StepRun.objects.filter(run=run.id, status="succeeded").count()

    def is_over() -> bool:
        with tenant_scope(live_tenant):
            return queries.run(run.id).final

    first = start_worker()
    wait_until(lambda: finished_steps() >= 3, 20)
    first.send_signal(how)
    done = finished_steps()
    assert done < STEPS
    start_worker()
    wait_until(lambda: finished_steps() > done + 1, LEASE_SECONDS + 4)
    if how == signal.SIGSTOP:
        first.send_signal(signal.SIGCONT)  # it wakes past its lease and must not commit
    wait_until(is_over, 60)
    with tenant_scope(live_tenant):
        from fhir.search import search

        assert queries.run(run.id).status == "completed"
        rows = StepRun.objects.filter(run=run.id)
        assert sorted(rows.values_list("step", flat=True)) == sorted(
            f"make_{number}" for number in range(STEPS)
        )
        found = search(resource_type="Basic", query="_summary=count", now=now)
        assert found.total == STEPS
