"""Branches, items and rounds, run through the ledger and the worker to their end."""

from datetime import datetime, timedelta

import pytest
from django.db import DatabaseError, transaction

from fhir import store
from healthcloud.actors import Actor
from healthcloud.events.models import Event
from healthcloud.ledger.claims import in_other_hands
from healthcloud.ledger.handlers import ClaimedWork, Outcome
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.batch import send_now
from tests.workflows.conftest import Json, Runner, definition
from workflows import queries, retrying, runs, worker
from workflows.journal import Journal
from workflows.lanes import Holder
from workflows.models import FanOut, Lane, Run, StepRun


def transform(step_id: str, **data: object) -> Json:
    return {"id": step_id, "kind": "transform", "with": data}


def failing(step_id: str, when: str) -> Json:
    """Return a decision that fails its branch where a condition holds."""
    fail = {"id": f"{step_id}_no", "kind": "fail", "with": {"message": "no", "code": "bad_item"}}
    return {"id": step_id, "kind": "decision", "branches": [{"when": when, "steps": [fail]}]}


def each(*steps: Json, **arguments: object) -> Json:
    given = {"items": "{{ input.items }}", **arguments}
    return {"id": "each", "kind": "map", "with": given, "steps": list(steps)}


def test_a_map_does_its_steps_for_each_item_and_keeps_their_order(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            transform("outer", factor=10),
            each(
                transform("one", n="{{ item.n }}"),
                transform("two", n="{{ steps.one.output.n * steps.outer.output.factor }}"),
                output="{{ steps.two.output.n }}",
                max_concurrency=2,
            ),
            transform("after", found="{{ steps.each.output.results }}"),
            output="{{ steps.after.output.found }}",
        ),
        {"items": [{"n": n} for n in range(7)]},
    )
    assert run.error is None
    assert run.output == [0, 10, 20, 30, 40, 50, 60]
    rows = StepRun.objects.filter(run=run, step="two").order_by("iteration")
    assert [row.iteration for row in rows] == ["0", "1", "2", "3", "4", "5", "6"]
    assert all(row.lane for row in rows)
    sequences = list(queries.steps(run).values_list("step", "sequence"))
    assert sequences[0] == ("outer", 1)
    assert sequences[-1][0] == "after"


def test_a_map_over_nothing_is_over_at_once(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(each(transform("x")), output="{{ steps.each.output.results }}"), {"items": []}
    )
    assert (run.status, run.output) == ("completed", [])
    assert not Lane.objects.exists()


@pytest.mark.parametrize(
    ("items", "code"), [(list(range(10_001)), "too_many_items"), ("text", "not_a_list")]
)
def test_what_is_no_list_or_too_long_a_list_is_an_error_of_the_step(
    run_workflow: Runner, items: object, code: str
) -> None:
    run = run_workflow(definition(each(transform("x"))), {"items": items})
    assert run.error is not None
    assert (run.error["step"], run.error["code"]) == ("each", code)
    assert not Lane.objects.exists()


def test_a_failed_item_fails_the_map_and_ends_the_others(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            each(failing("check", "item = 3"), transform("kept"), max_concurrency=1),
            transform("never"),
        ),
        {"items": list(range(10))},
    )
    assert run.error is not None
    assert (run.error["step"], run.error["code"]) == ("each", "item_failed")
    assert "Item 3 failed at step `check_no`: no" in run.error["message"]
    assert run.error["details"][0]["error"]["code"] == "bad_item"
    states = list(Lane.objects.order_by("index").values_list("status", flat=True))
    assert states == ["succeeded"] * 3 + ["failed"] + ["canceled"] * 6
    assert not StepRun.objects.filter(step="never").exists()


@pytest.mark.parametrize(
    ("tolerate", "status"), [(2, "completed"), ("20%", "completed"), (1, "failed")]
)
def test_a_map_tolerates_as_many_failures_as_it_says(
    run_workflow: Runner, tolerate: object, status: str
) -> None:
    run = run_workflow(
        definition(
            each(
                failing("check", "item = 3 or item = 5"),
                transform("kept", n="{{ item }}"),
                output="{{ steps.kept.output.n }}",
                tolerate=tolerate,
            ),
            output={
                "results": "{{ steps.each.output.results }}",
                "failed": "{{ steps.each.output.errors.index }}",
            },
        ),
        {"items": list(range(10))},
    )
    assert run.status == status
    if status == "completed":
        assert run.output == {"results": [0, 1, 2, None, 4, None, 6, 7, 8, 9], "failed": [3, 5]}


