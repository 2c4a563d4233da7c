"""The golden cases that the agent ships, by terminal state."""

import re
from datetime import timedelta
from typing import Any

import pytest
import yaml

from assets.manifest import load
from assets.registry import package
from tests.assets.catalog.chart import DIAGNOSTIC, NOW, Call

FILES = [
    path
    for glob in load(DIAGNOSTIC / "asset.yaml").tests["cases"]
    for path in DIAGNOSTIC.glob(glob)
]
CASES = [case for path in FILES for case in yaml.safe_load(path.read_text())["cases"]]
RELATIVE = re.compile(r"today(?:-(\d+))?")


def dated(value: Any) -> Any:
    """Turn relative days into dates."""
    if isinstance(value, dict):
        return {key: dated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [dated(item) for item in value]
    found = RELATIVE.fullmatch(value) if isinstance(value, str) else None
    return str(NOW.date() - timedelta(days=int(found[1] or 0))) if found else value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_case_ends_as_it_must(case: dict[str, Any]) -> None:
    agent: Any = package("agent_diagnostic_v1").instantiate()
    result = agent.run(Call(dated(case["resources"])), {"patient_id": "pat_123"})
    expected = case["expect"]
    fired = {rule.id for rule in result.rules if rule.result is True}

    assert result.output["level"] == expected["level"]
    assert result.output["probability"] == expected["probability"]
    assert set(expected["rules"]) <= fired
    assert sorted(w.resource["resourceType"] for w in result.resources) == expected["writes"]


def test_there_is_a_case_for_every_level() -> None:
    assert len({case["expect"]["level"] for case in CASES}) == 6
