"""`Patient/$match`: sure only with reason to be, and never of another tenant."""

import pytest
from rest_framework.test import APIClient

from fhir.operations.match import grade, score, similarity
from tests.fhir.operations.conftest import post

ANN = {
    "resourceType": "Patient",
    "name": [{"family": "Mueller", "given": ["Ann"]}],
    "birthDate": "1980-03-04",
    "gender": "female",
    "telecom": [{"system": "phone", "value": "555-0100"}],
}


def ask(client: APIClient, patient: dict, **more: object) -> list[tuple[str, str]]:
    parameters = [{"name": "resource", "resource": patient}]
    for name, value in more.items():
        kind = "valueBoolean" if isinstance(value, bool) else "valueInteger"
        parameters.append({"name": name, kind: value})
    body = {"resourceType": "Parameters", "parameter": parameters}
    answer = post(client, "Patient/$match", body)
    assert answer.status_code == 200, answer.content
    entries = answer.json().get("entry", ())
    return [(e["resource"]["id"], e["search"]["extension"][0]["valueCode"]) for e in entries]


@pytest.mark.django_db
def test_an_identifier_makes_it_certain(ann: APIClient) -> None:
    wanted = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "7"}]}
    assert ask(ann, wanted) == [("ann", "certain")]
    assert ask(ann, wanted, onlyCertainMatches=True) == [("ann", "certain")]


@pytest.mark.django_db
def test_names_birth_and_phone_are_enough_to_be_probable(ann: APIClient) -> None:
    [(rid, how)] = ask(ann, ANN)
    assert (rid, how in {"probable", "certain"}) == ("ann", True)
    bare = {name: ANN[name] for name in ("resourceType", "birthDate")}
    assert [rid for rid, how in ask(ann, bare) if how != "possible"] == []
    assert ask(ann, bare, onlyCertainMatches=True) == []


@pytest.mark.django_db
def test_a_bare_patient_and_a_wrong_body(ann: APIClient) -> None:
    assert post(ann, "Patient/$match", ANN).json()["entry"][0]["resource"]["id"] == "ann"
    wrong = post(ann, "Patient/$match", {"resourceType": "Parameters", "parameter": []})
    assert (wrong.status_code, "resource" in wrong.json()["issue"][0]["diagnostics"]) == (400, True)
    nothing = post(ann, "Patient/$match", {"resourceType": "Patient", "gender": "female"})
    assert nothing.status_code == 400
    kind = post(ann, "Patient/$match", {"resourceType": "Group", "name": "x"})
    assert kind.status_code == 400


@pytest.mark.django_db
def test_charlie_matches_nobody_of_riversides(ann: APIClient, charlie_client: APIClient) -> None:
    assert ask(charlie_client, ANN) == []


def test_likeness_of_names() -> None:
    assert similarity("martha", "marhta") == pytest.approx(0.9611, abs=1e-4)
    assert similarity("dwayne", "duane") == pytest.approx(0.84, abs=1e-2)
    assert similarity("abc", "xyz") == 0


def test_scores_fall_with_what_differs() -> None:
    other = {**ANN, "birthDate": "1980-04-03"}
    stranger = {**ANN, "name": [{"family": "Smith", "given": ["Bob"]}], "birthDate": "1950-01-01",
                "telecom": []}  # fmt: skip
    same, turned, none = score(ANN, ANN), score(ANN, other), score(ANN, stranger)
    assert 1 > same > turned > none
    assert (grade(same), grade(none)) == ("certain", "certainly-not")
    shared = {"identifier": [{"system": "urn:mrn", "value": "7"}]}
    assert score({**ANN, **shared}, {**stranger, **shared}) == 0.6


@pytest.mark.parametrize(
    "broken",
    [
        {"name": [{"family": [1]}]},
        {"birthDate": 5},
        {"telecom": [{"value": {}}]},
        {"identifier": [{"value": []}]},
        {"name": "Abt"},
    ],
)
def test_someone_who_is_no_valid_patient_is_refused(ann: APIClient, broken: object) -> None:
    given = {"resourceType": "Patient", **broken}  # type: ignore[dict-item]
    answer = post(ann, "Patient/$match", given)
    assert (answer.status_code, answer.json()["resourceType"]) == (422, "OperationOutcome")
