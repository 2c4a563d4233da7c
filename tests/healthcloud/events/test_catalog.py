"""The schemas of payloads: published, and of one mind with what `publish` checks."""

import jsonschema_rs
import pytest

from healthcloud.events import catalog
from healthcloud.events.catalog import CATALOG, EventType

EXAMPLES = {
    "id": "run_1",
    "ids": ["a_1", "a_2"],
    "text": "Some words.",
    "number": 3,
    "flag": True,
    "list": ["some words"],
}


@pytest.mark.parametrize("type_", CATALOG.values(), ids=str)
def test_a_payload_as_declared_fits_the_schema_and_may_be_published(type_: EventType) -> None:
    declared = {**type_.optional, **type_.required}
    payload = {name: EXAMPLES[kind] for name, kind in declared.items()}
    jsonschema_rs.validator_for(type_.schema()).validate(payload)
    catalog.validate(type_, payload)


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"duration_ms": 12, "trigger": None}, True),
        ({"own_fact": "x"}, True),
        ({"run_id": None}, False),
        ({"run_id": "has spaces in it"}, False),
        ({"duration_ms": "12"}, False),
    ],
)
def test_the_schema_of_a_completed_run(
    change: dict[str, object], fits: bool
) -> None:  # a parameter of the test
    payload = {"run_id": "run_1", "workflow_id": "uti_screening", **change}
    schema = CATALOG["workflow.completed"].schema()
    assert jsonschema_rs.validator_for(schema).is_valid(payload) is fits


def test_a_payload_without_what_is_required_does_not_fit() -> None:
    schema = CATALOG["workflow.completed"].schema()
    assert not jsonschema_rs.validator_for(schema).is_valid({"run_id": "run_1"})
