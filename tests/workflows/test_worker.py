"""Runs from the service that starts them to their end, through the ledger and the worker."""

from datetime import timedelta

import pytest

from healthcloud.actors import Actor
from healthcloud.events.models import Event
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.scope import Scope
from tests.workflows.conftest import Runner, definition
from workflows import queries, retrying, runs

PATIENT = {"resourceType": "Patient", "id": "pat_1", "gender": "female"}


def transform(step_id: str, **data: object) -> dict[str, object]:
    return {"id": step_id, "kind": "transform", "with": data}


def test_steps_run_in_order_and_the_output_is_resolved(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            transform("one", value="{{ input.n }}"),
            transform("two", text="n is {{ steps.one.output.value }}"),
            output={"text": "{{ steps.two.output.text }}", "n": "{{ input.n }}"},
        ),
        {"n": 3},
    )
    assert (run.status, run.output) == ("completed", {"text": "n is 3", "n": 3})
    assert [(s.step, s.status, s.sequence) for s in queries.steps(run)] == [
        ("one", "succeeded", 1),
        ("two", "succeeded", 2),
    ]


def test_events_tell_the_run_by_ids_only(run_workflow: Runner) -> None:
    run = run_workflow(definition(transform("one", secret="{{ input.name }}")), {"name": "Ann Lee"})
    events = [e for e in Event.objects.order_by("position") if e.payload.get("run_id") == run.id]
    assert [event.type for event in events] == [
        "workflow.started",
        "workflow.step.completed",
        "workflow.completed",
    ]
    assert "Ann" not in str([event.payload for event in events])


def test_a_resource_is_created_read_and_found(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            {
                "id": "make",
                "kind": "fhir_create",
                "with": {"resource": {"resourceType": "Patient", "gender": "{{ input.gender }}"}},
            },
            {
                "id": "read",
                "kind": "fhir_read",
                "with": {"reference": "{{ steps.make.output.reference }}"},
            },
            {
                "id": "find",
                "kind": "fhir_search",
                "with": {"query": "Patient?gender={{ input.gender }}"},
            },
            output={
                "gender": "{{ steps.read.output.gender }}",
                "found": "{{ steps.find.output.resources.count() }}",
            },
        ),
        {"gender": "female"},
    )
    assert run.error is None
    assert run.output == {"gender": "female", "found": 1}


def test_a_missing_patient_fails_the_run_with_an_error_that_names_it(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            {
                "id": "read",
                "kind": "fhir_read",
                "with": {"reference": "Patient/{{ input.patient_id }}"},
            }
        ),
        {"patient_id": "pat_nobody"},
    )
    assert run.status == "failed"
    assert run.error is not None
    assert (run.error["step"], run.error["code"]) == ("read", "not_found")
    assert "Patient/pat_nobody" in run.error["message"]


def test_an_interpolated_value_cannot_add_parameters_to_a_search(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            {"id": "make", "kind": "fhir_create", "with": {"resource": PATIENT}},
            {"id": "find", "kind": "fhir_search", "with": {"query": "Patient?_id={{ input.id }}"}},
            output={"found": "{{ steps.find.output.resources.count() }}"},
        ),
        {"id": "nobody&gender=female"},
    )
    assert run.output == {"found": 0}


@pytest.mark.parametrize(
    ("level", "taken"), [("likely", "yes"), ("unlikely", "no"), ("unclear", None)]
)
def test_a_decision_takes_the_first_branch_that_holds(
    run_workflow: Runner, level: str, taken: str | None
) -> None:
    run = run_workflow(
        definition(
            {
                "id": "act",
                "kind": "decision",
                "branches": [
                    {"when": "input.level = 'likely'", "steps": [transform("yes", x=1)]},
                    {"when": "input.level = 'unlikely'", "steps": [transform("no", x=2)]},
                ],
                "otherwise": [],
            },
            output={"yes": "{{ coalesce(steps.yes.output.x, 0) }}"},
        ),
        {"level": level},
    )
    ran = [step.step for step in queries.steps(run)]
    assert ran == ["act", taken] if taken else ["act"]
    assert run.output == {"yes": 1 if taken == "yes" else 0}


def test_an_error_can_be_handled_by_steps_that_see_it(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            {
                "id": "read",
                "kind": "fhir_read",
                "with": {"reference": "Patient/nobody"},
                "on_error": [transform("told", code="{{ steps.read.error.code }}")],
            },
            output={"code": "{{ coalesce(steps.told.output.code, 'none') }}"},
        )
    )
    assert (run.status, run.output) == ("completed", {"code": "not_found"})


