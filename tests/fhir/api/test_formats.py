"""JSON and XML by content negotiation. https://hl7.org/fhir/R4/http.html#mime-type"""

import json
from xml.etree import ElementTree

import pytest
from django.http import HttpResponse
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db
JSON, XML = "application/fhir+json", "application/fhir+xml"
FHIR = "{http://hl7.org/fhir}"
OBSERVATION = (
    '<Observation xmlns="http://hl7.org/fhir"><status value="final"/><code><text value="t"/></code>'
    '<subject><reference value="Patient/pat_123"/></subject>'
    '<valueQuantity><value value="0.40"/></valueQuantity></Observation>'
)


def create(client: APIClient, **headers: str) -> HttpResponse:
    return client.post("/v1/fhir/Observation", OBSERVATION, content_type=XML, headers=headers)


def tag(response: HttpResponse) -> str:
    return ElementTree.fromstring(response.content).tag.removeprefix(FHIR)


def test_what_is_sent_as_xml_is_stored_as_json_to_the_digit(alice_client: APIClient) -> None:
    response = create(alice_client)
    assert response.status_code == 201
    assert response["Content-Type"] == f"{JSON}; charset=utf-8; fhirVersion=4.0"
    assert b'"valueQuantity":{"value":0.40}' in response.content


def test_each_interaction_answers_xml(alice_client: APIClient) -> None:
    created = create(alice_client, Accept=XML)
    assert created["Content-Type"] == f"{XML}; charset=utf-8; fhirVersion=4.0"
    assert b'<value value="0.40"/>' in created.content
    path = created["Location"].removeprefix("http://testserver")
    plain = path.partition("/_history")[0]
    wanted = {"Accept": XML}
    patch = '[{"op": "replace", "path": "/status", "value": "amended"}]'
    answers = {
        path: ("Observation", alice_client.get(path, headers=wanted)),
        plain: ("Observation", alice_client.get(plain, headers=wanted)),
        "patch": (
            "Observation",
            alice_client.patch(
                plain, patch, content_type="application/json-patch+json", headers=wanted
            ),
        ),
        "search": ("Bundle", alice_client.get("/v1/fhir/Observation", headers=wanted)),
        "history": ("Bundle", alice_client.get(f"{plain}/_history", headers=wanted)),
        "metadata": ("CapabilityStatement", alice_client.get("/v1/fhir/metadata?_format=xml")),
        "not found": ("OperationOutcome", alice_client.get("/v1/fhir/Patient/9", headers=wanted)),
        "unknown": ("OperationOutcome", alice_client.get("/v1/fhir/Foo/9?_format=text/xml")),
        "unauthorized": (
            "OperationOutcome",
            APIClient().get("/v1/fhir/Patient/9", headers=wanted),
        ),
    }
    for name, (kind, answer) in answers.items():
        assert tag(answer) == kind, name
        assert answer["Content-Type"].startswith(XML), name
    found = ElementTree.fromstring(answers["search"][1].content)
    assert found.find(f"{FHIR}entry/{FHIR}resource/{FHIR}Observation") is not None


