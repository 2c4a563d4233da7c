"""Each template is valid as it stands, and runs to its end in the sandbox."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from fhir import store
from healthcloud.actors import Actor
from healthcloud.events.models import Event
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope
from tests.healthcloud.conftest import client_for
from tests.workflows.conftest import Json
from workflows import queries, runs, services, templates
from workflows.models import Run

__all__ = ["client_for"]
IDS = sorted(template["id"] for template in templates.all_templates())


def start(template_id: str, input: Json, actor: Actor, **answers: object) -> Run:
    definition = templates.complete(template_id, answers)
    services.create_workflow(definition=definition, actor=actor, now=timezone.now(), publish=True)
    run = runs.start(
        actor=actor, workflow=definition["slug"], input=input, now=timezone.now(), trigger="test"
    )
    run_until_idle(["steps"])
    return queries.run(run.id)


def put(resource: Json, actor: Actor, now: datetime) -> str:
    stored = store.update(
        resource_type=resource["resourceType"],
        id=resource["id"],
        resource=resource,
        actor=actor,
        now=now,
    )
    return stored.reference


@pytest.fixture
def patient(in_riverside: Scope, alice_actor: Actor, now: datetime) -> str:
    return put({"resourceType": "Patient", "id": "pat_1", "gender": "female"}, alice_actor, now)


def observation(flag: str | None = None) -> Json:
    resource: Json = {
        "resourceType": "Observation",
        "id": "obs-1",
        "status": "final",
        "subject": {"reference": "Patient/pat_1"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "2823-3"}]},
    }
    if flag:
        system = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
        resource["interpretation"] = [{"coding": [{"system": system, "code": flag}]}]
    return resource


@pytest.mark.parametrize("template_id", IDS)
def test_a_template_is_valid_as_it_stands(in_riverside: Scope, template_id: str) -> None:
    definition, problems = services.check(templates.complete(template_id, {}))
    assert definition is not None, problems
    assert [p for p in problems if "not deployed" not in p.message] == []


def test_there_are_seven(in_riverside: Scope) -> None:
    assert len(IDS) == 7


@pytest.mark.parametrize(("flag", "route"), [("H", "Abnormal"), (None, "otherwise")])
def test_results_are_routed_by_their_flag(
    patient: str, alice_actor: Actor, now: datetime, flag: str | None, route: str
) -> None:
    put(observation(flag), alice_actor, now)
    run = start("lab_result_routing", {"reference": "Observation/obs-1"}, alice_actor)
    assert run.error is None
    assert run.output is not None
    assert run.output["route"] == route
    assert bool(run.output["task"]) is (route == "Abnormal")


def test_a_critical_value_waits_for_a_clinician_and_escalates(
    patient: str, alice_actor: Actor, now: datetime
) -> None:
    put(observation("HH"), alice_actor, now)
    run = start("lab_result_routing", {"reference": "Observation/obs-1"}, alice_actor)
    task = queries.tasks().get(run=run)
    with pytest.raises(runs.NotTheirDecision):
        runs.decide_task(
            task_id=task.id, decision="approved", actor=alice_actor, now=now,
            roles=frozenset({"viewer"}), data={"action": "called"},
        )  # fmt: skip
    run_until_idle(["steps"], ahead=timedelta(minutes=11))
    assert queries.task(task.id).escalated_to == "admin"
    assert Event.objects.filter(type="task.escalated").count() == 1
    assert queries.run(run.id).status == "waiting"
    runs.decide_task(
        task_id=task.id, decision="approved", actor=alice_actor, now=now,
        roles=frozenset({"clinician"}), data={"action": "called"},
    )  # fmt: skip
    run_until_idle(["steps"])
    assert queries.run(run.id).status == "completed"
    assert Event.objects.filter(type="custom.lab_result.acknowledged").count() == 1


def test_a_critical_value_that_nobody_acknowledges_is_told(
    patient: str, alice_actor: Actor, now: datetime
) -> None:
    put(observation("LL"), alice_actor, now)
    run = start("lab_result_routing", {"reference": "Observation/obs-1"}, alice_actor)
    run_until_idle(["steps"], ahead=timedelta(minutes=11))
    run_until_idle(["steps"], ahead=timedelta(minutes=31))
    assert queries.run(run.id).status == "completed"
    told = Event.objects.get(type="custom.lab_result.unacknowledged")
    assert told.severity == "critical"


def test_a_follow_up_ends_when_the_test_was_repeated(
    patient: str, alice_actor: Actor, now: datetime
) -> None:
    given = {"patient_id": "pat_1", "code": "http://loinc.org|2823-3"}
    run = start("abnormal_result_follow_up", given, alice_actor)
    assert run.status == "waiting"
    run_until_idle(["steps"], ahead=timedelta(days=1, minutes=1))
    assert queries.run(run.id).status == "waiting"
    put(observation(), alice_actor, timezone.now() + timedelta(days=1))
    run_until_idle(["steps"], ahead=timedelta(days=2, minutes=2))
    ended = queries.run(run.id)
    assert ended.output is not None
    assert ended.output["repeated"] is True
    task = store.read(resource_type="Task", id=ended.output["task"].removeprefix("Task/"))
    assert task.resource["status"] == "completed"


def test_a_follow_up_that_never_comes_is_overdue(patient: str, alice_actor: Actor) -> None:
    given = {"patient_id": "pat_1", "code": "http://loinc.org|2823-3"}
    run = start("abnormal_result_follow_up", given, alice_actor, rounds=2)
    for days in (1, 2):
        run_until_idle(["steps"], ahead=timedelta(days=days, minutes=days))
    ended = queries.run(run.id)
    assert (ended.status, (ended.output or {})["repeated"]) == ("completed", False)
    assert Event.objects.filter(type="custom.follow_up.overdue").count() == 1


def test_a_feed_is_filed_and_what_is_wrong_is_listed(
    patient: str, alice_actor: Actor, now: datetime
) -> None:
    good = {"id": "r1", "patient_id": "pat_1", "code": "2823-3", "value": 4.1, "unit": "mmol/L"}
    results = [good, {**good, "id": "r2"}, {"id": "r3"}, good]
    run = start("results_feed_intake", {"results": results}, alice_actor, concurrency=1)
    assert run.error is None
    assert run.output is not None
    filed = run.output["filed"]
    assert filed[0] == filed[3]
    assert filed[1].startswith("Observation/")
    assert filed[2] is None
    refused = run.output["refused"]
    assert [item["error"]["code"] for item in refused] == ["incomplete_result"]


REFERRAL = {
    "resourceType": "ServiceRequest",
    "id": "ref-1",
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/pat_1"},
}


@pytest.mark.parametrize(
    ("decision", "status"),
    [(None, "completed"), ("approved", "completed"), ("rejected", "revoked")],
)
def test_a_referral_is_closed_by_a_note_or_by_a_person(
    patient: str, alice_actor: Actor, now: datetime, decision: str | None, status: str
) -> None:
    put(REFERRAL, alice_actor, now)
    run = start("referral_loop_closure", {"referral": "ServiceRequest/ref-1"}, alice_actor)
    if decision is None:
        runs.signal(run_id=run.id, name="note_received", payload={}, actor=alice_actor, now=now)
    else:
        run_until_idle(["steps"], ahead=timedelta(days=31))
        task = queries.tasks().get(run=run)
        runs.decide_task(
            task_id=task.id,
            decision=decision,
            actor=alice_actor,
            now=now,
            roles=frozenset({"clinician"}),
        )
    run_until_idle(["steps"])
    assert queries.run(run.id).error is None
    found = store.read(resource_type="ServiceRequest", id="ref-1").resource
    assert found["status"] == status


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_cohort_is_screened_for_gaps(
    in_riverside: Scope, alice_actor: Actor, now: datetime, count: int
) -> None:
    code = {"coding": [{"system": "http://snomed.info/sct", "code": "44054006"}]}
    for number in range(count):
        subject = {"reference": f"Patient/p{number}"}
        put({"resourceType": "Patient", "id": f"p{number}"}, alice_actor, now)
        condition = {"resourceType": "Condition", "id": f"c{number}", "subject": subject}
        put({**condition, "code": code}, alice_actor, now)
    test: Json = {
        **observation(),
        "subject": {"reference": "Patient/p0"},
        "code": {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]},
        "effectiveDateTime": "2026-06-01",
    }
    if count:
        put(test, alice_actor, now)
    run = start("nightly_cohort_screening", {}, alice_actor)
    assert run.error is None
    assert run.output == {"screened": count, "gaps": max(0, count - 1), "failed": 0}
    assert Event.objects.filter(type="care_gap.opened").count() == max(0, count - 1)


def test_templates_are_listed_and_made_into_workflows(
    client_for: Callable[..., APIClient],
) -> None:
    alice = client_for("riverside", project="screening")
    assert len(alice.get("/v1/workflows/templates").json()["data"]) == 7
    address = "/v1/workflows/templates/nightly_cohort_screening"
    body = {"answers": {"measure": "a1c"}, "slug": "nightly", "publish": True}
    made = alice.post(address, body, format="json").json()
    assert (made["slug"], made["published_version"]) == ("nightly", 1)
    assert "[[" not in str(made["definition"])
    wrong = alice.post(address, {"answers": {"measure": "A 1"}}, format="json")
    assert wrong.status_code == 422
    assert alice.post("/v1/workflows/templates/none", {}, format="json").status_code == 404
