"""Pages of histories, forwards and back, alone and in a Bundle. http.html#history, #paging"""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db
FHIR = "application/fhir+json"


@pytest.fixture
def patient(alice_client: APIClient) -> APIClient:
    """Store five versions of pat_123."""
    for day in range(1, 6):
        body = {"resourceType": "Patient", "id": "pat_123", "birthDate": f"2020-01-0{day}"}
        alice_client.put("/v1/fhir/Patient/pat_123", json.dumps(body), content_type=FHIR)
    return alice_client


def page(client: APIClient, address: str) -> tuple[list[str], dict[str, str]]:
    answer: Any = client.get(address.removeprefix("http://testserver")).json()
    versions = [entry["resource"]["meta"]["versionId"] for entry in answer["entry"]]
    return versions, {link["relation"]: link["url"] for link in answer["link"]}


@pytest.mark.parametrize("path", ["/Patient/pat_123/_history", "/Patient/_history", "/_history"])
@pytest.mark.parametrize(
    ("order", "pages"),
    [("-_lastUpdated", ["54", "32", "1"]), ("_lastUpdated", ["12", "34", "5"])],
)
def test_a_history_is_walked_forwards_and_back(
    patient: APIClient, path: str, order: str, pages: list[str]
) -> None:
    first, second, third = map(list, pages)
    found, links = page(patient, f"/v1/fhir{path}?_count=2&_sort={order}")
    assert (found, set(links)) == (first, {"self", "first", "next"})
    found, links = page(patient, links["next"])
    assert (found, set(links)) == (second, {"self", "first", "previous", "prev", "next"})
    found, links = page(patient, links["next"])
    assert (found, set(links)) == (third, {"self", "first", "previous", "prev"})
    found, links = page(patient, links["previous"])
    assert found == second
    assert page(patient, links["next"])[0] == third
    assert page(patient, links["self"])[0] == second
    found, links = page(patient, links["prev"])
    assert (found, set(links)) == (first, {"self", "first", "next"})
    assert page(patient, links["next"])[0] == second


def test_a_bundle_reads_the_page_that_a_link_names(patient: APIClient) -> None:
    _, links = page(patient, "/v1/fhir/Patient/pat_123/_history?_count=2")
    url = links["next"].partition("/v1/fhir/")[2]
    entry = {"request": {"method": "GET", "url": url}}
    body = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    answer = patient.post("/v1/fhir", json.dumps(body), content_type=FHIR)
    bundle = answer.json()["entry"][0]["resource"]
    relations = [link["relation"] for link in bundle["link"]]
    assert relations == ["self", "first", "previous", "prev", "next"]
    assert [e["resource"]["meta"]["versionId"] for e in bundle["entry"]] == ["3", "2"]
