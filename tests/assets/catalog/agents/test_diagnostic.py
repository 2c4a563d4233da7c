"""The Diagnostic Agent on charts of every level, and on data as strangers write it."""

import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest

from assets.manifest import load
from assets.sdk import AIAST, AssetError, Result, SlotResult
from fhir.validation import validate
from tests.assets.catalog.chart import (
    BLOOD,
    DIAGNOSTIC,
    DYSURIA,
    ESTERASE,
    LOINC,
    NITRITE,
    SNOMED,
    Call,
    condition,
    dipstick,
    observation,
    patient,
)

MANIFEST = load(DIAGNOSTIC / "asset.yaml")
POSITIVE = {"valueString": "POSITIVE"}
DENIED = {
    "resourceType": "Observation",
    "id": "no-symptoms",
    "status": "final",
    "code": {"coding": [{"system": SNOMED, "code": "249274008"}]},
    "subject": {"reference": "Patient/pat_123"},
    "effectiveDateTime": "2026-11-22T08:00:00Z",
    "valueBoolean": False,
}
CULTURE = "630-4"
ECOLI = "Greater than 100,000 colony forming units per mL Escherichia coli"


def agent() -> Any:
    from assets.registry import package

    return package("agent_diagnostic_v1").instantiate()


def run(resources: list[dict[str, Any]], **context: Any) -> Result:
    call = Call(resources, **context)
    result: Result = agent().run(call, {"patient_id": "pat_123"})
    assert MANIFEST.provides.output_schema is not None
    jsonschema.validate(result.output, MANIFEST.provides.output_schema)
    for write in result.resources:
        assert validate(write.resource) == []
    return result


def written(result: Result, resource_type: str) -> list[dict[str, Any]]:
    found = [write.resource for write in result.resources]
    return [item for item in found if item["resourceType"] == resource_type]


LIKELY = [patient(), condition(DYSURIA), *dipstick("POSITIVE", "3+", "1+")]


def test_dysuria_with_a_positive_dipstick_is_likely_with_the_published_probability() -> None:
    result = run(LIKELY)

    assert result.output["level"] == "likely"
    assert result.output["probability"] == 0.92
    assert result.output["rule"] == "little-2010-dipstick/nitrite_and_another"
    assert result.output["citation"]["doi"] == "10.3399/bjgp10X514747"
    assert result.output["red_flags"] == []
    (assessment,) = written(result, "RiskAssessment")
    assert assessment["status"] == "preliminary"
    assert assessment["subject"] == {"reference": "Patient/pat_123"}
    assert assessment["performer"] == {"reference": "Device/dep_test"}
    assert assessment["prediction"] == [
        {
            "outcome": {
                "coding": [
                    {
                        "system": SNOMED,
                        "code": "68566005",
                        "display": "Urinary tract infectious disease",
                    }
                ]
            },
            "probabilityDecimal": 0.92,
            "qualitativeRisk": {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/risk-probability",
                        "code": "high",
                        "display": "High likelihood",
                    }
                ]
            },
            "rationale": "Nitrite positive with leukocyte esterase or blood positive: PPV 92 % "
            "(Little 2010, BJGP 60:495).",
        }
    ]
    assert {item["reference"] for item in assessment["basis"]} == {
        "Patient/pat_123",
        "Condition/cond-49650001",
        f"Observation/obs-{NITRITE}",
        f"Observation/obs-{ESTERASE}",
        f"Observation/obs-{BLOOD}",
    }