def test_maps_in_maps_see_their_own_item(run_workflow: Runner) -> None:
    inner = {
        "id": "inner",
        "kind": "map",
        "with": {
            "items": "{{ steps.row.output.cells }}",
            "output": "{{ steps.cell.output.text }}",
        },
        "steps": [transform("cell", text="{{ steps.row.output.name }}{{ item }}")],
    }
    run = run_workflow(
        definition(
            each(
                transform("row", name="{{ item.name }}", cells="{{ item.cells }}"),
                inner,
                output="{{ steps.inner.output.results }}",
            ),
            output="{{ steps.each.output.results }}",
        ),
        {"items": [{"name": "a", "cells": [1, 2]}, {"name": "b", "cells": [3]}]},
    )
    assert run.error is None
    assert run.output == [["a1", "a2"], ["b3"]]
    cells = StepRun.objects.filter(run=run, step="cell")
    assert sorted(cells.values_list("iteration", flat=True)) == ["0.0", "0.1", "1.0"]


def parallel(join: object, *branches: list[Json]) -> Json:
    named = [{"name": f"b{n}", "steps": steps} for n, steps in enumerate(branches)]
    return {"id": "both", "kind": "parallel", "with": {"join": join}, "branches": named}


def test_branches_run_and_what_they_gave_is_seen_afterwards(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            parallel("all", [transform("left", x=1)], [transform("right", x=2)]),
            output={
                "sum": "{{ steps.left.output.x + steps.right.output.x }}",
                "names": "{{ steps.both.output.branches.name }}",
            },
        )
    )
    assert run.error is None
    assert run.output == {"sum": 3, "names": ["b0", "b1"]}


def test_any_branch_is_enough_and_the_others_are_ended(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            parallel(
                "any",
                [{"id": "slow", "kind": "wait", "with": {"duration": "2h"}}, transform("late")],
                [transform("fast", x=1)],
            ),
            output="{{ steps.fast.output.x }}",
        )
    )
    assert (run.status, run.output) == ("completed", 1)
    assert StepRun.objects.get(step="slow").status == "canceled"
    assert FanOut.objects.get().closed
    run_until_idle(["steps"], ahead=timedelta(hours=3))
    assert not StepRun.objects.filter(step="late").exists()


def test_branches_that_were_ended_stay_so_when_the_next_step_fails(run_workflow: Runner) -> None:
    slow = {"id": "slow", "kind": "wait", "with": {"duration": "1h"}}
    race = {
        "id": "race",
        "kind": "parallel",
        "with": {"join": "any"},
        "branches": [
            {"name": "fast", "steps": [transform("fast", n=1)]},
            {"name": "slow", "steps": [slow]},
        ],
    }
    refused = {
        "id": "refused",
        "kind": "fhir_create",
        "with": {"resource": {"resourceType": "Observation"}},
        "on_error": "continue",
    }
    rest = {"id": "rest", "kind": "wait", "with": {"duration": "3h"}}
    run = run_workflow(definition(race, refused, rest))
    assert run.status == "waiting"
    states = {step.step: step.status for step in queries.steps(run)}
    assert (states["refused"], states["slow"]) == ("failed", "canceled")
    assert sorted(Lane.objects.values_list("status", flat=True)) == ["canceled", "succeeded"]
    assert FanOut.objects.get().closed


def test_too_many_failed_branches_fail_the_step(run_workflow: Runner) -> None:
    fail = {"kind": "fail", "with": {"message": "no"}}
    run = run_workflow(
        definition(
            {
                **parallel(2, [{**fail, "id": "f1"}], [{**fail, "id": "f2"}], [transform("ok")]),
                "on_error": [transform("told", code="{{ steps.both.error.code }}")],
            },
            output="{{ coalesce(steps.told.output.code, 'none') }}",
        )
    )
    assert run.output == "branch_failed"


