"""Records: patients are found, charts show, any type can be searched, history can be read."""

import pytest
from django.test import Client

from tests.studio.conftest import PLACE

pytestmark = pytest.mark.django_db
RECORDS = PLACE + "/records"


@pytest.mark.parametrize("words", ["okafor", "Maya Oka", "1992-04-17", "RH-204417", "pat_maya"])
def test_a_patient_is_found_by_what_one_knows(alice_browser: Client, maya: str, words: str) -> None:
    assert b"Maya Okafor" in alice_browser.get(RECORDS, {"q": words}).content


def test_nobody_is_found_by_other_words(alice_browser: Client, maya: str) -> None:
    page = alice_browser.get(RECORDS, {"q": "smith"}).content
    assert b"Maya Okafor" not in page
    assert b"Nobody found" in page


def test_the_patient_page_shows_the_chart(alice_browser: Client, maya: str) -> None:
    page = alice_browser.get(f"{RECORDS}/patients/{maya}").content.decode()
    for text in ("Maya Okafor", "34", "RH-204417", "Dysuria", "Potassium", "5.3", "Positive"):
        assert text in page
    assert "Potassium: 2 values, latest 5.3" in page


def test_another_organization_does_not_see_the_patient(charlie_browser: Client, maya: str) -> None:
    own = "/studio/lakeside/sandbox/screening/records"
    assert charlie_browser.get(f"{own}/patients/{maya}").status_code == 404
    assert b"Maya Okafor" not in charlie_browser.get(own).content


def test_another_project_does_not_see_the_patient(alice_browser: Client, maya: str) -> None:
    other = "/studio/riverside/sandbox/referrals/records"
    assert alice_browser.get(f"{other}/patients/{maya}").status_code == 404
    assert b"Maya Okafor" not in alice_browser.get(other).content


def test_a_resource_shows_as_json_with_its_history(alice_browser: Client, maya: str) -> None:
    page = alice_browser.get(f"{RECORDS}/Observation/obs_k2", {"version": "1"}).content.decode()
    assert "Version 1" in page
    assert "resourceType" in page


def test_a_fhir_search_finds_by_code(alice_browser: Client, maya: str) -> None:
    query = {"query": "code=http://loinc.org|2823-3"}
    page = alice_browser.get(f"{RECORDS}/Observation", query).content.decode()
    assert "obs_k1" in page
    assert "obs_nitrite" not in page


def test_a_search_that_makes_no_sense_says_why(alice_browser: Client, maya: str) -> None:
    answer = alice_browser.get(f"{RECORDS}/Observation", {"query": "colour=green"})
    assert answer.status_code == 400
    assert b"colour" in answer.content


def test_references_lead_to_their_resource(alice_browser: Client, maya: str) -> None:
    query = {"reference": "Observation/obs_k1/_history/1"}
    answer = alice_browser.get(f"{RECORDS}/reference", query)
    assert answer["Location"] == f"{RECORDS}/Observation/obs_k1?version=1"
