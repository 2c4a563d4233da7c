"""What an asset brings: its workflows come with the installation, and its agent runs in a step."""

import time
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from assets import services as assets
from assets.models import AgentRun
from fhir import store
from healthcloud.actors import Actor
from healthcloud.api.throttling import valkey
from healthcloud.errors import Conflict
from healthcloud.events.models import Event
from healthcloud.ledger.worker import drain, run_until_idle
from healthcloud.tenancy.scope import Scope, public_scope
from tests.assets.conftest import Quest, fresh_tokens, quest, simulator_url
from tests.workflows.conftest import definition
from workflows import queries, runs, services
from workflows.models import Run, StepRun, Workflow

__all__ = ["fresh_tokens", "quest", "simulator_url"]
AGENT = "agent_diagnostic_v1"


@pytest.fixture
def installed(in_riverside: Scope, alice_actor: Actor, now: datetime) -> Scope:
    """Alice's project with the Diagnostic Agent installed, not deployed."""
    assets.install(asset_id=AGENT, actor=alice_actor, now=now)
    return in_riverside


def screen(actor: Actor, now: datetime, patient: str = "pat_123") -> Run:
    started = runs.start(
        actor=actor, workflow="uti_screening", input={"patient_id": patient}, now=now
    )
    run_until_idle(raising=True)
    return queries.run(started.id)


def test_the_agent_brings_its_workflow_published(installed: Scope) -> None:
    workflow = queries.workflow("uti_screening")
    assert (workflow.published_number, workflow.source) == (1, AGENT)
    definition, problems = services.check(workflow.draft)
    assert definition is not None
    assert [problem.severity for problem in problems] == ["warning"]
    assert "not deployed" in problems[0].message


def test_a_project_keeps_its_own_workflow_of_that_slug(
    in_riverside: Scope, alice_actor: Actor, now: datetime
) -> None:
    own = definition({"id": "a", "kind": "transform"}) | {"slug": "uti_screening"}
    services.create_workflow(definition=own, actor=alice_actor, now=now)
    assets.install(asset_id=AGENT, actor=alice_actor, now=now)
    assert Workflow.objects.get().draft == own


def test_a_run_without_a_deployment_says_what_to_do(
    installed: Scope, alice_actor: Actor, now: datetime
) -> None:
    run = screen(alice_actor, now)
    assert run.status == "failed"
    assert run.error is not None
    assert (run.error["step"], run.error["code"]) == ("screen", "conflict")
    assert "POST /v1/deployments" in run.error["message"]
    assert run.error["retryable"] is False


def test_the_deployed_agent_runs_as_a_step(
    installed: Scope, alice_actor: Actor, now: datetime
) -> None:
    assets.deploy(asset_id=AGENT, actor=alice_actor, now=now)
    run_until_idle()
    patient = {
        "resourceType": "Patient",
        "id": "pat_123",
        "gender": "female",
        "birthDate": "1980-01-01",
    }
    store.update(
        resource_type="Patient", id="pat_123", resource=patient, actor=alice_actor, now=now
    )
    run = screen(alice_actor, now)
    assert run.error is None
    assert run.output["level"] == "insufficient_data"
    types = set(Event.objects.values_list("type", flat=True))
    assert {"diagnostic.result_ready", "workflow.completed"} <= types
    (line,) = queries.log_lines(run)
    assert (line.step, line.message) == ("screen", "screening finished")


def test_a_patient_that_does_not_exist_is_named_by_the_step(
    installed: Scope, alice_actor: Actor, now: datetime
) -> None:
    assets.deploy(asset_id=AGENT, actor=alice_actor, now=now)
    run_until_idle()
    run = screen(alice_actor, now, "pat_nobody")
    assert run.status == "failed"
    assert run.error is not None
    assert run.error["step"] == "screen"
    assert "pat_nobody" in run.error["message"]


def test_an_agent_run_whose_writes_are_refused_has_failed_too(
    installed: Scope, alice_actor: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets.deploy(asset_id=AGENT, actor=alice_actor, now=now)
    run_until_idle()
    patient = {"resourceType": "Patient", "id": "pat_123", "birthDate": "1980-01-01"}
    store.update(
        resource_type="Patient", id="pat_123", resource=patient, actor=alice_actor, now=now
    )

    def refuse(*args: object, **options: object) -> None:
        raise Conflict("Another write was first.")

    monkeypatch.setattr("assets.invocation.commit", refuse)
    run = screen(alice_actor, now)
    assert (run.status, run.error["code"]) == ("failed", "conflict")
    agent_run = AgentRun.objects.get()
    assert (agent_run.status, agent_run.error["code"]) == ("failed", "write_refused")


def test_a_run_waits_for_a_deployment_that_is_still_starting(
    installed: Scope, alice_actor: Actor, now: datetime
) -> None:
    patient = {"resourceType": "Patient", "id": "pat_123", "birthDate": "1980-01-01"}
    store.update(
        resource_type="Patient", id="pat_123", resource=patient, actor=alice_actor, now=now
    )
    assets.deploy(asset_id=AGENT, actor=alice_actor, now=now)
    started = runs.start(
        actor=alice_actor, workflow="uti_screening", input={"patient_id": "pat_123"}, now=now
    )
    with public_scope():
        drain(["steps"], limit=5)
    step = StepRun.objects.get(run=started.id, path="screen")
    assert (step.status, step.error["code"]) == ("retrying", "deployment_starting")
    run_until_idle(raising=True)  # the deployment becomes active
    run_until_idle(ahead=timedelta(minutes=2), raising=True)
    assert queries.run(started.id).status == "completed"


def test_a_step_waits_for_its_turn_at_a_connector(
    in_riverside: Scope, alice_actor: Actor, now: datetime, quest: Quest
) -> None:
    connector = "connector_quest_diagnostics_v1"
    config = {"calls_per_minute": 60}
    assets.install(asset_id=connector, actor=alice_actor, now=now)
    deployed = assets.deploy(asset_id=connector, config=config, actor=alice_actor, now=now)
    run_until_idle()
    fetch = {
        "id": "fetch",
        "kind": "connector",
        "with": {"connector": connector, "action": "retrieve_results", "input": {}},
        "retry": {"max_attempts": 1},
    }
    services.create_workflow(definition=definition(fetch), actor=alice_actor, now=now, publish=True)
    budget = f"hc:budget:{{{deployed.id}}}"
    valkey().set(budget, str((time.time() + 600) * 1000), ex=600)
    started = runs.start(actor=alice_actor, workflow="flow", input={}, now=now)
    run_until_idle(["steps"], raising=True)
    attempt = StepRun.objects.get(run=started.id)
    assert (attempt.status, attempt.error["code"]) == ("retrying", "rate_budget_spent")
    assert attempt.due_at is not None
    assert 580 < (attempt.due_at - timezone.now()).total_seconds() <= 601
    for name in valkey().scan_iter(f"{budget}*"):
        valkey().delete(name)
    run_until_idle(["steps"], raising=True, ahead=timedelta(seconds=601))
    assert queries.run(started.id).status == "completed"
    done = StepRun.objects.get(run=started.id, status="succeeded")
    assert (done.step, done.attempt) == ("fetch", 2)