def test_a_loop_goes_on_until_its_condition_holds(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            {
                "id": "count",
                "kind": "loop",
                "with": {"until": "steps.add.output.n >= 4"},
                "steps": [transform("add", n="{{ coalesce(item.previous.n, 0) + 1 }}")],
            },
            output="{{ steps.count.output }}",
        )
    )
    assert run.error is None
    assert run.output == {"rounds": 4, "output": {"n": 4}, "completed": True}
    rows = StepRun.objects.filter(run=run, step="add").order_by("sequence")
    assert [row.iteration for row in rows] == ["r1", "r2", "r3", "r4"]


def test_an_endless_loop_ends_at_its_bound(run_workflow: Runner) -> None:
    run = run_workflow(
        definition(
            {
                "id": "poll",
                "kind": "loop",
                "with": {"until": "false", "max_rounds": 3},
                "steps": [{"id": "pause", "kind": "wait", "with": {"duration": "1m"}}],
            }
        )
    )
    assert run.status == "waiting"
    for minutes in (2, 4, 6):
        run_until_idle(["steps"], ahead=timedelta(minutes=minutes))
    ended = queries.run(run.id)
    assert ended.error is not None
    assert (ended.error["step"], ended.error["code"]) == ("poll", "loop_limit")


def test_canceling_ends_lanes_tasks_and_children(
    run_workflow: Runner, alice_actor: Actor, now: datetime
) -> None:
    ask = {"id": "ask", "kind": "approval", "with": {"title": "Ok?"}}
    run = run_workflow(definition(parallel("all", [ask], [transform("x")])))
    task = queries.tasks().get(run=run)
    assert task.status == "open"
    runs.cancel(run_id=run.id, actor=alice_actor, now=now)
    run_until_idle(["steps"])
    assert queries.task(task.id).status == "canceled"
    assert set(Lane.objects.values_list("status", flat=True)) == {"canceled", "succeeded"}
    assert Event.objects.filter(type="workflow.canceled").count() == 1


def test_a_decision_in_a_branch_lets_that_branch_go_on(
    run_workflow: Runner, alice_actor: Actor, now: datetime
) -> None:
    ask = {"id": "ask", "kind": "approval", "with": {"title": "Ok?"}}
    run = run_workflow(
        definition(
            parallel(
                "all",
                [ask, transform("after", d="{{ steps.ask.output.decision }}")],
                [transform("x")],
            ),
            output="{{ steps.after.output.d }}",
        )
    )
    task = queries.tasks().get(run=run)
    runs.decide_task(
        task_id=task.id, decision="approved", actor=alice_actor, now=now, roles=frozenset()
    )
    run_until_idle(["steps"])
    assert queries.run(run.id).output == "approved"


def test_a_signal_reaches_one_branch_only(
    run_workflow: Runner, alice_actor: Actor, now: datetime
) -> None:
    def waiting(name: str) -> Json:
        return {"id": name, "kind": "wait", "with": {"signal": "go"}}

    run = run_workflow(definition(parallel("all", [waiting("a")], [waiting("b")])))
    for count in (1, 2):
        runs.signal(run_id=run.id, name="go", payload=count, actor=alice_actor, now=now)
        run_until_idle(["steps"])
        done = StepRun.objects.filter(run=run, status="succeeded", kind="wait")
        assert done.count() == count
    assert queries.run(run.id).status == "completed"


def test_compensation_undoes_in_reverse_order_before_on_failure(run_workflow: Runner) -> None:
    def undoing(name: str) -> Json:
        return {
            **transform(name, x=name),
            "compensate": [transform(f"undo_{name}", of=f"{{{{ steps.{name}.output.x }}}}")],
        }

    run = run_workflow(
        definition(
            undoing("a"),
            undoing("b"),
            {"id": "no", "kind": "fail", "with": {"message": "stop here", "code": "refused"}},
            on_failure=[
                transform("sorry", code="{{ run.error.code }}", step="{{ run.error.step }}")
            ],
        )
    )
    assert run.error is not None
    assert (run.error["step"], run.error["code"]) == ("no", "refused")
    ran = [row.step for row in queries.steps(run)]
    assert ran == ["a", "b", "no", "undo_b", "undo_a", "sorry"]
    assert StepRun.objects.get(step="sorry").output == {"code": "refused", "step": "no"}


def undone(name: str, text: str = "{{ item }}") -> Json:
    """A step of data with what undoes it, told by an event."""
    kept = f"{{{{ steps.{name}.output.x }}}}"
    event = {"type": "custom.test.undone", "payload": {"what": kept, "step": name}}
    undo = {"id": f"undo_{name}", "kind": "emit", "with": event}
    return {**transform(name, x=f"{name}{text}"), "compensate": [undo]}


