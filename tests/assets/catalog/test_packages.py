"""The first-party packages as a whole: manifests, shared rules, what they bring."""

import json

import jsonschema
import pytest
import yaml

from assets.manifest import load
from assets.rules import open_rules
from assets.sdk import Result
from tests.assets.catalog.chart import CATALOG, DIAGNOSTIC, Call
from workflows.validation import validate

DIPSTICK = CATALOG / "models" / "uti_dipstick"
MODEL = load(DIPSTICK / "asset.yaml")


def predict(**given: object) -> Result:
    from assets.registry import package

    model = package("model_uti_dipstick_v1").instantiate()
    assert MODEL.provides.input_schema is not None
    jsonschema.validate(given, MODEL.provides.input_schema)
    result: Result = model.predict(Call(folder=DIPSTICK), given)  # type: ignore[attr-defined]
    assert MODEL.provides.output_schema is not None
    jsonschema.validate(result.output, MODEL.provides.output_schema)
    return result


def test_the_workflow_that_the_agent_brings_is_valid() -> None:
    definition = json.loads((DIAGNOSTIC / "workflows" / "uti_screening.json").read_text())
    parsed = validate(definition)

    assert parsed.problems == []
    assert parsed.definition is not None
    assert parsed.definition.slug == "uti_screening"
    assert parsed.definition.input_schema["required"] == ["patient_id"]


def test_model_and_agent_ship_the_same_published_rule() -> None:
    name = "rules/little-2010-dipstick.yaml"
    assert (DIPSTICK / name).read_bytes() == (DIAGNOSTIC / name).read_bytes()
    ours = yaml.safe_load((DIPSTICK / "rules" / "inputs.yaml").read_text())["inputs"]
    theirs = yaml.safe_load((DIAGNOSTIC / "rules" / "inputs.yaml").read_text())["inputs"]
    assert ours == {key: theirs[key] for key in ours}
    assert set(open_rules(DIPSTICK / "rules").packs) == {"little-2010-dipstick"}


@pytest.mark.parametrize(
    ("strip", "level", "probability"),
    [
        (("positive", "positive", "positive"), "likely", 0.92),
        ((True, False, True), "likely", 0.92),
        (("positive", "negative", "negative"), "likely", 0.81),
        (("negative", "positive", "positive"), "likely", 0.81),
        (("negative", "positive", "negative"), "possible", 0.43),
        (("negative", "negative", "negative"), "unlikely", 0.24),
        ((None, "positive", "negative"), "insufficient_data", None),
    ],
)
def test_the_model_gives_the_published_values(
    strip: tuple[object, object, object], level: str, probability: float | None
) -> None:
    nitrite, esterase, blood = strip
    output = predict(
        sex="female",
        age=34,
        symptoms=["dysuria"],
        nitrite=nitrite,
        leukocyte_esterase=esterase,
        blood=blood,
    ).output

    assert (output["level"], output["probability"]) == (level, probability)


def test_the_model_knows_its_limits() -> None:
    strip = {"nitrite": "positive", "leukocyte_esterase": "positive", "blood": "positive"}

    assert predict(sex="male", age=34, symptoms=["dysuria"], **strip).output["probability"] is None
    assert predict(sex="female", age=34, symptoms=[], **strip).output["probability"] is None
    pregnant = predict(sex="female", age=34, symptoms=["dysuria"], pregnant=True, **strip)
    assert pregnant.output["level"] == "insufficient_data"
    unknown = predict(**strip)
    assert unknown.output["level"] == "insufficient_data"
    assert unknown.output["missing"][:2] == ["age", "dysuria"]


def test_the_app_brings_agent_laboratory_and_patients() -> None:
    app = load(CATALOG / "apps" / "uti_screening" / "asset.yaml")

    assert app.id == "app_uti_screening_v1"
    assert app.required_assets == (
        "connector_quest_diagnostics_v1",
        "agent_diagnostic_v1",
        "dataset_synthetic_patients_v1",
    )
