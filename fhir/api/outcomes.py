"""Errors as OperationOutcome. https://hl7.org/fhir/R4/operationoutcome.html"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from fhir.documents import JsonObject
from healthcloud.api.errors import ErrorDescription

_ISSUE_CODES: Final[Mapping[int, str]] = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    409: "conflict",
    410: "deleted",
    412: "conflict",
    413: "too-long",
    415: "not-supported",
    422: "processing",
    429: "throttled",
    500: "exception",
    501: "not-supported",
    503: "transient",
}
_ELEMENT_PATH: Final = re.compile(r"[A-Z]\w*(\.[\w\[\]()'\"/:.\-]+)?")


def outcome_of(
    error: ErrorDescription, *, issue_code: str | None = None, request_id: str = ""
) -> JsonObject:
    """Return the OperationOutcome of an error; validation errors bring all of their issues."""
    outcome: JsonObject = {"resourceType": "OperationOutcome"}
    if request_id:
        outcome["id"] = request_id.replace("_", "-")
    if isinstance(error.details, Sequence) and _are_issues(error.details):
        return {**outcome, "issue": list(error.details)}
    issue: JsonObject = {
        "severity": "error",
        "code": issue_code or _ISSUE_CODES.get(error.status, "processing"),
        "details": {"text": error.code},
        "diagnostics": error.message,
    }
    if error.param and _ELEMENT_PATH.fullmatch(error.param):
        issue["expression"] = [error.param]
    return {**outcome, "issue": [issue]}


def _are_issues(details: Sequence[object]) -> bool:
    return bool(details) and all(
        isinstance(detail, Mapping) and {"severity", "code"} <= detail.keys() for detail in details
    )


def information(text: str) -> JsonObject:
    """Return the OperationOutcome that says how well it went."""
    issue = {"severity": "information", "code": "informational", "diagnostics": text}
    return {"resourceType": "OperationOutcome", "issue": [issue]}