def told() -> list[str]:
    events = Event.objects.filter(type="custom.test.undone").order_by("position")
    return [event.payload["what"] for event in events]


STOP: Json = {"id": "no", "kind": "fail", "with": {"message": "stop here"}}
SAVE: Json = {
    "id": "save",
    "kind": "fhir_create",
    "with": {"resource": {"resourceType": "Basic", "code": {"text": "saved"}}},
}


@pytest.mark.parametrize("alone", [False, True])
def test_what_items_rounds_and_branches_did_is_undone_last_first(
    run_workflow: Runner, alone: bool
) -> None:
    inner = {**undone("deep", "{{ item }}"), "id": "deep"}
    again = {"id": "again", "kind": "map", "with": {"items": ["x", "y"]}, "steps": [inner]}
    run = run_workflow(
        definition(
            {
                "id": "all",
                "kind": "map",
                "with": {"items": [1, 2], "max_concurrency": 1},
                "steps": [undone("item"), *([SAVE] if alone else []), again],
            },
            {
                "id": "loop",
                "kind": "loop",
                "with": {"until": "item.index = 1"},
                "steps": [undone("round", "{{ item.index }}")],
            },
            parallel("all", [undone("left", "")], [undone("right", "")]),
            STOP,
        )
    )
    assert run.error is not None
    assert run.error["code"] == "failed"
    deep = ["deepy", "deepx"]
    assert told() == ["right", "left", "round1", "round0", *deep, "item2", *deep, "item1"]


def test_what_other_items_did_is_undone_when_one_fails(
    run_workflow: Runner, alice_actor: Actor, now: datetime
) -> None:
    fails = {**STOP, "skip_if": "item != 2"}
    run = run_workflow(
        definition(
            {
                "id": "all",
                "kind": "map",
                "with": {"items": [1, 2, 3], "max_concurrency": 1},
                "steps": [undone("item"), SAVE, fails],
            },
        )
    )
    assert run.error is not None
    assert run.error["code"] == "item_failed"
    assert told() == ["item2", "item1"]
    retrying.retry(run_id=run.id, actor=alice_actor, now=now)
    run_until_idle(["steps"])
    assert told() == ["item2", "item1"] * 2  # all of it was repeated, and undone again


def test_a_retry_repeats_what_was_undone_inside_of_what_ended_well(
    run_workflow: Runner, alice_actor: Actor, now: datetime
) -> None:
    fails = {**STOP, "skip_if": "run.restarts > 0"}
    loop = {
        "id": "loop",
        "kind": "loop",
        "with": {"until": "item.index = 1"},
        "steps": [undone("round", "{{ item.index }}")],
    }
    run = run_workflow(definition(transform("first"), parallel("all", [loop], [SAVE]), fails))
    assert told() == ["round1", "round0"]
    retrying.retry(run_id=run.id, actor=alice_actor, now=now)
    run_until_idle(["steps"])
    assert queries.run(run.id).status == "completed"
    rows = StepRun.objects.filter(run=run, superseded=False)
    assert rows.filter(step="round", status="succeeded").count() == 2
    assert rows.filter(step="first").count() == 1
    assert StepRun.objects.filter(run=run, step="round").count() == 4


def test_a_retry_of_a_failed_map_repeats_it_and_what_was_compensated(
    run_workflow: Runner, alice_actor: Actor, now: datetime
) -> None:
    read = {"id": "read", "kind": "fhir_read", "with": {"reference": "Patient/{{ item }}"}}
    run = run_workflow(
        definition(transform("first"), each(read), output="{{ steps.each.output.succeeded }}"),
        {"items": ["pat_1"]},
    )
    assert run.status == "failed"
    put("pat_1", alice_actor, now)
    retrying.retry(run_id=run.id, actor=alice_actor, now=now)
    run_until_idle(["steps"])
    again = queries.run(run.id)
    assert (again.status, again.output) == ("completed", 1)
    first = StepRun.objects.filter(run=run, step="first")
    assert [row.superseded for row in first] == [False]
    attempts = StepRun.objects.filter(run=run, step="read").order_by("attempt")
    assert [(row.attempt, row.status) for row in attempts] == [(1, "failed"), (2, "succeeded")]


