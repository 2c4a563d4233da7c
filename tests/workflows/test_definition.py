"""Parsing and static validation: what is accepted, and that every problem is named."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workflows.conftest import Json, definition
from workflows.definition import RetryPolicy
from workflows.kinds import KINDS
from workflows.parsing import MAX_NESTING, MAX_STEPS, parse, parse_duration
from workflows.schema import json_schema
from workflows.validation import validate

UTI = Path("assets/catalog/agents/diagnostic/workflows/uti_screening.json")
FULL = definition(
    {"id": "read", "kind": "fhir_read", "with": {"reference": "Patient/{{ input.patient_id }}"}},
    {
        "id": "labs",
        "kind": "fhir_search",
        "with": {"query": "Observation?patient={{ input.patient_id }}"},
        "skip_if": "input.quick = true",
    },
    {
        "id": "screen",
        "kind": "agent",
        "with": {"agent": "agent_diagnostic_v1", "input": {"patient_id": "{{ input.patient_id }}"}},
        "retry": {"max_attempts": 2, "initial_interval": "100ms"},
        "timeout": "30s",
    },
    {
        "id": "fetch",
        "kind": "connector",
        "with": {"connector": "quest_diagnostics", "action": "results"},
        "on_error": "continue",
    },
    {
        "id": "score",
        "kind": "model",
        "with": {"model": "model_uti_dipstick_v1", "input": "{{ steps.screen.output }}"},
    },
    {
        "id": "act",
        "kind": "decision",
        "branches": [
            {
                "name": "yes",
                "when": "steps.screen.output.level = 'likely'",
                "steps": [
                    {
                        "id": "tell",
                        "kind": "emit",
                        "with": {
                            "type": "custom.found",
                            "payload": {"run": "{{ run.id }}"},
                            "severity": "warning",
                        },
                    }
                ],
            }
        ],
        "otherwise": [{"id": "end", "kind": "stop", "with": {"output": {"level": "none"}}}],
    },
    {
        "id": "ask",
        "kind": "approval",
        "with": {
            "title": "Treat?",
            "form": {"type": "object"},
            "role": "clinician",
            "deadline": "2d",
            "on_reject": "fail",
        },
        "on_timeout": [{"id": "late", "kind": "fail", "with": {"message": "late", "code": "late"}}],
    },
    {
        "id": "pause",
        "kind": "wait",
        "with": {"signal": "go", "timeout": "1h", "on_timeout": "continue"},
    },
    {
        "id": "write",
        "kind": "fhir_create",
        "with": {"resource": {"resourceType": "Basic"}, "if_none_exist": "identifier=x"},
        "on_error": [
            {
                "id": "again",
                "kind": "fhir_update",
                "with": {"resource": "{{ steps.read.output }}", "if_match": "1"},
            }
        ],
    },
    {"id": "sum", "kind": "transform", "with": {"n": 1}},
    {
        "id": "both",
        "kind": "parallel",
        "with": {"join": "any"},
        "branches": [
            {
                "name": "first",
                "steps": [
                    {
                        "id": "patch",
                        "kind": "fhir_patch",
                        "with": {
                            "reference": "Patient/{{ input.patient_id }}",
                            "patch": [{"op": "replace", "path": "/active", "value": True}],
                        },
                        "compensate": [{"id": "undo", "kind": "transform"}],
                    }
                ],
            },
            {
                "steps": [
                    {
                        "id": "call",
                        "kind": "http_request",
                        "with": {"url": "https://example.org/{{ input.patient_id }}"},
                        "cache": {"for": "1h", "key": "{{ input.patient_id }}"},
                        "sensitive": True,
                    }
                ]
            },
        ],
    },
    {
        "id": "each",
        "kind": "map",
        "with": {
            "items": "{{ steps.labs.output.resources }}",
            "max_concurrency": 5,
            "tolerate": "10%",
            "output": "{{ steps.one.output.id }}",
        },
        "steps": [{"id": "one", "kind": "transform", "with": {"id": "{{ item.id }}"}}],
    },
    {
        "id": "poll",
        "kind": "loop",
        "with": {"until": "steps.look.output.total > 0 or item.index > 3", "max_rounds": 5},
        "steps": [{"id": "look", "kind": "fhir_search", "with": {"query": "Observation?code=x"}}],
    },
    {
        "id": "child",
        "kind": "workflow",
        "with": {"workflow": "other", "input": {"patient_id": "{{ input.patient_id }}"}},
        "timeout": "1h",
    },
    {
        "id": "all_or_none",
        "kind": "fhir_transaction",
        "with": {"bundle": {"resourceType": "Bundle", "type": "transaction", "entry": []}},
    },
    name="Full",
    description="All kinds",
    triggers=[
        {"kind": "manual"},
        {"kind": "schedule", "cron": "0 7 * * mon-fri", "timezone": "America/New_York"},
        {"kind": "event", "type": "care_gap.*", "input": {"patient_id": "{{ trigger.event.id }}"}},
        {"kind": "webhook", "when": "trigger.body.kind = 'order'"},
        {"kind": "fhir", "criteria": "Observation?code=http://loinc.org|5799-2"},
    ],
    on_failure=[{"id": "sorry", "kind": "transform", "with": {"code": "{{ run.error.code }}"}}],
    concurrency={"max_runs": 1, "on_limit": "queue", "key": "{{ input.patient_id }}"},
    timeout="2d",
    output={"n": "{{ steps.sum.output.n }}"},
    input_schema={"type": "object", "properties": {"patient_id": {"type": "string"}}},
    metadata={"team": "a"},
)


def errors(source: object) -> list[tuple[str | None, str]]:
    """Return step and field of each error."""
    return [(p.step, p.field) for p in validate(source).problems if p.severity == "error"]


def test_a_definition_of_all_kinds_is_accepted() -> None:
    parsed = validate(FULL)
    assert [p for p in parsed.problems if p.severity == "error"] == []
    assert parsed.definition is not None
    steps = {step.id: step for step in parsed.definition.walk()}
    assert {step.kind for step in steps.values()} == set(KINDS)
    assert steps["tell"].path == "act/0/tell"
    assert steps["end"].path == "act/otherwise/end"
    assert steps["late"].path == "ask/on_timeout/late"
    assert steps["again"].path == "write/on_error/again"
    assert steps["screen"].timeout == 30
    assert steps["screen"].retry == RetryPolicy(max_attempts=2, initial_interval=0.1)
    assert steps["fetch"].retry.max_attempts == 3
    assert steps["read"].retry.max_attempts == 1


def test_the_published_schema_takes_what_the_parser_takes() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    validator = jsonschema.Draft202012Validator(json_schema())
    assert list(validator.iter_errors(FULL)) == []
    assert list(validator.iter_errors(json.loads(UTI.read_text()))) == []
    assert validate(json.loads(UTI.read_text())).definition is not None


STEP: Json = {"id": "a", "kind": "transform", "with": {}}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ([], [(None, "")]),
        ({}, [(None, "slug"), (None, "steps")]),
        (definition(), [(None, "steps")]),
        (definition(STEP) | {"slug": "Bad Slug"}, [(None, "slug")]),
        (definition(STEP) | {"slug": "runs"}, [(None, "slug")]),
        (definition(STEP, stpes=[]), [(None, "stpes")]),
        (definition(STEP, STEP), [("a", "id")]),
        (definition({**STEP, "id": "and"}), [("and", "id")]),
        (definition({**STEP, "id": "A b"}), [(None, "steps[0].id")]),
        (definition("step"), [(None, "steps[0]")]),
        (definition({"id": "a", "kind": "map"}), [("a", "with.items"), ("a", "steps")]),
        (definition({"id": "a", "kind": "agnet"}), [("a", "kind")]),
        (definition({"id": "a"}), [("a", "kind")]),
        (definition({"id": "a", "kind": "agent"}), [("a", "with.agent")]),
        (definition({"id": "a", "kind": "agent", "with": {"agent": 1}}), [("a", "with.agent")]),
        (
            definition({"id": "a", "kind": "agent", "with": {"agent": "x", "inptu": {}}}),
            [("a", "with.inptu")],
        ),
        (definition({"id": "a", "kind": "wait", "with": {}}), [("a", "with")]),
        (
            definition({"id": "a", "kind": "wait", "with": {"duration": "soon"}}),
            [("a", "with.duration")],
        ),
        (
            definition({"id": "a", "kind": "wait", "with": {"duration": "1s", "signal": "x"}}),
            [("a", "with")],
        ),
        (definition({"id": "a", "kind": "decision"}), [("a", "branches")]),
        (
            definition({"id": "a", "kind": "decision", "branches": [{"steps": []}]}),
            [("a", "branches[0].when")],
        ),
        (
            definition(
                {"id": "a", "kind": "decision", "branches": [{"when": "{{ true }}", "steps": []}]}
            ),
            [("a", "branches[0].when")],
        ),
        (definition({**STEP, "retry": {"max_attempts": 0}}), [("a", "retry.max_attempts")]),
        (definition({**STEP, "retry": {"attempts": 3}}), [("a", "retry.attempts")]),
        (definition({**STEP, "timeout": 30}), [("a", "timeout")]),
        (definition({**STEP, "on_error": "ignore"}), [("a", "on_error")]),
        (definition({**STEP, "skip_if": "1 +"}), [("a", "skip_if")]),
        (definition(STEP, triggers=[{"kind": "schedule"}]), [(None, "triggers[0].cron")]),
        (definition(STEP, triggers=[{"kind": "x"}]), [(None, "triggers[0].kind")]),
        (definition(STEP, input_schema={"type": "objekt"}), [(None, "input_schema")]),
        (definition(STEP, input_schema={"$ref": "http://127.0.0.1/x"}), [(None, "input_schema")]),
        (
            definition(
                {"id": "a", "kind": "transform", "with": {"x": "{{ steps.b.output }}"}},
                {**STEP, "id": "b"},
            ),
            [("a", "with.x")],
        ),
        (
            definition({"id": "a", "kind": "transform", "with": {"x": "{{ steps.a.output }}"}}),
            [("a", "with.x")],
        ),
        (definition(STEP, output="{{ steps.a.outptu }}"), [(None, "output")]),
        (definition(STEP, output=["{{ inputs.x }}"]), [(None, "output[0]")]),
    ],
)
def test_a_problem_is_named_by_step_and_field(source: Any, expected: list[Any]) -> None:
    assert errors(source) == expected


def test_all_problems_are_listed_at_once() -> None:
    source = definition(
        {"id": "a", "kind": "agnet"},
        {"id": "b", "kind": "fhir_read", "with": {}},
        {"id": "b", "kind": "emit", "with": {"type": "{{ x }}"}},
        nme="x",
    )
    assert errors(source) == [
        (None, "nme"),
        ("a", "kind"),
        ("b", "with.reference"),
        ("b", "id"),
        ("b", "with.type"),
        ("b", "with.type"),
    ]


@pytest.mark.parametrize(
    ("output", "warned"),
    [
        ("{{ steps.yes.output.x }}", True),
        ("{{ coalesce(steps.yes.output.x, 1) }}", False),
        ("{{ steps.yes.exists() }}", False),
        ("{{ steps.maybe.output.x }}", True),
        ("{{ steps.act.output.branch }}", False),
    ],
)
def test_a_step_that_may_not_have_run_is_a_warning(output: str, warned: bool) -> None:
    yes = {**STEP, "id": "yes"}
    source = definition(
        {"id": "act", "kind": "decision", "branches": [{"when": "true", "steps": [yes]}]},
        {**STEP, "id": "maybe", "skip_if": "input.x = 1"},
        output=output,
    )
    parsed = validate(source)
    assert parsed.definition is not None
    assert bool(parsed.problems) is warned


def test_limits_of_steps_and_nesting() -> None:
    many = definition(*({**STEP, "id": f"s{n}"} for n in range(MAX_STEPS + 1)))
    assert errors(many) == [(None, "steps")]
    assert errors(definition(*({**STEP, "id": f"s{n}"} for n in range(MAX_STEPS)))) == []
    inner: Json = STEP
    for depth in range(MAX_NESTING):
        inner = {
            "id": f"d{depth}",
            "kind": "decision",
            "branches": [{"when": "true", "steps": [inner]}],
        }
    assert len(errors(definition(inner))) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("3d", 259200),
        ("PT5M", 300),
        ("P1DT1S", 86401),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "soon", "P", "PT", "1h 30", "-5s"])
def test_what_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=12),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "id",
                        "kind",
                        "with",
                        "steps",
                        "branches",
                        "when",
                        "retry",
                        "slug",
                        "on_error",
                        "triggers",
                        "output",
                        "x",
                    ]
                ),
                inner | st.sampled_from(list(KINDS)),
                max_size=5,
            )
        ),
        max_leaves=20,
    )
)
@settings(max_examples=300, deadline=None)
def test_any_json_is_parsed_without_a_crash(source: object) -> None:
    parsed = parse(source)
    assert (parsed.definition is None) == any(p.severity == "error" for p in parsed.problems)
    validate({"slug": "x", "steps": [source]})
