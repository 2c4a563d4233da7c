"""What the server says of itself: capabilities in their modes, methods of addresses."""

import pytest
from django.test import override_settings
from rest_framework.test import APIClient

from fhir.api.capability import capability_statement
from fhir.validation import validate

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("", "CapabilityStatement"),
        ("?mode=full", "CapabilityStatement"),
        ("?mode=normative", "CapabilityStatement"),
        ("?mode=terminology", "TerminologyCapabilities"),
    ],
)
def test_each_mode_is_answered_with_a_valid_statement(query: str, kind: str) -> None:
    answer = APIClient().get(f"/v1/fhir/metadata{query}")
    assert (answer.status_code, answer.json()["resourceType"]) == (200, kind)
    assert [issue for issue in validate(answer.json()) if issue.severity == "error"] == []


def test_terminology_capabilities_name_systems_and_parameters() -> None:
    statement = APIClient().get("/v1/fhir/metadata?mode=terminology").json()
    systems = {entry["uri"] for entry in statement["codeSystem"]}
    assert "http://hl7.org/fhir/administrative-gender" in systems
    taken = {entry["name"] for entry in statement["expansion"]["parameter"]}
    assert {"url", "filter", "count", "offset", "displayLanguage"} <= taken


def test_a_part_of_the_statement_and_a_mode_that_is_none() -> None:
    part = APIClient().get("/v1/fhir/metadata?_elements=software").json()
    assert "rest" not in part
    assert part["software"]["name"] == "HealthCloud"
    refused = APIClient().get("/v1/fhir/metadata?mode=other")
    assert (refused.status_code, refused.json()["resourceType"]) == (400, "OperationOutcome")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/fhir", "GET, POST, HEAD, OPTIONS"),
        ("/v1/fhir/metadata", "GET, HEAD, OPTIONS"),
        ("/v1/fhir/Patient", "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"),
        ("/v1/fhir/Patient/a", "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"),
        ("/v1/fhir/Patient/a/_history", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_names_the_methods_to_anybody(path: str, methods: str) -> None:
    answer = APIClient().options(path)
    assert (answer.status_code, answer["Allow"], answer.content) == (204, methods, b"")
    assert ("Accept-Patch" in answer) is ("PATCH" in methods)


@pytest.mark.parametrize("mode", ["single", "multiple"])
def test_the_statement_says_what_a_conditional_delete_does(mode: str) -> None:
    with override_settings(FHIR_CONDITIONAL_DELETE=mode):
        capability_statement.cache_clear()
        statement = APIClient().get("/v1/fhir/metadata").json()
    capability_statement.cache_clear()
    assert {r["conditionalDelete"] for r in statement["rest"][0]["resource"]} == {mode}