def put(patient_id: str, actor: Actor, now: datetime) -> None:
    patient = {"resourceType": "Patient", "id": patient_id}
    store.update(resource_type="Patient", id=patient_id, resource=patient, actor=actor, now=now)


def attempts(run: Run, step: str) -> list[tuple[str, int, str, bool]]:
    rows = StepRun.objects.filter(run=run, step=step).order_by("iteration", "attempt")
    return [(row.iteration, row.attempt, row.status, row.superseded) for row in rows]


@pytest.mark.parametrize("at_once", [1, 5])
def test_a_retry_repeats_the_items_that_failed_and_keeps_the_others(
    run_workflow: Runner, alice_actor: Actor, now: datetime, at_once: int
) -> None:
    put("pat_0", alice_actor, now)
    put("pat_2", alice_actor, now)
    read = {"id": "read", "kind": "fhir_read", "with": {"reference": "Patient/{{ item }}"}}
    noted = {"id": "note", "kind": "emit", "with": {"type": "custom.seen", "payload": {}}}
    last = transform("last", id="{{ steps.read.output.id }}")
    items = {"items": ["pat_0", "pat_1", "pat_2"]}
    source = definition(
        each(noted, read, last, max_concurrency=at_once, output="{{ steps.last.output.id }}"),
        output="{{ steps.each.output.results }}",
    )
    run = run_workflow(source, items)
    assert (run.status, run.error["step"]) == ("failed", "each")
    put("pat_1", alice_actor, now)
    retrying.retry(run_id=run.id, actor=alice_actor, now=now)
    run_until_idle(["steps"])
    again = queries.run(run.id)
    assert (again.status, again.output) == ("completed", items["items"])
    assert attempts(run, "read")[:3] == [
        ("0", 1, "succeeded", False),
        ("1", 1, "failed", True),
        ("1", 2, "succeeded", False),
    ]
    assert attempts(run, "read")[-1][2:] == ("succeeded", False)
    assert [row[:3] for row in attempts(run, "note")] == [
        ("0", 1, "succeeded"),
        ("1", 1, "succeeded"),
        ("2", 1, "succeeded"),
    ]


def test_a_retry_that_names_the_map_repeats_all_of_it(
    run_workflow: Runner, alice_actor: Actor, now: datetime
) -> None:
    put("pat_0", alice_actor, now)
    read = {"id": "read", "kind": "fhir_read", "with": {"reference": "Patient/{{ item }}"}}
    run = run_workflow(definition(each(read)), {"items": ["pat_0", "pat_1"]})
    put("pat_1", alice_actor, now)
    retrying.retry(run_id=run.id, actor=alice_actor, now=now, from_step="each")
    run_until_idle(["steps"])
    assert queries.run(run.id).status == "completed"
    repeated = [row for row in attempts(run, "read") if row[0] == "0"]
    assert repeated == [("0", 1, "succeeded", True), ("0", 2, "succeeded", False)]


def test_a_retry_goes_into_maps_in_branches(
    run_workflow: Runner, alice_actor: Actor, now: datetime
) -> None:
    put("pat_0", alice_actor, now)
    read = {"id": "read", "kind": "fhir_read", "with": {"reference": "Patient/{{ item }}"}}
    good, sorry = transform("good", n=1), transform("sorry", n=1)
    branches = [
        {"name": "all", "steps": [transform("before", n=1), each(read)]},
        {"name": "other", "steps": [good]},
    ]
    both = {"id": "both", "kind": "parallel", "branches": branches}
    source = definition(both, on_failure=[sorry], output="{{ steps.good.output.n }}")
    run = run_workflow(source, {"items": ["pat_0", "pat_1"]})
    assert (run.status, run.error["step"]) == ("failed", "both")
    put("pat_1", alice_actor, now)
    retrying.retry(run_id=run.id, actor=alice_actor, now=now)
    run_until_idle(["steps"])
    again = queries.run(run.id)
    assert (again.status, again.output) == ("completed", 1)
    for step, superseded in [("before", [False]), ("good", [False]), ("sorry", [True])]:
        assert [row[3] for row in attempts(run, step)] == superseded, step
    assert [row[2:] for row in attempts(run, "both")] == [("succeeded", False)]