def test_an_expression_that_fails_is_an_error_of_its_step(run_workflow: Runner) -> None:
    run = run_workflow(definition(transform("bad", x="text {{ input.list }}")), {"list": [{}, {}]})
    assert run.error is not None
    assert (run.error["step"], run.error["code"]) == ("bad", "not_text")


def test_a_wait_lets_go_of_the_worker_and_goes_on_when_due(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            {"id": "pause", "kind": "wait", "with": {"duration": "2h"}}, transform("end", x=1)
        )
    )
    assert run.status == "waiting"
    assert run.resume_at is not None
    assert run_until_idle(["steps"], ahead=timedelta(hours=1)) == 0
    assert run_until_idle(["steps"], ahead=timedelta(hours=3)) == 1
    assert queries.run(run.id).status == "completed"


def test_a_wait_can_be_resumed_early(run_workflow: Runner, alice_actor: Actor, now: object) -> None:
    run = run_workflow(definition({"id": "pause", "kind": "wait", "with": {"duration": "2h"}}))
    runs.resume(run_id=run.id, actor=alice_actor, now=now)  # type: ignore[arg-type]
    run_until_idle(["steps"])
    assert queries.run(run.id).status == "completed"


def test_a_signal_wakes_the_run_and_carries_data(
    run_workflow: Runner, alice_actor: Actor, now: object
) -> None:
    run = run_workflow(
        definition(
            {"id": "lab", "kind": "wait", "with": {"signal": "result", "timeout": "1d"}},
            output={"value": "{{ steps.lab.output.payload.value }}"},
        )
    )
    assert run.status == "waiting"
    runs.signal(run_id=run.id, name="other", payload=None, actor=alice_actor, now=now)  # type: ignore[arg-type]
    run_until_idle(["steps"])
    assert queries.run(run.id).status == "waiting"
    runs.signal(run_id=run.id, name="result", payload={"value": 7}, actor=alice_actor, now=now)  # type: ignore[arg-type]
    run_until_idle(["steps"])
    assert queries.run(run.id).output == {"value": 7}
    waiting = Event.objects.filter(type="workflow.waiting")
    assert waiting.count() == 1


def test_each_signal_ends_one_wait(run_workflow: Runner, alice_actor: Actor, now: object) -> None:
    first, second, third = (
        {"id": name, "kind": "wait", "with": {"signal": "go"}} for name in ("a", "b", "c")
    )
    run = run_workflow(definition(first, second, third))
    runs.signal(run_id=run.id, name="go", payload=1, actor=alice_actor, now=now)  # type: ignore[arg-type]
    run_until_idle(["steps"])
    assert queries.run(run.id).status == "waiting"
    for payload in (2, 3):
        runs.signal(run_id=run.id, name="go", payload=payload, actor=alice_actor, now=now)  # type: ignore[arg-type]
    run_until_idle(["steps"])
    done = [(s.step, s.output["payload"]) for s in queries.steps(run) if s.output]
    assert done == [("a", 1), ("b", 2), ("c", 3)]
    assert queries.run(run.id).status == "completed"


def test_a_signal_that_does_not_come_in_time_fails_the_step(run_workflow: Runner) -> None:
    run = run_workflow(
        definition({"id": "lab", "kind": "wait", "with": {"signal": "result", "timeout": "1h"}})
    )
    run_until_idle(["steps"], ahead=timedelta(hours=2))
    failed = queries.run(run.id)
    assert failed.error is not None
    assert failed.error["code"] == "wait_timeout"


APPROVAL = {
    "id": "ask",
    "kind": "approval",
    "with": {
        "title": "Treat {{ input.patient_id }}?",
        "form": {
            "type": "object",
            "required": ["dose"],
            "properties": {"dose": {"type": "integer"}},
        },
        "deadline": "2d",
        "role": "clinician",
    },
}


