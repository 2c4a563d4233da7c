"""The golden cases in the rule packs: each published rule and each level, exact values."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import assets
from assets.rules import Interval, open_rules
from assets.rules.packs import RulePack
from assets.rules.values import number_in_text

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
CATALOG = Path(assets.__file__).parent / "catalog"
FOLDERS = sorted(path.parent for path in CATALOG.glob("*/*/rules/inputs.yaml"))


def cases() -> Iterator[object]:
    for folder in FOLDERS:
        for pack in open_rules(folder).packs.values():
            for case in pack.cases:
                name = f"{folder.parent.name}: {pack.id}: {case['name']}"
                yield pytest.param(folder, pack, case, id=name)


def given(values: dict[str, object]) -> dict[str, bool | Interval | None]:
    return {
        name: value
        if isinstance(value, bool)
        else number_in_text(value)
        if isinstance(value, str)
        else Interval.exactly(str(value))
        for name, value in values.items()
    }


@pytest.mark.parametrize(("folder", "pack", "case"), list(cases()))
def test_the_case_has_its_published_result(
    folder: Path, pack: RulePack, case: dict[str, dict[str, object]]
) -> None:
    evaluation = open_rules(folder).evaluate(pack.id, [], now=NOW, parameters=given(case["given"]))
    expected = case["expect"]
    results = {result.rule.id: result.value for result in evaluation.own}
    wanted = {
        name: None if value == "unknown" else value
        for name, value in expected.get("rules", {}).items()
    }
    assert {name: results[name] for name in wanted} == wanted
    outputs = evaluation.outputs
    if "level" in expected:
        assert (outputs["level"] or "insufficient_data") == expected["level"]
    if "probability" in expected:
        assert outputs["probability"] == expected["probability"]
    missing = [entry["input"] for entry in evaluation.missing]
    assert set(expected.get("missing", ())) <= set(missing)
    if "cheapest" in expected:
        assert missing[0] == expected["cheapest"]


def test_every_pack_has_a_citation_that_can_be_followed() -> None:
    packs = [pack for folder in FOLDERS for pack in open_rules(folder).packs.values()]

    assert len(packs) >= 9
    for pack in packs:
        for rule in pack.rules:
            assert rule.citation.url.startswith("https://")
            assert rule.citation.text


def test_every_level_and_every_rule_has_a_golden_case() -> None:
    book = open_rules(CATALOG / "agents" / "diagnostic" / "rules")
    levels = {case["expect"]["level"] for case in book.packs["uti-screening"].cases}

    assert levels == {
        "likely",
        "possible",
        "unlikely",
        "asymptomatic_bacteriuria",
        "contaminated",
        "insufficient_data",
    }
    for pack in book.packs.values():
        if pack.id == "uti-screening":
            continue
        tested = {name for case in pack.cases for name in case["expect"].get("rules", {})}
        assert {rule.id for rule in pack.rules if rule.output} <= tested