def test_a_worker_that_was_canceled_commits_nothing_into_a_retried_item(
    run_workflow: Runner, alice_actor: Actor, now: datetime
) -> None:
    pause = {"id": "pause", "kind": "wait", "with": {"duration": "1h"}}
    run = run_workflow(
        definition(each(failing("check", "item = 1"), pause, max_concurrency=2)), {"items": [0, 1]}
    )
    assert run.status == "failed"
    stale = Lane.objects.get(run=run, index=0)
    retrying.retry(run_id=run.id, actor=alice_actor, now=now)
    fresh = Lane.objects.get(run=run, index=0)
    assert fresh.id == stale.id
    assert fresh.token > stale.token
    journal = Journal(Holder(run, stale), alice_actor, token=stale.token)

    @transaction.atomic
    def write() -> None:
        journal.write(now, status="succeeded", finished_at=now)
        send_now()

    with pytest.raises(DatabaseError) as raised:
        write()
    assert in_other_hands(raised.value)
    assert Lane.objects.get(id=stale.id).status == "queued"


DATA_ITEM = {"id": "double", "kind": "transform", "with": {"n": "{{ item }}"}}
TOLD_ITEM = {
    "id": "tell",
    "kind": "emit",
    "with": {"type": "custom.flow.item", "payload": {"n": "{{ item }}"}},
}


def _map_of(*steps: dict[str, object], **arguments: object) -> dict[str, object]:
    each = {"id": "each", "kind": "map", "with": {"items": "{{ input.items }}", **arguments}}
    output = {"results": "{{ steps.each.output.results }}"}
    return definition({**each, "steps": list(steps)}, output=output)


def _written(run: Run) -> list[object]:
    """Return what a run with items wrote, but for ids and times."""
    steps = (
        queries.steps(run)
        .order_by("path", "iteration")
        .values_list("path", "kind", "iteration", "attempt", "status", "input", "error")
    )
    lanes = (
        Lane.objects.filter(run=run)
        .order_by("index")
        .values_list("index", "item", "status", "error", "size", "path", "iteration", "lineage")
    )
    counts = FanOut.objects.filter(run=run).values_list(
        "total", "started", "succeeded", "failed", "needed", "tolerated", "closed", "lane"
    )
    told = [e.type for e in Event.objects.all() if e.payload.get("run_id") == run.id]
    return [
        *steps,
        *lanes,
        *counts,
        sorted(told),
        run.status,
        run.error,
        len(run.output["results"]),
    ]


def test_items_that_are_data_are_written_as_if_each_had_been_carried_alone(
    run_workflow: Runner, alice_actor: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims: list[str] = []
    carry = worker.carry_lane

    def counted(work: ClaimedWork) -> Outcome:
        claims.append(work.ref)
        return carry(work)

    monkeypatch.setattr(worker, "carry_lane", counted)
    together = run_workflow(_map_of(DATA_ITEM, TOLD_ITEM), {"items": [3, 1, 2]})
    assert claims == []
    monkeypatch.setattr("workflows.items.SECONDS", -1.0)
    alone = runs.start(actor=alice_actor, workflow="flow", input={"items": [3, 1, 2]}, now=now)
    run_until_idle(["steps"])
    assert len(claims) == 3
    assert _written(together) == _written(queries.run(alone.id))


def test_one_item_that_fails_lets_all_be_carried_alone(run_workflow: Runner) -> None:
    broken = {**TOLD_ITEM, "skip_if": "item != 2"}
    broken["with"] = {"type": "custom.flow.item", "payload": {"n": "no id at all"}}
    run = run_workflow(_map_of(DATA_ITEM, broken, tolerate=1), {"items": [1, 2, 3]})
    assert run.status == "completed"
    assert [result and result.get("n") for result in run.output["results"]] == [None, None, None]
    states = Lane.objects.filter(run=run).order_by("index").values_list("status", flat=True)
    assert list(states) == ["succeeded", "failed", "succeeded"]


def test_many_items_of_data_end_in_one_turn(run_workflow: Runner) -> None:
    run = run_workflow(_map_of(DATA_ITEM), {"items": list(range(1500))})
    assert run.status == "completed"
    assert run.output["results"][-1] == {"n": 1499}
    assert Lane.objects.filter(run=run, status="succeeded").count() == 1500
    assert StepRun.objects.filter(run=run, step="double").count() == 1500
