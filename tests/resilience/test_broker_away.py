"""A worker whose broker is away does what is due all the same, and hears what is asked for."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings

from healthcloud.actors import Actor
from healthcloud.runtime.ports import free_port
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant
from tests.waiting import wait_until
from workflows import queries, runs, services

__all__ = ["live_scope", "live_tenant"]

pytestmark = pytest.mark.resilience
ROOT = Path(__file__).resolve().parents[2]
DEFINITION = {
    "slug": "note",
    "name": "Note",
    "steps": [
        {
            "id": "make",
            "kind": "fhir_create",
            "with": {"resource": {"resourceType": "Basic", "code": {"text": "made"}}},
        }
    ],
}


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Celery worker at whose broker's address nobody listens."""
    owner = settings.DATABASE_OWNER
    login = f"{quote(str(owner['USER']))}:{quote(str(owner['PASSWORD']))}"
    url = f"postgresql://{login}@{owner['HOST']}:{owner['PORT']}/{owner['NAME']}"
    command = [sys.executable, "-m", "celery", "--app=healthcloud.celery", "worker"]
    command += ["--concurrency=1", "--queues=control,steps", "--without-mingle"]
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "BROKER_URL": f"redis://127.0.0.1:{free_port()}/0",
    }
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)


def test_runs_are_carried_while_the_broker_is_away(
    live_tenant: Scope, worker: subprocess.Popen[bytes], alice_actor: Actor, now: datetime
) -> None:
    def start() -> str:
        with tenant_scope(live_tenant):
            return runs.start(actor=alice_actor, workflow="note", input={}, now=now).id

    def is_over(run: str) -> bool:
        with tenant_scope(live_tenant):
            return queries.run(run).status == "completed"

    with tenant_scope(live_tenant):
        services.create_workflow(definition=DEFINITION, actor=alice_actor, now=now, publish=True)
    first = start()
    wait_until(lambda: is_over(first), 120)
    second = start()
    wait_until(lambda: is_over(second), 60)
    worker.terminate()
    assert worker.wait(timeout=120) == 0
