"""Binary as bytes and as a resource."""

import base64
import json

import pytest
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db
FHIR = "application/fhir+json"
PDF = b"%PDF-1.7\n\x00\xff"


def create(client: APIClient, content: bytes, kind: str, **headers: str) -> str:
    response = client.post("/v1/fhir/Binary", content, content_type=kind, headers=headers)
    assert response.status_code == 201, response.content
    return f"/v1/fhir/Binary/{response.json()['id']}"


def test_bytes_come_back_as_they_were_sent(alice_client: APIClient) -> None:
    url = create(alice_client, PDF, "application/pdf")
    for accept in ("application/pdf", "*/*", "application/pdf;q=0.5, application/fhir+json;q=0.4"):
        answer = alice_client.get(url, headers={"Accept": accept})
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
        assert answer.content == PDF
        assert answer["ETag"] == 'W/"1"'
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer["Content-Security-Policy"]
        assert "Content-Disposition" not in answer
    assert alice_client.get(f"{url}/_history/1").content == PDF
    assert alice_client.get(url, headers={"If-None-Match": 'W/"1"'}).status_code == 304
    head = alice_client.head(url)
    assert (head["Content-Type"], head.content) == ("application/pdf", b"")


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ("", FHIR),
        ("", "application/json"),
        ("?_format=json", "*/*"),
        ("?_summary=true", "*/*"),
        ("", "application/fhir+json, */*;q=0.1"),
    ],
)
def test_who_asks_for_fhir_gets_the_resource(
    alice_client: APIClient, query: str, accept: str
) -> None:
    url = create(alice_client, PDF, "application/pdf")
    answer = alice_client.get(url + query, headers={"Accept": accept})
    assert answer["Content-Type"].startswith(FHIR)
    assert answer.json()["contentType"] == "application/pdf"
    if "_summary" not in query:
        assert base64.b64decode(answer.json()["data"]) == PDF


def test_xml_of_the_resource_and_types_that_it_is_not(alice_client: APIClient) -> None:
    url = create(alice_client, PDF, "application/pdf")
    answer = alice_client.get(url, headers={"Accept": "application/fhir+xml"})
    assert b'<contentType value="application/pdf"/>' in answer.content
    refused = alice_client.get(url, headers={"Accept": "image/png"})
    assert (refused.status_code, refused.json()["resourceType"]) == (406, "OperationOutcome")
    assert "application/pdf" in refused.json()["issue"][0]["diagnostics"]


def test_what_a_browser_would_run_is_saved_instead(alice_client: APIClient) -> None:
    for kind in ("text/html; charset=utf-8", "image/svg+xml", "application/javascript"):
        url = create(alice_client, b"<script>alert(1)</script>", kind)
        answer = alice_client.get(url, headers={"Accept": "text/html, */*;q=0.8"})
        assert answer["Content-Type"] == kind
        assert answer["Content-Disposition"].startswith("attachment")
        assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_a_content_type_that_is_none_is_never_sent(alice_client: APIClient) -> None:
    body = {"resourceType": "Binary", "id": "b", "contentType": "text/html<x>", "data": "YQ=="}
    alice_client.put("/v1/fhir/Binary/b", json.dumps(body), content_type=FHIR)
    answer = alice_client.get("/v1/fhir/Binary/b")
    assert (answer["Content-Type"], answer.content) == ("application/octet-stream", b"a")


def test_the_security_context_travels_in_a_header(alice_client: APIClient) -> None:
    created = alice_client.put(
        "/v1/fhir/Binary/b",
        PDF,
        content_type="application/pdf",
        headers={"X-Security-Context": "Patient/a"},
    )
    assert created.status_code == 201
    assert created.json()["securityContext"] == {"reference": "Patient/a"}
    assert alice_client.get("/v1/fhir/Binary/b")["X-Security-Context"] == "Patient/a"
    again = alice_client.put("/v1/fhir/Binary/b", b"text", content_type="text/plain")
    assert (again.status_code, again["ETag"]) == (200, 'W/"2"')
    answer = alice_client.get("/v1/fhir/Binary/b")
    assert (answer.content, answer["Content-Type"]) == (b"text", "text/plain")
    assert "X-Security-Context" not in answer


def test_a_resource_is_still_a_resource_and_other_types_take_no_bytes(
    alice_client: APIClient,
) -> None:
    body = {"resourceType": "Binary", "contentType": "text/plain", "data": "YWJj"}
    created = alice_client.post("/v1/fhir/Binary", json.dumps(body), content_type=FHIR)
    assert created.json()["contentType"] == "text/plain"
    assert alice_client.get(f"/v1/fhir/Binary/{created.json()['id']}").content == b"abc"
    refused = alice_client.post("/v1/fhir/Patient", PDF, content_type="application/pdf")
    assert refused.status_code == 415


def test_charlie_gets_404(alice_client: APIClient, charlie_client: APIClient) -> None:
    url = create(alice_client, PDF, "application/pdf")
    assert charlie_client.get(url, headers={"Accept": "application/pdf"}).status_code == 404
