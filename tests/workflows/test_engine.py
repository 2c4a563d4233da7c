"""The engine's mind: decisions by table, and properties of every walk through a definition."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workflows.conftest import Json, definition
from workflows.definition import Definition
from workflows.engine import (
    Advance,
    Complete,
    Execute,
    FailRun,
    FanOut,
    FanOutState,
    LanePlace,
    Open,
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


# --- crashes at random places -----------------------------------------------------------------


def wide_trees() -> st.SearchStrategy[list[Json]]:
    """Definitions of effects, data, decisions, loops, branches, items and waits, nested."""
    leaf = st.sampled_from(["transform", "fhir_read", "wait", "skipped", "flaky"]).map(
        lambda kind: {"kind": kind}
    )

    def holding(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
        blocks = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            st.builds(
                lambda a, b: {"kind": "decision", "steps": a, "otherwise": b}, blocks, blocks
            ),
            st.builds(
                lambda a, n: {"kind": "loop", "steps": a, "rounds": n}, blocks, st.integers(1, 3)
            ),
            st.builds(
                lambda a, n: {"kind": "map", "steps": a, "items": n}, blocks, st.integers(0, 3)
            ),
            st.builds(lambda a, b: {"kind": "parallel", "branches": [a, b]}, blocks, blocks),
        )

    return st.lists(st.recursive(leaf, holding, max_leaves=10), min_size=1, max_size=4)


def built(nodes: list[Json], counter: list[int], depth: int = 1) -> list[Json]:
    return [step_of(node, counter, depth) for node in nodes]


SIMPLE: dict[str, Json] = {
    "transform": {},
    "skipped": {"kind": "transform", "skip_if": "input.yes"},
    "flaky": {**READ, "retry": {"max_attempts": 3, "initial_interval": "10s"}},
    "fhir_read": {"with": READ["with"]},
    "wait": {"with": {"duration": "5m"}},
}


def step_of(node: Json, counter: list[int], depth: int) -> Json:
    counter[0] += 1
    kind, name = node["kind"], f"s{counter[0]}"

    def inner(nodes: list[Json]) -> list[Json]:
        return built(nodes if depth < 6 else [{"kind": "transform"}], counter, depth + 1)

    if kind in SIMPLE:
        return {"kind": kind, **SIMPLE[kind], "id": name}
    step: Json = {"id": name, "kind": kind}
    if kind == "decision":
        branch = {"when": "input.yes", "steps": inner(node["steps"])}
        return {**step, "branches": [branch], "otherwise": inner(node["otherwise"])}
    if kind == "parallel":
        return {**step, "branches": [{"steps": inner(branch)} for branch in node["branches"]]}
    until = {"until": f"item.index >= {node.get('rounds', 1) - 1}"}
    items = {"items": list(range(node.get("items", 0)))}
    return {**step, "with": until if kind == "loop" else items, "steps": inner(node["steps"])}


class Simulation:
    """A run in memory: rows that survive, workers that die, a clock, lanes in any order.

    A worker dies when `dies()` says so: before an effect, or between effect and row. What is not
    a row by then is gone. Outputs depend on the step and the attempt's success only.
    """

    def __init__(self, flow: Definition, dies: Any) -> None:
        self.flow, self.dies = flow, dies
        self.now = NOW
        self.steps: dict[str, StepState] = {}
        self.fan_outs: dict[str, FanOutState] = {}
        self.lanes: list[tuple[str, LanePlace]] = []
        self.ended: dict[str, list[Json]] = {}
        self.tries: dict[str, int] = {}

    def state(self, place: LanePlace | None) -> State:
        return State(
            self.now, {"yes": True}, {}, {"id": "run_1"}, {}, dict(self.steps),
            fan_outs=self.fan_outs, lane=place,
        )  # fmt: skip

    def carry(self, place: LanePlace | None) -> object:
        """Carry the run or a lane, over as many deaths as come, until it sleeps or ends."""
        for _ in range(2000):
            action = decide(self.flow, self.state(place))
            assert decide(self.flow, self.state(place)) == action
            if isinstance(action, Sleep | Complete | FailRun):
                return action
            self.do(action)
        raise AssertionError("the run does not end")

    def do(self, action: Any) -> None:
        if isinstance(action, Record):
            error = action.error.as_dict() if action.error else None
            self.steps[action.key] = StepState(action.status, action.attempt, action.output, error)
        elif isinstance(action, Open):
            self.steps[action.key] = StepState("running", action.attempt)
        elif isinstance(action, Advance):
            found = self.steps[action.key]
            self.steps[action.key] = replace(found, round=action.round, previous=action.previous)
        elif isinstance(action, FanOut):
            counts = FanOutState(
                len(action.items), needed=action.needed, tolerated=action.tolerated
            )
            self.fan_outs[action.key] = counts
            self.steps[action.key] = StepState("waiting", 1, waiting=Waiting(fan_out=action.key))
            self.lanes += [
                (action.key, LanePlace(action.step.path, index, action.iteration, item))
                for index, item in enumerate(action.items)
            ]
        else:
            self.execute(action)

    def execute(self, action: Execute) -> None:
        if action.step.kind == "wait":
            until = self.now + timedelta(minutes=5)
            self.steps[action.key] = StepState("waiting", 1, waiting=Waiting(until=until))
            return
        lost = self.steps[action.key].lost if action.key in self.steps else 0
        if self.dies() and lost < 3:  # the attempt was written as begun, its end was not
            self.steps[action.key] = StepState("running", action.attempt, lost=lost + 1)
            return
        self.tries[action.key] = self.tries.get(action.key, 0) + 1
        if action.step.retry.max_attempts > 1 and self.tries[action.key] == 1:
            due = self.now + timedelta(seconds=10)
            self.steps[action.key] = StepState("retrying", action.attempt, due_at=due, lost=lost)
            return
        self.steps[action.key] = StepState("succeeded", action.attempt, output={"of": action.key})

    def run(self, order: Any) -> object:
        """Carry everything, in any order, until the run is over."""
        for _ in range(3000):
            end = self.carry(None)
            if not isinstance(end, Sleep):
                return end
            if self.lanes:
                self.end_lane(self.lanes.pop(order(len(self.lanes))))
            self.now += timedelta(minutes=1)
        raise AssertionError("the run does not end")

    def end_lane(self, lane: tuple[str, LanePlace]) -> None:
        key, place = lane
        end = self.carry(place)
        if isinstance(end, Sleep):
            self.lanes.append(lane)
            return
        assert isinstance(end, Complete)
        counts = self.fan_outs[key]
        result = {"index": place.index, "status": "succeeded", "output": end.output, "error": None}
        self.fan_outs[key] = replace(
            counts, succeeded=counts.succeeded + 1, results=(*counts.results, result)
        )

    def outputs(self) -> Json:
        return {
            key: (found.status, found.output)
            for key, found in self.steps.items()
            if "waited_until" not in (found.output or {})
        }


@given(wide_trees(), st.data())
@settings(max_examples=120, deadline=None)
def test_a_run_with_crashes_ends_as_one_without(nodes: list[Json], data: st.DataObject) -> None:
    flow = parsed(*built(nodes, [0]), output={"last": "{{ run.id }}"})
    calm = Simulation(flow, lambda: False)
    end = calm.run(lambda count: 0)
    stormy = Simulation(flow, lambda: data.draw(st.booleans()))
    other = stormy.run(lambda count: data.draw(st.integers(0, count - 1)))
    assert isinstance(end, Complete)
    assert other == end
    assert _untimed(stormy.outputs()) == _untimed(calm.outputs())


def _untimed(value: Any) -> Any:
    """Take out the times until which steps waited: they depend on the clock."""
    if isinstance(value, dict):
        return {k: _untimed(v) for k, v in value.items() if k != "waited_until"}
    if isinstance(value, list | tuple):
        return [_untimed(member) for member in value]
    return value
