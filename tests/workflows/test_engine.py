"""The engine's mind: decisions by table, and properties of every walk through a definition."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workflows.conftest import Json, definition
from workflows.definition import Definition
from workflows.engine import (
    Complete,
    Execute,
    FailRun,
    Record,
    Signal,
    Sleep,
    State,
    StepState,
    Waiting,
    applied,
    decide,
)
from workflows.validation import validate

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
READ: Json = {"id": "read", "kind": "fhir_read", "with": {"reference": "Patient/1"}}


def parsed(*steps: Json, **members: object) -> Definition:
    result = validate(definition(*steps, **members))
    assert result.definition is not None, result.problems
    return result.definition


def state(input: object = None, **steps: StepState) -> State:
    return State(NOW, input or {}, {"kind": "api"}, {"id": "run_1"}, {}, dict(steps))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, Execute),
        (StepState("succeeded", output={}), Complete),
        (StepState("skipped"), Complete),
        (StepState("failed", error={"code": "x"}), FailRun),
        (StepState("retrying", due_at=NOW + timedelta(seconds=1)), Sleep),
        (StepState("retrying", due_at=NOW), Execute),
        (StepState("running"), Execute),
        (StepState("running", lost=5), Record),
        (StepState("waiting", waiting=Waiting(until=NOW + timedelta(1))), Sleep),
        (StepState("waiting", waiting=Waiting(until=NOW)), Record),
        (StepState("waiting", waiting=Waiting(signal="go")), Sleep),
    ],
)
def test_the_state_of_a_step_decides_what_is_next(
    found: StepState | None, expected: type[object]
) -> None:
    current = state(**({} if found is None else {"read": found}))
    assert isinstance(decide(parsed(READ), current), expected)


def test_an_attempt_that_was_lost_or_failed_is_followed_by_the_next() -> None:
    for status in ("running", "retrying"):
        action = decide(parsed(READ), state(read=StepState(status, attempt=2, due_at=NOW)))  # type: ignore[arg-type]
        assert isinstance(action, Execute)
        assert action.attempt == 3


def test_a_failed_step_with_continue_is_passed_over() -> None:
    current = state(read=StepState("failed", error={"code": "x"}))
    assert isinstance(decide(parsed({**READ, "on_error": "continue"}), current), Complete)


def test_a_signal_that_waits_is_taken() -> None:
    current = state(read=StepState("waiting", waiting=Waiting(signal="go")))
    current.signals = (Signal("s1", "other", 1), Signal("s2", "go", 2))
    action = decide(parsed(READ), current)
    assert isinstance(action, Record)
    assert (action.signal, action.output["payload"]) == ("s2", 2)


def test_a_decision_of_a_person_wins_over_the_deadline() -> None:
    asked = StepState("waiting", waiting=Waiting(until=NOW, task="task_1"))
    current = state(read=asked)
    current.decisions = {"task_1": {"decision": "approved", "data": {"x": 1}}}
    action = decide(parsed(READ), current)
    assert isinstance(action, Record)
    assert action.status == "succeeded"


def test_an_output_that_cannot_be_resolved_fails_the_run() -> None:
    flow = parsed({"id": "a", "kind": "transform", "with": {}}, output="x {{ input }}")
    action = decide(flow, state(a=StepState("succeeded", output={})))
    assert isinstance(action, FailRun)
    assert (action.step, action.error["code"]) == (None, "not_text")


def trees() -> st.SearchStrategy[list[Json]]:
    """Definitions of transforms, effects and decisions, nested; ids are given afterwards."""
    leaf = st.sampled_from(["transform", "fhir_read"]).map(lambda kind: {"kind": kind})
    return st.lists(
        st.recursive(
            leaf,
            lambda inner: st.builds(
                lambda taken, steps, otherwise: {
                    "kind": "decision",
                    "taken": taken,
                    "steps": steps,
                    "otherwise": otherwise,
                },
                st.booleans(),
                st.lists(inner, max_size=3),
                st.lists(inner, max_size=2),
            ),
            max_leaves=12,
        ),
        min_size=1,
        max_size=5,
    )


def numbered(nodes: list[Json], counter: list[int]) -> list[Json]:
    steps = []
    for node in nodes:
        counter[0] += 1
        step: Json = {"id": f"s{counter[0]}", "kind": node["kind"]}
        if node["kind"] == "fhir_read":
            step["with"] = {"reference": "Patient/1"}
        if node["kind"] == "decision":
            branch = {"when": str(node["taken"]).lower(), "steps": numbered(node["steps"], counter)}
            step |= {"branches": [branch], "otherwise": numbered(node["otherwise"], counter)}
        steps.append(step)
    return steps


def walk(flow: Definition, outcomes: Any) -> tuple[list[str], object]:
    """Carry a run in memory as the worker does, and return what ran and how it ended."""
    current, ran = state(), []
    for _ in range(1000):
        action = decide(flow, current)
        assert decide(flow, current) == action
        if isinstance(action, Record):
            ran.append(action.step.path)
            current = applied(current, action)
        elif isinstance(action, Execute):
            ran.append(action.step.path)
            status = outcomes()
            error = {"code": "x"} if status == "failed" else None
            current.steps[action.step.path] = StepState(status, output={}, error=error)
        else:
            return ran, action
    raise AssertionError("the run does not end")


@given(trees(), st.data())
@settings(max_examples=150, deadline=None)
def test_every_walk_ends_and_no_step_runs_twice(nodes: list[Json], data: st.DataObject) -> None:
    flow = parsed(*numbered(nodes, [0]))
    ran, end = walk(flow, lambda: data.draw(st.sampled_from(["succeeded", "succeeded", "failed"])))
    assert len(ran) == len(set(ran))
    order = [step.path for step in flow.walk()]
    assert ran == sorted(ran, key=order.index)
    if isinstance(end, Complete):
        assert not any(path for path in _reachable(flow, ran) if path not in ran)
    else:
        assert isinstance(end, FailRun)


def _reachable(flow: Definition, ran: list[str]) -> list[str]:
    """Return the steps of the top level, which a completed run must have passed."""
    return [step.path for step in flow.steps]


@given(trees())
@settings(max_examples=50, deadline=None)
def test_where_a_worker_dies_makes_no_difference(nodes: list[Json]) -> None:
    flow = parsed(*numbered(nodes, [0]))
    ran, _ = walk(flow, lambda: "succeeded")
    current = state()
    for path in ran:  # at each place, a fresh worker decides from the rows alone
        action = decide(flow, state(**dict(current.steps)))
        assert isinstance(action, Record | Execute)
        assert action.step.path == path
        if isinstance(action, Record):
            current = applied(current, action)
        else:
            current.steps[path] = StepState("succeeded", output={})
    assert isinstance(decide(flow, current), Complete)
