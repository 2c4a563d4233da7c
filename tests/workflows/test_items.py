"""Items of a map that read and create: done with their run, or each by itself where one fails."""

from collections.abc import Callable, Iterator
from datetime import datetime
from unittest import mock

import pytest
from django.db import DataError

from fhir.search import search
from tests.workflows.conftest import Json, Runner, definition
from workflows import items, lanes, queries
from workflows.models import FanOut, Lane, Run

IDENTIFIER = [{"system": "urn:items", "value": "{{ item }}"}]
BASIC = {"resourceType": "Basic", "code": {"text": "x"}, "identifier": IDENTIFIER}
MAKE: Json = {"id": "make", "kind": "fhir_create", "with": {"resource": BASIC}}
FIND: Json = {"id": "find", "kind": "fhir_search", "with": {"query": "Basic?identifier={{ item }}"}}


def each(*steps: Json, **arguments: object) -> Json:
    given = {"items": "{{ input.items }}", **arguments}
    return {"id": "each", "kind": "map", "with": given, "steps": list(steps)}


@pytest.fixture
def begun() -> Iterator[Callable[[], int]]:
    """Count how many maps began their items as due work of their own."""
    with mock.patch.object(lanes, "begin", side_effect=lanes.begin) as counted:
        yield lambda: int(counted.call_count)


def written(now: datetime) -> list[str]:
    found = search(resource_type="Basic", query="identifier=urn:items|&_count=100", now=now)
    return sorted(entry.resource["identifier"][0]["value"] for entry in found.entries)


def states(run: Run) -> list[tuple[int, str]]:
    rows = Lane.objects.filter(run=run).order_by("index")
    return list(rows.values_list("index", "status"))


def test_items_that_read_and_create_are_written_with_their_map(
    run_workflow: Runner, begun: Callable[[], int], now: datetime
) -> None:
    source = definition(each(MAKE, FIND), output={"done": "{{ steps.each.output.succeeded }}"})
    run = run_workflow(source, {"items": ["a", "b", "c"]})
    assert (run.status, run.output, begun()) == ("completed", {"done": 3}, 0)
    assert written(now) == ["a", "b", "c"]
    assert states(run) == [(0, "succeeded"), (1, "succeeded"), (2, "succeeded")]
    assert sorted((s.step, s.iteration, s.status) for s in queries.steps(run)) == [
        ("each", "", "succeeded"),
        *(("find", str(n), "succeeded") for n in range(3)),
        *(("make", str(n), "succeeded") for n in range(3)),
    ]
    counts = FanOut.objects.get(run=run)
    assert (counts.total, counts.succeeded, counts.failed) == (3, 3, 0)


def test_an_item_that_fails_leaves_each_to_itself_and_nothing_twice(
    run_workflow: Runner, begun: Callable[[], int], now: datetime
) -> None:
    read: Json = {"id": "read", "kind": "fhir_read", "with": {"reference": "{{ item }}"}}
    fails = {**read, "skip_if": "item != 'Patient/nobody'"}
    run = run_workflow(
        definition(each(MAKE, fails, tolerate=1)), {"items": ["a", "Patient/nobody", "c"]}
    )
    assert (run.status, begun()) == ("completed", 1)
    assert written(now) == ["Patient/nobody", "a", "c"]
    assert states(run) == [(0, "succeeded"), (1, "failed"), (2, "succeeded")]


@pytest.mark.parametrize(
    "step",
    [
        {**MAKE, "with": {**MAKE["with"], "if_none_exist": "identifier={{ item }}"}},
        {**MAKE, "sensitive": True},
        {**MAKE, "cache": {"for": "1h"}},
    ],
    ids=["conditional", "sensitive", "cached"],
)
def test_what_others_may_wait_for_or_is_kept_apart_is_done_by_itself(
    run_workflow: Runner, begun: Callable[[], int], now: datetime, step: Json
) -> None:
    run = run_workflow(definition(each(step)), {"items": ["a", "b"]})
    assert (run.status, begun(), written(now)) == ("completed", 1, ["a", "b"])


def test_items_that_take_long_are_done_by_themselves(
    run_workflow: Runner,
    begun: Callable[[], int],
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(items, "_OWN_SECONDS", -1.0)
    run = run_workflow(definition(each(MAKE)), {"items": ["a", "b"]})
    assert (run.status, begun(), written(now)) == ("completed", 1, ["a", "b"])


def test_items_that_can_not_be_committed_together_are_done_by_themselves(
    run_workflow: Runner, begun: Callable[[], int], now: datetime
) -> None:
    refused = DataError("not like this")
    with mock.patch.object(lanes, "write_done", side_effect=refused):
        run = run_workflow(definition(each(MAKE)), {"items": ["a", "b"]})
    assert (run.status, begun(), written(now)) == ("completed", 1, ["a", "b"])
