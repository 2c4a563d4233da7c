"""`$meta`, `$meta-add`, `$meta-delete`: labels come and go, the rest stays byte by byte."""

import pytest
from rest_framework.test import APIClient

from tests.fhir.conftest import ClientFor
from tests.fhir.operations.conftest import get, post, put

pytestmark = pytest.mark.django_db
SECRET = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
TAG = {"system": "urn:tags", "code": "blue"}


def change(client: APIClient, verb: str, meta: dict[str, object]) -> dict[str, object]:
    body = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}
    answer = post(client, f"Patient/ann/$meta-{verb}", body)
    assert answer.status_code == 200, answer.content
    return answer.json()["parameter"][0]["valueMeta"]


def own_tags(meta: dict[str, object]) -> list[object]:
    return [tag for tag in meta.get("tag", ()) if "healthcloud" not in tag["system"]]


def test_labels_are_added_once_and_taken_away(ann: APIClient) -> None:
    added = change(ann, "add", {"security": [SECRET], "tag": [TAG], "profile": ["urn:p"]})
    assert (added["security"], own_tags(added), added["profile"]) == ([SECRET], [TAG], ["urn:p"])
    assert added["versionId"] == "2"
    again = change(ann, "add", {"security": [{**SECRET, "display": "restricted"}]})
    assert (again["security"], again["versionId"]) == ([SECRET], "2")
    assert get(ann, "Patient?_security=R&_elements=id")["entry"][0]["resource"]["id"] == "ann"
    gone = change(ann, "delete", {"security": [SECRET], "tag": [TAG]})
    assert ("security" in gone, own_tags(gone), gone["profile"]) == (False, [], ["urn:p"])
    assert get(ann, "Patient/ann")["name"][0]["family"] == "Müller"


def test_meta_of_a_resource_a_type_and_the_server(ann: APIClient) -> None:
    change(ann, "add", {"security": [SECRET]})
    put(ann, {"resourceType": "Organization", "id": "o", "name": "O", "meta": {"tag": [TAG]}})
    one = get(ann, "Patient/ann/$meta")["parameter"][0]["valueMeta"]
    kind = get(ann, "Patient/$meta")["parameter"][0]["valueMeta"]
    every = get(ann, "$meta")["parameter"][0]["valueMeta"]
    assert one["security"] == kind["security"] == every["security"] == [SECRET]
    assert (own_tags(kind), own_tags(every)) == ([], [TAG])


def test_tags_of_the_scope_cannot_be_forged(ann: APIClient) -> None:
    tag = {"system": "https://healthcloud.dev/fhir/tag/organization", "code": "org_lakeside"}
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "meta", "valueMeta": {"tag": [tag]}}],
    }
    for verb in ("add", "delete"):
        answer = post(ann, f"Patient/ann/$meta-{verb}", body)
        assert answer.status_code == 400
        assert "the server alone sets them" in answer.json()["issue"][0]["diagnostics"]
    assert get(ann, "Patient/ann")["meta"]["versionId"] == "1"


@pytest.mark.parametrize("given", [[], [{"name": "meta", "valueString": "x"}]])
def test_a_meta_is_required(ann: APIClient, given: list[object]) -> None:
    answer = post(ann, "Patient/ann/$meta-add", {"resourceType": "Parameters", "parameter": given})
    assert answer.status_code == 400
    assert "meta" in answer.json()["issue"][0]["diagnostics"]


def test_adding_needs_the_scope_to_write(client_for: ClientFor, ann: APIClient) -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "meta", "valueMeta": {"tag": [TAG]}}],
    }
    reader = client_for(scopes=("fhir:read",))
    assert post(reader, "Patient/ann/$meta-add", body).status_code == 403
    assert get(ann, "Patient/ann")["meta"]["versionId"] == "1"