def test_everything_is_labeled_and_preliminary() -> None:
    result = run(LIKELY)

    (report,) = written(result, "DiagnosticReport")
    assert report["status"] == "preliminary"
    assert report["conclusionCode"][0]["coding"][0]["code"] == "likely"
    assert {item["reference"] for item in report["result"]} == {
        f"Observation/obs-{code}" for code in (NITRITE, ESTERASE, BLOOD)
    }
    (order,) = written(result, "ServiceRequest")
    assert (order["status"], order["intent"]) == ("draft", "proposal")
    assert order["code"]["coding"][0]["code"] == "630-4"
    for resource_type in ("RiskAssessment", "DiagnosticReport", "ServiceRequest"):
        assert [r["meta"]["security"] for r in written(result, resource_type)] == [[AIAST]]
    used = {f"{item.reference}/_history/{item.version}" for item in result.evidence}
    assert f"Observation/obs-{NITRITE}/_history/1" in used
    assert result.output["evidence"] == sorted(used)
    assert [write.method for write in result.resources] == ["upsert"] * len(result.resources)


def test_the_event_holds_ids_only() -> None:
    result = run(LIKELY)

    (event,) = result.events
    assert event.type == "diagnostic.result_ready"
    assert event.payload == {
        "patient_id": "pat_123",
        "agent_run_id": "arun_test",
        "deployment_id": "dep_test",
        "asset_id": "agent_diagnostic_v1",
        "risk_assessment": result.output["risk_assessment"],
        "diagnostic_report": result.output["diagnostic_report"],
    }


def test_the_same_chart_gives_the_same_bytes_in_any_order() -> None:
    first, second = run(LIKELY), run(LIKELY[::-1])

    def frozen(result: Result) -> str:
        return json.dumps(
            [result.output, [w.resource for w in result.resources], result.rules, result.missing,
             result.evidence],
            default=str,
        )  # fmt: skip

    assert frozen(first) == frozen(second)


def test_the_run_record_has_every_rule_in_three_values() -> None:
    result = run(LIKELY)

    by_id = {rule.id: rule for rule in result.rules}
    assert by_id["little-2010-dipstick/nitrite_and_another"].result is True
    assert by_id["little-2010-dipstick/all_negative"].result is False
    assert by_id["significant-bacteriuria/significant"].result is None
    assert by_id["little-2010-dipstick/nitrite_and_another"].inputs == (
        f"Condition/cond-{DYSURIA}/_history/1",
        f"Observation/obs-{BLOOD}/_history/1",
        f"Observation/obs-{ESTERASE}/_history/1",
        f"Observation/obs-{NITRITE}/_history/1",
        "Patient/pat_123/_history/1",
    )
    assert {e.reference: e.version for e in result.evidence}["Patient/pat_123"] == 1


