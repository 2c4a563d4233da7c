"""Jobs go on after every crash, end once, and are seen by those who may."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from fhir import jobs
from fhir.jobs import kinds
from fhir.jobs.service import EXPIRY_KIND
from healthcloud.actors import Actor
from healthcloud.audit.models import AuditEvent
from healthcloud.errors import BadRequest
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope, tenant_scope

ClientFor = Callable[..., APIClient]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_ledger")]


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A kind of job that writes one file a step, three of them."""
    seen: list[int] = []

    def count(job: jobs.Job, now: datetime) -> jobs.Step:
        step = int(job.position.get("step", 0))
        seen.append(step)
        if job.request.get("fail") == step:
            raise BadRequest("The third is no good.")
        if job.request.get("crash") == seen:
            raise RuntimeError("killed")
        jobs.add_file(job.id, role="output", type="Patient", count=1, content=b'{"n":%d}' % step)
        if step == 2:
            return jobs.Finished({"resourceType": "Parameters"})
        return jobs.Unfinished({"step": step + 1}, f"{step + 1} of 3")

    monkeypatch.setitem(kinds._kinds, "count", count)
    return seen


@pytest.fixture
def now() -> datetime:
    """The real moment: the ledger has the database's clock."""
    return timezone.now()


def start(scope: Scope, actor: Actor, now: datetime, **request: Any) -> jobs.Job:
    with tenant_scope(scope):
        return jobs.start(
            kind="count", request=request, scopes=["Patient:read"], actor=actor, now=now
        )


def test_a_job_is_carried_to_its_end_and_answers_its_result(
    riverside_scope: Scope, alice_actor: Actor, now: datetime, alice_client: APIClient
) -> None:
    job = start(riverside_scope, alice_actor, now)
    waiting = alice_client.get(f"/v1/fhir/_jobs/{job.id}")
    assert (waiting.status_code, waiting["X-Progress"]) == (202, "queued")
    assert int(waiting["Retry-After"]) > 0
    run_until_idle()
    done = alice_client.get(f"/v1/fhir/_jobs/{job.id}")
    assert (done.status_code, done.json()) == (200, {"resourceType": "Parameters"})
    part = alice_client.get(f"/v1/fhir/_jobs/{job.id}/1", HTTP_ACCEPT="application/fhir+ndjson")
    assert (part.content, part["Content-Type"]) == (b'{"n":1}', "application/fhir+ndjson")
    assert alice_client.get(f"/v1/fhir/_jobs/{job.id}/3").status_code == 404
    with tenant_scope(riverside_scope):
        actions = AuditEvent.objects.filter(target_id=job.id).values_list("action", flat=True)
        assert sorted(actions) == ["fhir.job_done", "fhir.job_start"]


def test_a_step_that_crashed_is_done_again_and_leaves_nothing_twice(
    riverside_scope: Scope, alice_actor: Actor, now: datetime, counting: list[int]
) -> None:
    job = start(riverside_scope, alice_actor, now, crash=[0, 1])
    with pytest.raises(RuntimeError):
        run_until_idle()
    DueWork.objects.filter(state="running").update(state="ready", lease_until=None)
    run_until_idle()
    assert counting == [0, 1, 1, 2]
    with tenant_scope(riverside_scope):
        assert [file.number for file in jobs.files(job.id)] == [0, 1, 2]


def test_a_refusal_ends_the_job_with_its_outcome(
    riverside_scope: Scope, alice_actor: Actor, now: datetime, alice_client: APIClient
) -> None:
    job = start(riverside_scope, alice_actor, now, fail=1)
    run_until_idle()
    answer = alice_client.get(f"/v1/fhir/_jobs/{job.id}")
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["diagnostics"] == "The third is no good."


def test_a_cancelled_job_is_gone_with_its_files(
    riverside_scope: Scope, alice_actor: Actor, now: datetime, alice_client: APIClient
) -> None:
    job = start(riverside_scope, alice_actor, now)
    assert alice_client.delete(f"/v1/fhir/_jobs/{job.id}").status_code == 202
    run_until_idle()
    assert alice_client.get(f"/v1/fhir/_jobs/{job.id}").status_code == 404
    with tenant_scope(riverside_scope):
        assert jobs.files(job.id) == []


def test_charlie_finds_no_job_of_alice_and_ends_none(
    riverside_scope: Scope, alice_actor: Actor, now: datetime, charlie_client: APIClient
) -> None:
    job = start(riverside_scope, alice_actor, now)
    for address in (f"/v1/fhir/_jobs/{job.id}", f"/v1/fhir/_jobs/{job.id}/0"):
        assert charlie_client.get(address).status_code == 404
    assert charlie_client.delete(f"/v1/fhir/_jobs/{job.id}").status_code == 404
    with tenant_scope(riverside_scope):
        assert jobs.require(job.id).state == "queued"


def test_a_key_without_the_scopes_of_the_job_sees_nothing_of_it(
    riverside_scope: Scope, alice_actor: Actor, now: datetime, client_for: ClientFor
) -> None:
    job = start(riverside_scope, alice_actor, now)
    run_until_idle()
    other = client_for(scopes=("Observation:read",))
    assert other.get(f"/v1/fhir/_jobs/{job.id}").status_code == 403
    assert other.get(f"/v1/fhir/_jobs/{job.id}/0").status_code == 403
    assert other.delete(f"/v1/fhir/_jobs/{job.id}").status_code == 403
    assert client_for(scopes=("Patient:read",)).get(f"/v1/fhir/_jobs/{job.id}").status_code == 200


def test_a_job_is_forgotten_when_its_time_is_over(
    riverside_scope: Scope, alice_actor: Actor, now: datetime
) -> None:
    job = start(riverside_scope, alice_actor, now)
    run_until_idle()
    due = DueWork.objects.get(kind=EXPIRY_KIND)
    assert due.due_at == now + timedelta(hours=24)
    run_until_idle(ahead=timedelta(days=3650))
    with tenant_scope(riverside_scope):
        assert jobs.find(job.id) is None
        assert jobs.files(job.id) == []
