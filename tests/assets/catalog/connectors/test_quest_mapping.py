"""From an OBX to value[x], and from an OBR to resources that are valid R4."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets import registry
from assets.catalog.connectors.quest_diagnostics.mapping import map_group
from assets.catalog.connectors.quest_diagnostics.messages import MessageError, parse_oru
from assets.simulators.quest.orders import result_of_order
from fhir.validation import validate

HEAD = (
    "MSH|^~\\&|LAB|MET|HC||20261121103000||ORU^R01|80001|T|2.5.1\r"
    "PID|1||M1^^^C^MR||DOE^JANE||19700214|F\r"
    "OBR|1|HC-1|WX1|5463^UA^L|||20261120140000|||||||||||||||20261121100000|||{status}\r"
)


def mapped(*lines: str, status: str = "F") -> list[dict[str, Any]]:
    text = HEAD.format(status=status) + "".join(line + "\r" for line in lines)
    message = parse_oru(text)
    return map_group(message, message.groups[0], "Patient/1", order=None).all()


def observation(kind: str, value: str, units: str = "", status: str = "F") -> dict[str, Any]:
    line = f"OBX|1|{kind}|5821-4^WBC^LN||{value}|{units}|||||{status}"
    return next(item for item in mapped(line) if item["resourceType"] == "Observation")


@pytest.mark.parametrize(
    ("kind", "value", "units", "member", "expected"),
    [
        (
            "NM",
            "40",
            "/HPF^^UCUM",
            "valueQuantity",
            {
                "value": 40,
                "unit": "/HPF",
                "system": "http://unitsofmeasure.org",
                "code": "/[HPF]",
            },
        ),
        ("NM", "1.50", "", "valueQuantity", {"value": 1.5}),
        ("ST", "<10", "", "valueQuantity", {"value": 10, "comparator": "<"}),
        (
            "ST",
            ">100,000 CFU/mL",
            "",
            "valueQuantity",
            {
                "value": 100000,
                "comparator": ">",
                "unit": "CFU/mL",
                "system": "http://unitsofmeasure.org",
                "code": "[CFU]/mL",
            },
        ),
        ("ST", "3+", "", "valueString", "3+"),
        ("ST", "5 seen", "", "valueString", "5 seen"),
        ("ST", "POSITIVE", "", "valueString", "POSITIVE"),
        ("NM", "see note", "", "valueString", "see note"),
        ("SN", "<^10", "", "valueQuantity", {"value": 10, "comparator": "<"}),
        ("SN", "^1^-^5", "", "valueRange", {"low": {"value": 1}, "high": {"value": 5}}),
        (
            "SN",
            "^1^:^64",
            "",
            "valueRatio",
            {"numerator": {"value": 1}, "denominator": {"value": 64}},
        ),
        (
            "CE",
            "112283007^Escherichia coli^SCT",
            "",
            "valueCodeableConcept",
            {
                "coding": [{"system": "http://snomed.info/sct", "code": "112283007"}],
                "text": "Escherichia coli",
            },
        ),
        ("DT", "20261120", "", "valueDateTime", "2026-11-20"),
    ],
)
def test_values_keep_their_meaning(
    kind: str, value: str, units: str, member: str, expected: object
) -> None:
    assert observation(kind, value, units)[member] == expected


def test_the_laboratorys_own_words_stay_beside_a_parsed_number() -> None:
    assert observation("ST", "<10")["extension"][0]["valueString"] == "<10"


@pytest.mark.parametrize(("value", "status"), [("TNP", "F"), ("", "X")])
def test_a_test_that_was_not_performed_has_no_value(value: str, status: str) -> None:
    found = observation("ST", value, status=status)
    assert found["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
    assert not [name for name in found if name.startswith("value")]


def test_every_resource_is_valid_and_the_pdf_is_kept() -> None:
    resources = mapped(
        "OBX|1|ST|5802-4^NITRITE^LN||POSITIVE||NEGATIVE|A|||F|||20261120140000|MET^Quest",
        "OBX|2|NM|5821-4^WBC^LN||40|/HPF^^UCUM|0 - 5|H|||F",
        "NTE|1|L|Seen twice",
        "OBX|3|ED|PDF^Report^L||^AP^PDF^Base64^JVBERi0=||||||F",
        "SPM|1|||122575003^Urine specimen^SCT|||||||||||||20261120140000",
        status="C",
    )
    for resource in resources:
        assert validate(resource) == [], resource
    report = next(item for item in resources if item["resourceType"] == "DiagnosticReport")
    assert report["status"] == "corrected"
    assert report["presentedForm"][0]["contentType"] == "application/pdf"
    wbc = next(item for item in resources if item.get("note"))
    assert wbc["referenceRange"][0]["high"] == {"value": 5.0, "unit": "/HPF"}


def test_the_recorded_result_maps_to_valid_resources() -> None:
    text = registry.package("quest").read("examples/quest_oru_r01.hl7").decode()
    message = parse_oru(text)
    resources = map_group(message, message.groups[0], "Patient/1", order=None).all()
    assert [item["resourceType"] for item in resources] == [
        "ServiceRequest",
        "Observation",
        "Observation",
        "Observation",
        "DiagnosticReport",
    ]
    for resource in resources:
        assert validate(resource) == [], resource


def test_the_recorded_order_is_one_that_the_laboratory_takes() -> None:
    text = registry.package("quest").read("examples/quest_orm_o01.hl7").decode()
    answered = parse_oru(result_of_order(text).text)
    assert answered.groups[0].placer == "HC-0001"
    assert answered.patient.birth_date == "1970-02-14"


def test_what_is_measured_twice_is_filed_twice() -> None:
    line = "OBX|{}|ST|600-7^ORGANISM^LN||{}||||||F"
    both = [
        item
        for item in mapped(line.format(1, "E. coli"), "NTE|1|L|x", line.format(2, "K. pneumoniae"))
        if item["resourceType"] == "Observation"
    ]
    assert [item["valueString"] for item in both] == ["E. coli", "K. pneumoniae"]
    assert both[0]["id"] != both[1]["id"]


TEXT = st.text(st.characters(min_codepoint=1, max_codepoint=0x24F), max_size=25)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["NM", "SN", "ST", "TX", "CE", "CWE", "DT", "TS", "ED", "XX"]),
    fields=st.lists(TEXT, min_size=12, max_size=12),
)
@example(kind="NM", fields=["0", "", "^0", *[""] * 9])
def test_whatever_the_laboratory_sends_is_refused_or_valid(kind: str, fields: list[str]) -> None:
    """One message that the store refuses would hold up all others of its batch."""
    code, sub_id, value, units, limits, flags, status, *_, observed, lab, method, note = fields
    obx = ["OBX", "1", kind, code, sub_id, value, units, limits, flags, "", "", status, "", ""]
    lines = ["|".join([*obx, observed, lab, "", method]), f"NTE|1|L|{note}"]
    try:
        resources = mapped(*lines, f"SPM|1|||{code}|||||||||||||{observed}")
    except MessageError:
        return
    for resource in resources:
        assert validate(resource) == [], (lines, resource)


def test_the_same_measurement_keeps_its_id() -> None:
    first, second = observation("ST", "NEGATIVE"), observation("ST", "POSITIVE")
    assert first["id"] == second["id"]
