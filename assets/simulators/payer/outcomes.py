"""How the payer refuses: an OperationOutcome whose issues say what is wrong and where."""

from collections.abc import Sequence
from dataclasses import dataclass

from assets.simulators.exchange import Answer

FHIR_JSON = "application/fhir+json"


@dataclass(frozen=True, slots=True)
class Issue:
    """One fault of a request."""

    code: str
    text: str
    expression: str = ""


def outcome(status: int, issues: Sequence[Issue]) -> Answer:
    """Return the answer that names the issues."""
    found = [
        {
            "severity": "error",
            "code": issue.code,
            "details": {"text": issue.text},
            **({"expression": [issue.expression]} if issue.expression else {}),
        }
        for issue in issues
    ]
    return fhir({"resourceType": "OperationOutcome", "issue": found}, status=status)


def fhir(resource: dict[str, object], *, status: int = 200) -> Answer:
    """Return a FHIR resource as an answer."""
    answer = Answer.json(resource, status=status)
    return Answer(answer.status, answer.body, FHIR_JSON, answer.headers)
