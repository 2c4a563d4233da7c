"""What validation answers. https://hl7.org/fhir/R4/operationoutcome.html"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["fatal", "error", "warning", "information"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One finding: where (a simple FHIRPath), what is wrong, and what to do.

    `code` is an IssueType: required, structure, value, code-invalid, invariant …
    """

    severity: Severity
    code: str
    expression: str
    diagnostics: str


def outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """Answer the OperationOutcome that says all of the issues, or that all is well."""
    entries = [
        {
            "severity": issue.severity,
            "code": issue.code,
            "diagnostics": issue.diagnostics,
            **({"expression": [issue.expression]} if issue.expression else {}),
        }
        for issue in issues
    ]
    all_well = {"severity": "information", "code": "informational", "diagnostics": "All OK."}
    return {"resourceType": "OperationOutcome", "issue": entries or [all_well]}
