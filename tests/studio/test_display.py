"""Tones, durations, highlighted JSON, charts, and the outline of a run."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from studio import charts, display, outline
from studio.templatetags import studio as tags
from workflows.parsing import parse

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "tone"),
    [
        ("active", "good"),
        ("FAILED", "bad"),
        ("waiting", "warn"),
        ("running", "info"),
        ("x", "idle"),
    ],
)
def test_a_status_has_a_tone(status: str, tone: str) -> None:
    assert display.tone_of(status) == tone


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (42.4, "42 ms"),
        (2400, "2.4 s"),
        (200_000, "3 min 20 s"),
        (7_500_000, "2 h 5 min"),
    ],
)
def test_durations_are_short(value: float | None, text: str) -> None:
    assert display.format_milliseconds(value) == text


def test_json_is_escaped_and_highlighted() -> None:
    html = tags.pretty_json({"note": "<script>", "n": -1.5, "none": None})
    assert "<script>" not in html
    assert '<span class="s">&quot;&lt;script&gt;&quot;</span>' in html
    assert '<span class="n">-1.5</span>' in html
    assert '<span class="a">null</span>' in html


def test_a_moment_keeps_utc_for_the_title() -> None:
    html = tags.moment(START)
    assert 'datetime="2026-11-22T10:00:00Z"' in html
    assert "Nov 22, 2026, 10:00 UTC" in html
    assert tags.moment(None) == "–"


def test_bars_stand_on_the_ground_and_fit() -> None:
    bars = charts.bars([("Mon", 10, 2), ("Tue", 0, 0)])
    assert bars[0].y + bars[0].height == pytest.approx(charts.HEIGHT)
    assert bars[0].bad_height < bars[0].height
    assert bars[1].height == 0
    assert charts.bars([]) == []


def definition() -> outline.Definition:
    branch = {"when": "true", "name": "Yes", "steps": [{"id": "told", "kind": "emit",
              "with": {"type": "custom.a.told", "payload": {}}}]}  # fmt: skip
    source = {
        "slug": "flow",
        "name": "Flow",
        "steps": [
            {"id": "find", "kind": "fhir_search", "with": {"query": "Patient?name=a"}},
            {"id": "choose", "kind": "decision", "branches": [branch]},
        ],
    }
    parsed = parse(source)
    assert parsed.definition is not None, parsed.problems
    return parsed.definition


def test_the_outline_keeps_branches_with_their_condition() -> None:
    nodes = outline.of_definition(definition())
    assert nodes[0].summary == "Patient?name=a"
    (block,) = nodes[1].blocks
    assert (block.title, block.condition) == ("Yes", "true")
    assert [node.step.id for node in outline.walk(nodes)] == ["find", "choose", "told"]


def test_a_run_is_laid_over_its_outline() -> None:
    nodes = outline.of_definition(definition())
    attempt = SimpleNamespace(
        path=nodes[0].step.path,
        iteration="",
        status="succeeded",
        started_at=START + timedelta(seconds=1),
        finished_at=START + timedelta(seconds=3),
    )
    run = SimpleNamespace(created_at=START, started_at=START, finished_at=None)
    outline.lay_over(nodes, [attempt], run=run, now=START + timedelta(seconds=4))
    assert (nodes[0].status, nodes[0].duration_ms) == ("succeeded", 2000)
    assert (nodes[0].offset, nodes[0].width) == (25.0, 50.0)
    assert nodes[1].status == "upcoming"


def test_hard_wrapped_text_flows_and_keeps_its_paragraphs() -> None:
    text = "One line\n  and its end.\n\nA second\nparagraph.\n"
    assert tags.unwrap_lines(text) == "One line and its end.\n\nA second paragraph."
