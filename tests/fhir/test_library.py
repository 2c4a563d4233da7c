"""The library fhir.resources can be used beside the store to build resources in Python."""

from fhir.resources.R4B.observation import Observation

from fhir.validation import validate


def test_what_its_r4b_models_build_is_valid_here() -> None:
    built = Observation(
        status="final",
        code={"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
        valueQuantity={"value": 101.2, "unit": "F"},
    )
    assert validate({"resourceType": "Observation", **built.model_dump(exclude_none=True)}) == []