LEVELS: list[tuple[str, list[dict[str, Any]], str, float | None]] = [
    ("R1 0.92", [condition(DYSURIA), *dipstick("Positive", "2+", "Negative")], "likely", 0.92),
    ("R1 0.81", [condition(DYSURIA), *dipstick("Negative", "2+", "trace")], "likely", 0.81),
    ("R1 0.43", [condition(DYSURIA), *dipstick("Negative", "2+", "Negative")], "possible", 0.43),
    ("R1 0.24", [condition(DYSURIA), *dipstick("neg", "neg", "neg")], "unlikely", 0.24),
    ("trace of esterase", [condition(DYSURIA), *dipstick("neg", "trace", "neg")], "unlikely", 0.24),
    ("culture", [condition(DYSURIA), observation(CULTURE, ECOLI)], "likely", None),
    (
        "no growth",
        [condition(DYSURIA), *dipstick("pos", "pos", "pos"), observation(CULTURE, "No growth")],
        "unlikely",
        None,
    ),
    ("low", [condition(DYSURIA), observation(CULTURE, "10,000 CFU/mL E. coli")], "possible", None),
    ("asymptomatic", [DENIED, observation(CULTURE, ECOLI)], "asymptomatic_bacteriuria", None),
    ("mixed", [condition(DYSURIA), observation(CULTURE, "Mixed flora")], "contaminated", None),
    (
        "epithelial",
        [condition(DYSURIA), *dipstick("neg", "2+", "neg"), observation("5787-7", "10-20 /HPF")],
        "contaminated",
        None,
    ),
    ("nothing", [], "insufficient_data", None),
    ("symptoms only", [condition(DYSURIA)], "insufficient_data", None),
    ("no symptoms recorded", dipstick("pos", "2+", "1+"), "insufficient_data", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("chart", "level", "probability"),
    [pytest.param(chart, level, number, id=name) for name, chart, level, number in LEVELS],
)
def test_every_level(chart: list[dict[str, Any]], level: str, probability: float | None) -> None:
    result = run([patient(), *chart])

    assert (result.output["level"], result.output["probability"]) == (level, probability)


@pytest.mark.parametrize(
    "person",
    [
        pytest.param(patient(gender="male"), id="a man"),
        pytest.param(patient(birthDate="1940-01-01"), id="a woman of 86"),
        pytest.param({"resourceType": "Patient", "id": "pat_123"}, id="sex and age not recorded"),
        pytest.param(patient(gender="unknown"), id="sex unknown"),
    ],
)
def test_outside_the_studied_population_no_probability_is_stated(person: dict[str, Any]) -> None:
    result = run([person, *LIKELY[1:]])

    assert (result.output["level"], result.output["probability"]) == ("likely", None)


def coded(system: str, code: str) -> dict[str, Any]:
    return {"valueCodeableConcept": {"coding": [{"system": system, "code": code}]}}


@pytest.mark.parametrize(
    "value",
    [
        "Positive", "positive", "POSITIVE", "2+", "+", "Detected", "present",
        coded(SNOMED, "10828004"), coded(SNOMED, "260373001"), coded(LOINC, "LA6576-8"),
        {"valueCodeableConcept": {"text": "Positive"}}, {"valueBoolean": True},
        {"interpretation": [{"coding": [{"code": "POS"}]}]},
        {"interpretation": [{"coding": [{"code": "A"}]}]}, {"valueInteger": 1},
        {"valueQuantity": {"value": 3}, "interpretation": [{"coding": [{"code": "A"}]}]},
    ],
)  # fmt: skip
def test_a_positive_dipstick_is_understood_however_it_is_written(
    value: Mapping[str, Any] | str,
) -> None:
    strips = [observation(code, value) for code in (NITRITE, ESTERASE, BLOOD)]
    result = run([patient(), condition(DYSURIA), *strips])

    assert (result.output["level"], result.output["probability"]) == ("likely", 0.92)


@pytest.mark.parametrize(
    ("codes"),
    [
        ("50558-6", "60026-2", "57751-0"),
        ("32710-6", "5799-2", "57747-8"),
        ("5802-4", "60026-2", "5794-3"),
    ],
)
def test_other_codes_of_the_same_tests_are_known(codes: tuple[str, ...]) -> None:
    result = run([patient(), condition(DYSURIA), *(observation(c, "pos") for c in codes)])

    assert result.output["probability"] == 0.92


SYMPTOMS = [
    pytest.param(condition(DYSURIA), id="SNOMED condition"),
    pytest.param(condition("R30.0", "http://hl7.org/fhir/sid/icd-10-cm"), id="ICD-10-CM"),
    pytest.param(condition("R30.0", "http://hl7.org/fhir/sid/icd-10"), id="ICD-10"),
    pytest.param(condition("162116003"), id="frequency"),
    pytest.param(
        {k: v for k, v in condition(DYSURIA).items() if k != "onsetDateTime"}, id="without onset"
    ),
    pytest.param(
        {k: v for k, v in condition(DYSURIA).items() if k != "clinicalStatus"},
        id="without clinical status",
    ),
    pytest.param({**condition(DYSURIA), "code": {"text": "Dysuria"}}, id="text only"),
    pytest.param(
        {**condition(DYSURIA), "onsetDateTime": "2026-03-01", "recordedDate": "2026-11-20"},
        id="old onset, recorded this week",
    ),
    pytest.param(
        observation("x", coded(SNOMED, DYSURIA), code={"text": "Symptom"}), id="as a value"
    ),
    pytest.param(
        observation("x", "Dysuria", code={"text": "Chief complaint"}), id="as a text value"
    ),
    pytest.param(
        {**condition(DYSURIA), "code": {"coding": [{"code": DYSURIA}]}}, id="without system"
    ),
    pytest.param(condition(DYSURIA, "urn:oid:2.16.840.1.113883.6.96"), id="system as an object id"),
    pytest.param(
        {**condition(DYSURIA), "code": {"text": "Dysuria (finding)"}}, id="fully specified name"
    ),
    pytest.param(
        observation(
            "x", {"valueBoolean": True}, code={"coding": [{"system": SNOMED, "code": DYSURIA}]}
        ),
        id="as an observation",
    ),
    pytest.param(
        observation("x", {}, code={"coding": [{"system": SNOMED, "code": DYSURIA}]}),
        id="as a bare finding",
    ),
    pytest.param(
        {
            "resourceType": "Encounter",
            "id": "enc",
            "status": "in-progress",
            "class": {"code": "AMB"},
            "subject": {"reference": "Patient/pat_123"},
            "reasonCode": [{"coding": [{"system": SNOMED, "code": DYSURIA}]}],
        },
        id="as the reason of an encounter",
    ),
]


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_a_symptom_is_understood_however_it_is_recorded(symptom: dict[str, Any]) -> None:
    result = run([patient(), symptom, *dipstick("pos", "pos", "pos")])

    assert result.output["probability"] == 0.92


@pytest.mark.parametrize(
    "symptom",
    [
        pytest.param({**condition(DYSURIA), "onsetDateTime": "2026-10-01"}, id="stale"),
        pytest.param({**condition(DYSURIA), "abatementDateTime": "2026-11-20"}, id="abated"),
        pytest.param(
            {**condition(DYSURIA), "clinicalStatus": {"coding": [{"code": "resolved"}]}},
            id="resolved",
        ),
        pytest.param(
            {
                **condition(DYSURIA),
                "verificationStatus": {"coding": [{"code": "entered-in-error"}]},
            },
            id="entered in error",
        ),
        pytest.param({**condition(DYSURIA), "subject": {"reference": "Patient/x"}}, id="another's"),
        pytest.param(
            observation("10157-6", coded(SNOMED, DYSURIA)), id="of a family member"
        ),
    ],
)  # fmt: skip
def test_what_is_no_current_symptom_does_not_count(symptom: dict[str, Any]) -> None:
    result = run([patient(), symptom, *dipstick("pos", "pos", "pos")])

    assert result.output["level"] == "insufficient_data"
    assert result.output["missing"][0] == "dysuria"


@pytest.mark.parametrize(
    "change",
    [
        {"effectiveDateTime": "2026-11-22"},
        {"effectiveDateTime": "2026-11"},
        {"effectiveDateTime": "2026-11-22T08:30:00.123456789+05:30"},
        {"effectiveDateTime": None, "issued": "2026-11-22T08:30:00Z"},
        {"effectiveDateTime": None},
        {"effectiveDateTime": None, "effectivePeriod": {"start": "2026-11-22"}},
        {"effectiveDateTime": "2026-11-08T10:00:01Z"},
        {"status": "preliminary"},
        {"status": "amended"},
    ],
)
def test_results_count_by_whatever_date_they_have(change: dict[str, Any]) -> None:
    strips = [
        {k: v for k, v in {**strip, **change}.items() if v is not None}
        for strip in dipstick("pos", "pos", "pos")
    ]
    call = Call([patient(), condition(DYSURIA), *strips])
    result = agent().run(call, {"patient_id": "Patient/pat_123"})

    assert result.output["probability"] == 0.92


@pytest.mark.parametrize(
    "change",
    [
        {"effectiveDateTime": "2026-11-07"},
        {"effectiveDateTime": "2027-01-01"},
        {"status": "entered-in-error"},
        {"status": "cancelled"},
        {"subject": {"reference": "Patient/another"}},
    ],
)
def test_stale_void_and_foreign_results_do_not_count(change: dict[str, Any]) -> None:
    strips = [{**strip, **change} for strip in dipstick("pos", "pos", "pos")]
    result = run([patient(), condition(DYSURIA), *strips])

    assert result.output["level"] == "insufficient_data"


def test_the_newest_result_counts() -> None:
    older = observation(NITRITE, "Positive", id="a", effectiveDateTime="2026-11-20")
    newer = observation(NITRITE, "Negative", id="b", effectiveDateTime="2026-11-22T07:00:00Z")
    unusable = observation(NITRITE, "TNP", id="c", effectiveDateTime="2026-11-22T09:00:00Z")
    rest = [observation(ESTERASE, "neg"), observation(BLOOD, "neg")]
    result = run([patient(), condition(DYSURIA), older, newer, unusable, *rest])

    assert result.output["probability"] == 0.24


def test_a_panel_with_components_is_read() -> None:
    panel = observation("24357-6", {})
    panel["component"] = [
        {"code": {"coding": [{"system": LOINC, "code": code}]}, "valueString": "Positive"}
        for code in (NITRITE, ESTERASE, BLOOD)
    ]
    result = run([patient(), condition(DYSURIA), panel])

    assert result.output["probability"] == 0.92
    assert written(result, "DiagnosticReport")[0]["result"] == [
        {"reference": "Observation/obs-24357-6"}
    ]


def test_fever_with_flank_pain_is_a_red_flag_with_an_urgent_task() -> None:
    fever = observation("8310-5", {"valueQuantity": {"value": 102.4, "unit": "F"}})
    result = run([*LIKELY, condition("102830001"), fever])

    assert (result.output["level"], result.output["probability"]) == ("likely", None)
    assert result.output["classification"] == "complicated"
    assert result.output["red_flags"] == ["Fever with flank pain: possible pyelonephritis."]
    (task,) = written(result, "Task")
    assert (task["status"], task["priority"]) == ("requested", "urgent")
    assert task["for"] == {"reference": "Patient/pat_123"}
    assert [(event.type, event.severity) for event in result.events] == [
        ("diagnostic.result_ready", "info"),
        ("diagnostic.red_flag_raised", "critical"),
    ]
    assert result.events[1].payload["flags"] == ["uti-red-flags/pyelonephritis"]


def test_an_open_task_for_the_same_flags_is_not_doubled() -> None:
    flagged = [*LIKELY, condition("77386006")]
    (task,) = written(run(flagged), "Task")
    again = run([*flagged, task])
    done = run([*flagged, {**task, "status": "completed"}])

    assert written(again, "Task") == []
    assert again.output["task"] == f"Task/{task['id']}"
    assert written(done, "Task")[0]["id"] != task["id"]


def test_a_culture_on_order_is_not_ordered_again() -> None:
    order = {
        "resourceType": "ServiceRequest",
        "id": "sr-1",
        "status": "active",
        "intent": "order",
        "code": {"coding": [{"system": LOINC, "code": "630-4"}]},
        "subject": {"reference": "Patient/pat_123"},
        "authoredOn": "2026-11-21",
    }

    assert written(run([*LIKELY, order]), "ServiceRequest") == []
    assert len(written(run([*LIKELY, {**order, "status": "completed"}]), "ServiceRequest")) == 1
    assert written(run(LIKELY, config={"draft_culture_orders": False}), "ServiceRequest") == []


def test_bacteriuria_without_symptoms_is_an_issue_not_a_treatment() -> None:
    result = run([patient(birthDate="1946-01-01"), DENIED, observation(CULTURE, ECOLI)])

    assert result.output["level"] == "asymptomatic_bacteriuria"
    (issue,) = written(result, "DetectedIssue")
    assert (issue["status"], issue["severity"]) == ("preliminary", "moderate")
    assert issue["code"]["text"].startswith("Bacteriuria without urinary symptoms: do not treat")
    assert issue["reference"] == "https://doi.org/10.1093/cid/ciy1121"
    assert {"reference": f"Observation/obs-{CULTURE}"} in issue["implicated"]
    assert result.output["detected_issues"] == [f"DetectedIssue/{issue['id']}"]
    assert written(result, "ServiceRequest") == []


def test_a_woman_who_may_be_pregnant_gets_a_pregnancy_test_before_advice() -> None:
    result = run([patient(), DENIED, observation(CULTURE, ECOLI)])

    assert result.output["level"] == "asymptomatic_bacteriuria"
    assert written(result, "DetectedIssue") == []
    assert "pregnant" in result.output["missing"]


def test_in_long_term_care_the_surveillance_rules_apply() -> None:
    chart = [patient(birthDate="1940-01-01"), condition(DYSURIA), observation(CULTURE, ECOLI)]
    result = run(chart, config={"care_setting": "long_term_care"})

    by_id = {rule.id: rule.result for rule in result.rules}
    assert by_id["stone-2012-mcgeer/no_catheter"] is None
    assert by_id["stone-2012-mcgeer/with_catheter"] is None
    assert "catheter" in result.output["missing"]
    elsewhere = {rule.id: rule.result for rule in run(chart).rules}
    assert elsewhere["stone-2012-mcgeer/no_catheter"] is False


def test_an_unknown_patient_is_named() -> None:
    with pytest.raises(AssetError) as caught:
        run([])

    assert caught.value.code == "patient_not_found"
    assert "Patient/pat_123" in caught.value.message
    assert caught.value.retryable is False


class Laboratory:
    """A filled slot that answers as told."""

    asset_id = "connector_quest_diagnostics_v1"
    deployment_id = "dep_quest"

    def __init__(self, answer: SlotResult | AssetError) -> None:
        self.answer = answer
        self.asked: list[tuple[str | None, dict[str, Any]]] = []

    def invoke(self, action: str | None, input: dict[str, Any]) -> SlotResult:
        self.asked.append((action, input))
        if isinstance(self.answer, AssetError):
            raise self.answer
        return self.answer


def test_results_that_wait_in_the_laboratory_are_used_at_once() -> None:
    waiting = dipstick("POSITIVE", "3+", "NEGATIVE")
    foreign = {**observation(BLOOD, "3+", id="z"), "subject": {"reference": "Patient/another"}}
    laboratory = Laboratory(SlotResult({"filed": 1}, [*waiting, foreign]))
    stored = observation(NITRITE, "Negative")
    result = run([patient(), condition(DYSURIA), stored], slots={"labs": laboratory})

    assert laboratory.asked == [("retrieve_results", {"patient_id": "pat_123"})]
    assert result.output["probability"] == 0.92
    versions = {item.reference: item.version for item in result.evidence}
    assert versions[f"Observation/obs-{NITRITE}"] == 2
    assert versions[f"Observation/obs-{ESTERASE}"] == 1
    assert result.actions[0]["result"] == "succeeded"


def test_a_laboratory_that_fails_does_not_stop_the_screening() -> None:
    error = AssetError("vendor_timeout", "Quest did not answer.", retryable=True)
    result = run(LIKELY, slots={"labs": Laboratory(error)})

    assert result.output["level"] == "likely"
    assert result.actions[0]["error"]["code"] == "vendor_timeout"
    silent = Laboratory(error)
    run(LIKELY, slots={"labs": silent}, config={"retrieve_results": False})
    assert silent.asked == []


def test_the_check_proves_the_rules() -> None:
    (probe,) = agent().check(Call())

    assert (probe.name, probe.ok) == ("rules", True)
