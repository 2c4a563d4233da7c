"""Rule files that can't be used: the error names the file and the field."""

from pathlib import Path

import pytest
import yaml

from assets.rules import PackError, open_rules
from assets.rules.packs import read_inputs, read_packs
from tests.assets.catalog.chart import DIAGNOSTIC, NOW

INPUTS = {
    "version": "1.0.0",
    "systems": {"loinc": "http://loinc.org"},
    "inputs": {
        "age": {
            "title": "Age",
            "kind": "patient",
            "element": "age",
            "next_test": {"text": "Ask", "cost": 0},
        },
        "nitrite": {
            "title": "Nitrite",
            "kind": "presence",
            "codes": ["loinc|5802-4"],
            "lookback_days": 14,
            "next_test": {"text": "Dipstick", "cost": 2},
        },
    },
}
PACK = {
    "id": "one",
    "version": "1.0.0",
    "title": "One",
    "purpose": "diagnosis",
    "citation": {"text": "Somebody 2020", "url": "https://doi.org/10.1000/x"},
    "rules": [{"id": "positive", "title": "Positive", "when": "nitrite and age >= 18"}],
    "cases": [{"name": "x", "given": {"nitrite": True}, "expect": {"rules": {}}}],
}


def write(folder: Path, name: str, document: object) -> None:
    (folder / name).write_text(yaml.safe_dump(document))


def fault(folder: Path, **changes: object) -> PackError:
    write(folder, "inputs.yaml", INPUTS)
    write(folder, "one.yaml", {**PACK, **changes})
    with pytest.raises(PackError) as caught:
        read_packs(folder, read_inputs(folder / "inputs.yaml"))
    return caught.value


def test_a_sound_folder_opens(tmp_path: Path) -> None:
    write(tmp_path, "inputs.yaml", INPUTS)
    write(tmp_path, "one.yaml", PACK)
    book = open_rules(tmp_path)
    evaluation = book.evaluate("one", [], now=NOW, parameters={"nitrite": True, "age": 20})

    assert [(r.id, r.version, r.result) for r in evaluation.rules] == [
        ("one/positive", "1.0.0", True)
    ]
    assert evaluation.facts == {"nitrite": True}
    assert evaluation.missing == []
    assert evaluation.evidence() == []


def test_a_folder_without_a_vocabulary_is_empty(tmp_path: Path) -> None:
    assert open_rules(tmp_path).packs == {}


@pytest.mark.parametrize(
    ("changes", "field", "what"),
    [
        ({"rules": [{"id": "a", "title": "A", "when": "nitrate"}]}, "rules[0].when", "nitrate"),
        ({"rules": [{"id": "a", "title": "A", "when": "age"}]}, "rules[0].when", "compared"),
        ({"rules": [{"id": "a", "title": "A"}]}, "rules[0]", "'when' is a required property"),
        ({"rules": []}, "rules", "non-empty"),
        ({"citation": {"text": "x"}}, "citation", "'url' is a required property"),
        ({"citation": {"text": "x", "url": "https://x", "doi": "12"}}, "citation.doi", "match"),
        ({"colour": "red"}, "file", "'colour' was unexpected"),
        ({"id": "two"}, "id", "the file must bear that name"),
        ({"uses": {"other": "missing"}}, "uses.other", "no pack 'missing'"),
        ({"uses": {"me": "one"}}, "uses.me", "or it uses this one"),
        ({"definitions": {"age": "nitrite"}}, "definitions.age", "already an input"),
        ({"definitions": {"d": "nitrite and"}}, "definitions.d", "expected a finding"),
        (
            {"population": {"description": "x", "unless": [{"when": "z", "because": "y"}]}},
            "population.unless[0].when",
            "unknown finding 'z'",
        ),
        (
            {"rules": [{"id": "a", "title": "A", "when": "nitrite", "output": {"from": "x.y"}}]},
            "rules[0].output.from",
            "no rule 'x.y'",
        ),
        (
            {
                "rules": [
                    {"id": "a", "title": "A", "when": "nitrite", "output": {"probability": 0.5}}
                ]
            },
            "rules[0].output",
            "'basis' is a dependency of 'probability'",
        ),
        ({"rules": [PACK["rules"][0], PACK["rules"][0]]}, "rules[1].id", "stands twice"),  # type: ignore[index]
    ],
)
def test_a_faulty_pack_is_named_with_its_field(
    tmp_path: Path, changes: dict[str, object], field: str, what: str
) -> None:
    error = fault(tmp_path, **changes)

    assert error.file == "one.yaml"
    assert field in [at for at, _ in error.problems]
    assert what in str(error)
    assert str(error).startswith("one.yaml: ")


def test_all_faults_of_a_pack_are_listed_at_once(tmp_path: Path) -> None:
    rules = [
        {"id": "a", "title": "A", "when": "x"},
        {"id": "b", "title": "B", "when": "y"},
    ]

    assert [at for at, _ in fault(tmp_path, rules=rules).problems] == [
        "rules[0].when",
        "rules[1].when",
    ]


def test_a_faulty_vocabulary_is_named_with_its_field(tmp_path: Path) -> None:
    nitrite = {**INPUTS["inputs"]["nitrite"], "codes": ["sct|1"]}  # type: ignore[index]
    write(tmp_path, "inputs.yaml", {**INPUTS, "inputs": {"nitrite": nitrite}})
    with pytest.raises(PackError, match=r"inputs.yaml: inputs.nitrite.codes: unknown system 'sct'"):
        read_inputs(tmp_path / "inputs.yaml")
    (tmp_path / "inputs.yaml").write_text("a: [")
    with pytest.raises(PackError, match=r"inputs.yaml: file: "):
        read_inputs(tmp_path / "inputs.yaml")


def test_an_unknown_pack_or_parameter_is_refused() -> None:
    book = open_rules(DIAGNOSTIC / "rules")
    with pytest.raises(PackError, match=r"nothing.yaml: file: there is no such pack"):
        book.evaluate("nothing", [], now=NOW)
    with pytest.raises(PackError, match=r"inputs.yaml: colour: is not an input"):
        book.evaluate("uti-screening", [], now=NOW, parameters={"colour": True})