def test_a_transaction_in_xml(alice_client: APIClient) -> None:
    bundle = (
        '<Bundle xmlns="http://hl7.org/fhir"><type value="transaction"/><entry>'
        '<fullUrl value="urn:uuid:11111111-1111-4111-8111-111111111111"/><resource><Patient>'
        '<name><family value="Abt"/></name></Patient></resource><request><method value="POST"/>'
        '<url value="Patient"/></request></entry></Bundle>'
    )
    answer = alice_client.post("/v1/fhir", bundle, content_type=XML, headers={"Accept": XML})
    assert answer.status_code == 200
    found = ElementTree.fromstring(answer.content)
    status = found.find(f"{FHIR}entry/{FHIR}response/{FHIR}status")
    assert status is not None
    assert status.get("value") == "201 Created"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/fhir+json", JSON),
        ("*/*", JSON),
        ("", JSON),
        ("application/json, x/y", JSON),
        ("application/fhir+xml", XML),
        ("application/xml;q=0.9, application/json;q=0.8", XML),
        ("application/fhir+xml;q=0.5, application/fhir+json", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("application/fhir+json; fhirVersion=4.0", JSON),
        ("application/fhir+json; fhirVersion=5.0, application/fhir+xml", XML),
        ("application/fhir+json;q=0, */*;q=0.1", JSON),
        ("text/xml;q=x", XML),
    ],
)
def test_accept_decides_by_quality(alice_client: APIClient, accept: str, kind: str) -> None:
    response = alice_client.get("/v1/fhir/Patient", headers={"Accept": accept})
    assert response.status_code == 200
    assert response["Content-Type"].startswith(kind)


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        ("json", JSON),
        ("xml", XML),
        ("text/xml", XML),
        ("application/fhir+xml", XML),
        ("application/fhir%2Bxml", XML),
        ("application/xml", XML),
        ("application/json", JSON),
    ],
)
def test_the_parameter_wins_over_accept(alice_client: APIClient, wanted: str, kind: str) -> None:
    response = alice_client.get(
        f"/v1/fhir/Patient?_format={wanted}", headers={"Accept": XML if kind == JSON else JSON}
    )
    assert response.status_code == 200
    assert response["Content-Type"].startswith(kind)


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ("", "text/csv"),
        ("", "application/fhir+json; fhirVersion=3.0"),
        ("", "application/fhir+json;q=0"),
        ("?_format=ttl", "*/*"),
        ("?_format=", "*/*"),
    ],
)
def test_other_formats_are_406(alice_client: APIClient, query: str, accept: str) -> None:
    response = alice_client.get(f"/v1/fhir/Patient{query}", headers={"Accept": accept})
    assert response.status_code == 406
    assert json.loads(response.content)["issue"][0]["code"] == "not-supported"


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/fhir+json; charset=utf-8", '{"resourceType":"Patient"}', 201),
        ("application/json; charset=UTF-8; fhirVersion=4.0", '{"resourceType":"Patient"}', 201),
        ("application/fhir+json", b'\xef\xbb\xbf{"resourceType":"Patient"}', 201),
        ("application/fhir+json; charset=latin-1", '{"resourceType":"Patient"}', 415),
        ("application/fhir+json; fhirVersion=5.0", '{"resourceType":"Patient"}', 415),
        ("text/plain", '{"resourceType":"Patient"}', 415),
        ("application/fhir+json", '{"resourceType":"Patient"}'.encode("utf-16"), 400),
        ("application/fhir+json", b'{"resourceType":"Patient","language":"\xe9"}', 400),
        ("application/fhir+json", '{"resourceType":"Patient","id":"a","id":"b"}', 400),
        ("application/fhir+json", '{"resourceType":"Patient","language":"\\ud800"}', 400),
        ("application/fhir+json", OBSERVATION, 400),
        ("application/fhir+xml", '{"resourceType":"Patient"}', 400),
    ],
)
def test_bodies_are_utf_8_of_r4(
    alice_client: APIClient, content_type: str, body: object, status: int
) -> None:
    response = alice_client.post("/v1/fhir/Patient", body, content_type=content_type)
    assert response.status_code == status, response.content
    assert alice_client.get("/v1/fhir/_history").json()["total"] == int(status == 201)


def test_pretty_answers_are_indented(alice_client: APIClient) -> None:
    rid = create(alice_client).json()["id"]
    pretty = alice_client.get(f"/v1/fhir/Observation/{rid}?_pretty=true")
    assert pretty.content.startswith(b'{\n  "resourceType": "Observation"')
    assert b'"value": 0.40' in pretty.content
    xml = alice_client.get(f"/v1/fhir/Observation/{rid}?_pretty=true&_format=xml")
    assert b'\n  <status value="final"/>' in xml.content
