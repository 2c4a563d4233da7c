"""Entries of a batch are independent. https://hl7.org/fhir/R4/http.html#brules"""

import pytest
from rest_framework.test import APIClient

from tests.fhir.api.test_bundles import PATIENT, entry, observation, send, total

pytestmark = pytest.mark.django_db
URN = "urn:uuid:22222222-2222-4222-8222-222222222222"


def test_a_reference_to_what_another_entry_makes_is_refused(alice_client: APIClient) -> None:
    answers = send(
        alice_client,
        "batch",
        [
            entry("POST", "Patient", PATIENT, full_url=URN),
            entry("POST", "Observation", observation(URN), full_url="urn:uuid:" + "3" * 8),
            entry("PUT", "Observation/o", {**observation(URN), "id": "o"}),
            entry("POST", "Observation", observation("urn:uuid:of-nobody-here")),
            entry("POST", "Observation", observation("Patient/1")),
        ],
    ).json()["entry"]
    statuses = [answer["response"]["status"][:3] for answer in answers]
    assert statuses == ["201", "400", "400", "201", "201"]
    issue = answers[1]["response"]["outcome"]["issue"][0]
    assert URN in issue["diagnostics"]
    assert "transaction" in issue["diagnostics"]
    assert total(alice_client) == 3
