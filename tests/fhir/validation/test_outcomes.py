"""Issues become an OperationOutcome that is itself valid."""

from fhir.validation import Issue, outcome, validate


def test_each_issue_is_said_with_place_and_remedy():
    issue = Issue("error", "required", "Observation.status", "Observation.status is required.")
    assert outcome([issue]) == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": "required",
                "diagnostics": "Observation.status is required.",
                "expression": ["Observation.status"],
            }
        ],
    }


def test_no_issue_is_all_well():
    assert outcome([])["issue"][0]["severity"] == "information"


def test_outcomes_are_valid_resources():
    assert validate(outcome([])) == []
    assert validate(outcome(validate({"resourceType": "Observation"}))) == []
    assert validate(outcome(validate([]))) == []