def test_an_approval_waits_for_a_person_and_hands_on_the_decision(
    run_workflow: Runner, alice_actor: Actor, now: object
) -> None:
    run = run_workflow(
        definition(APPROVAL, output={"dose": "{{ steps.ask.output.data.dose }}"}),
        {"patient_id": "pat_1"},
    )
    task = queries.tasks().get(run=run)
    assert (run.status, task.title, task.status) == ("waiting", "Treat pat_1?", "open")
    with pytest.raises(runs.InvalidDecision):
        runs.decide_task(
            task_id=task.id,
            decision="approved",
            actor=alice_actor,
            now=now,
            roles=frozenset({"owner"}),
            data={},
        )  # type: ignore[arg-type]
    with pytest.raises(runs.NotTheirDecision):
        runs.decide_task(
            task_id=task.id,
            decision="approved",
            actor=alice_actor,
            now=now,
            roles=frozenset({"developer"}),
        )  # type: ignore[arg-type]
    runs.decide_task(
        task_id=task.id,
        decision="approved",
        actor=alice_actor,
        now=now,
        roles=frozenset({"owner"}),
        data={"dose": 3},
    )  # type: ignore[arg-type]
    run_until_idle(["steps"])
    assert queries.run(run.id).output == {"dose": 3}
    with pytest.raises(runs.TaskIsDecided):
        runs.decide_task(
            task_id=task.id, decision="rejected", actor=alice_actor, now=now, roles=frozenset()
        )  # type: ignore[arg-type]


def test_an_approval_past_its_deadline_takes_its_timeout_branch(run_workflow: Runner) -> None:
    run = run_workflow(definition({**APPROVAL, "on_timeout": [transform("late", x=1)]}))
    run_until_idle(["steps"], ahead=timedelta(days=3))
    assert queries.run(run.id).status == "completed"
    assert [step.step for step in queries.steps(run)] == ["ask", "late"]
    assert queries.tasks().get(run=run).status == "expired"


def test_cancel_wins_over_a_waiting_run(
    run_workflow: Runner, alice_actor: Actor, now: object
) -> None:
    run = run_workflow(definition(APPROVAL))
    runs.cancel(run_id=run.id, actor=alice_actor, now=now)  # type: ignore[arg-type]
    run_until_idle(["steps"], ahead=timedelta(days=3))
    canceled = queries.run(run.id)
    assert (canceled.status, canceled.error) == ("canceled", None)
    assert queries.tasks().get(run=run).status == "canceled"
    with pytest.raises(runs.RunIsOver):
        runs.cancel(run_id=run.id, actor=alice_actor, now=now)  # type: ignore[arg-type]


def test_a_retry_reuses_what_finished_and_repeats_what_failed(
    run_workflow: Runner, alice_actor: Actor, now: object, in_riverside: Scope
) -> None:
    from fhir import store

    run = run_workflow(
        definition(
            transform("first", x=1),
            {"id": "read", "kind": "fhir_read", "with": {"reference": "Patient/pat_1"}},
        )
    )
    assert run.status == "failed"
    store.update(resource_type="Patient", id="pat_1", resource=PATIENT, actor=alice_actor, now=now)  # type: ignore[arg-type]
    retrying.retry(run_id=run.id, actor=alice_actor, now=now)  # type: ignore[arg-type]
    run_until_idle(["steps"])
    assert queries.run(run.id).status == "completed"
    rows = [(s.step, s.attempt, s.status, s.superseded) for s in queries.steps(run)]
    assert rows == [
        ("first", 1, "succeeded", False),
        ("read", 1, "failed", True),
        ("read", 2, "succeeded", False),
    ]


def test_fail_and_stop_end_the_run(run_workflow: Runner) -> None:
    failed = run_workflow(
        definition(
            {
                "id": "no",
                "kind": "fail",
                "with": {"message": "not for {{ input.x }}", "code": "refused"},
            }
        ),
        {"x": "us"},
    )
    assert failed.error is not None
    assert (failed.error["code"], failed.error["message"]) == ("refused", "not for us")
    stopped = run_workflow(
        {
            **definition(
                {"id": "end", "kind": "stop", "with": {"output": {"ok": True}}},
                transform("never", x=1),
            ),
            "slug": "other",
        }
    )
    assert (stopped.status, stopped.output) == ("completed", {"ok": True})
    assert [step.step for step in queries.steps(stopped)] == ["end"]


def test_a_skipped_step_is_recorded_and_passed_over(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            {**transform("maybe", x=1), "skip_if": "input.skip = true"}, transform("end", x=2)
        ),
        {"skip": True},
    )
    assert [(s.step, s.status) for s in queries.steps(run)] == [
        ("maybe", "skipped"),
        ("end", "succeeded"),
    ]


def test_an_event_of_its_own_is_published_with_the_step(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            {
                "id": "tell",
                "kind": "emit",
                "with": {
                    "type": "custom.screened",
                    "payload": {"patient_id": "{{ input.patient_id }}"},
                },
            }
        ),
        {"patient_id": "pat_1"},
    )
    assert run.error is None
    event = Event.objects.get(type="custom.screened")
    assert event.payload == {"patient_id": "pat_1", "run_id": run.id}
    assert event.actor_id == run.id
