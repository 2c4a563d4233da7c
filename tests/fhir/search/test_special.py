"""`near`, `_text`, `_content`, `_list`, composites of three. search.html"""

import pytest

from fhir.search.errors import SearchRefused
from tests.fhir.search.conftest import Ask, Clinic

# Hand-computed great circles from Vienna (48.2082, 16.3738): Bratislava 55 km, Budapest 214 km.
PLACES = {
    "vienna": (48.2082, 16.3738),
    "bratislava": (48.1486, 17.1077),
    "budapest": (47.4979, 19.0402),
    "sydney": (-33.8688, 151.2093),
}


@pytest.fixture
def places(clinic: Clinic) -> Ask:
    return clinic(
        [
            {
                "resourceType": "Location",
                "id": name,
                "position": {"latitude": latitude, "longitude": longitude},
            }
            for name, (latitude, longitude) in PLACES.items()
        ]
        + [{"resourceType": "Location", "id": "nowhere"}]
    )


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ("48.2082|16.3738", ["vienna"]),
        ("48.2082|16.3738|54", ["vienna"]),
        ("48.2082|16.3738|56", ["bratislava", "vienna"]),
        ("48.2082|16.3738|56|km", ["bratislava", "vienna"]),
        ("48.2082|16.3738|56000|m", ["bratislava", "vienna"]),
        ("48.2082|16.3738|35|[mi_i]", ["bratislava", "vienna"]),
        ("48.2082|16.3738|213|km", ["bratislava", "vienna"]),
        ("48.2082|16.3738|216|km", ["bratislava", "budapest", "vienna"]),
        ("48.2082|16.3738|20100|km", ["bratislava", "budapest", "sydney", "vienna"]),
        ("-33.8688|151.2093|0|km", ["sydney"]),
        ("48.2082|16.3738|1,-33.8|151.2|20", ["sydney", "vienna"]),
    ],
)
def test_places_are_found_by_distance(places: Ask, value: str, ids: list[str]) -> None:
    assert places("Location", f"near={value}") == ids


@pytest.mark.parametrize(
    "value",
    ["", "48", "a|b", "91|0", "0|181", "0|0|-1", "0|0|1|kg", "0|0|1|km|x", "nan|0", "0|0|inf"],
)
def test_what_is_no_place_is_refused(places: Ask, value: str) -> None:
    if value:
        with pytest.raises(SearchRefused) as refusal:
            places("Location", f"near={value}")
        assert refusal.value.param == "near"
    assert places("Location", "near:missing=true") == ["nowhere"]


def test_words_of_narrative_and_content(clinic: Clinic) -> None:
    def report(rid: str, story: str, conclusion: str) -> dict[str, object]:
        return {
            "resourceType": "DiagnosticReport",
            "id": rid,
            "text": {
                "status": "generated",
                "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p title="hidden">{story}</p>'
                "</div>",
            },
            "status": "final",
            "code": {"text": "Imaging"},
            "conclusion": conclusion,
        }

    ask = clinic(
        [
            report("r1", "A cyst of the liver", "Benign\\nharmless"),
            report("r2", "A fracture of the bone", "Not a cyst"),
            report("r3", "Nothing", "Ausschluß"),
        ]
    )
    assert ask("DiagnosticReport", "_text=cyst") == ["r1"]
    assert ask("DiagnosticReport", "_text=LIVER cyst") == ["r1"]
    assert ask("DiagnosticReport", "_text=liver or bone") == ["r1", "r2"]
    assert ask("DiagnosticReport", "_text=hidden") == []
    assert ask("DiagnosticReport", "_text=-cyst") == ["r2", "r3"]
    assert ask("DiagnosticReport", "_content=cyst") == ["r1", "r2"]
    assert ask("DiagnosticReport", '_content="a cyst"') == ["r1", "r2"]
    assert ask("DiagnosticReport", "_content=ausschluß&status=final") == ["r3"]
    assert ask("DiagnosticReport", "_content=conclusion") == []
    assert ask("DiagnosticReport", "_content=harmless,nothing") == ["r1", "r3"]
    for hostile in ("(((((", "' & |", "!!", '"', "a:*", "<->"):
        assert isinstance(ask("DiagnosticReport", f"_content={hostile}"), list)


def test_members_of_lists(clinic: Clinic) -> None:
    ask = clinic(
        [
            {"resourceType": "Patient", "id": "p1"},
            {"resourceType": "Patient", "id": "p2"},
            {
                "resourceType": "List",
                "id": "42",
                "status": "current",
                "mode": "working",
                "entry": [
                    {"item": {"reference": "Patient/p1"}},
                    {"item": {"reference": "Observation/p2"}},
                ],
            },
        ]
    )
    assert ask("Patient", "_list=42") == ["p1"]
    assert ask("Patient", "_list=List/42") == ["p1"]
    assert ask("Patient", "_list=43") == []


def test_composites_of_three_parts(clinic: Clinic) -> None:
    def sequence(rid: str, start: int, end: int) -> dict[str, object]:
        return {
            "resourceType": "MolecularSequence",
            "id": rid,
            "coordinateSystem": 0,
            "referenceSeq": {
                "chromosome": {"coding": [{"code": "7"}]},
                "genomeBuild": "GRCh38",
            },
            "variant": [{"start": start, "end": end}],
        }

    ask = clinic([sequence("s1", 100, 200), sequence("s2", 150, 400)])

    def find(value: str) -> list[str]:
        return ask("MolecularSequence", f"chromosome-variant-coordinate={value}")

    assert find("7$100$200") == ["s1"]
    assert find("7$ge100$le300") == ["s1"]
    assert find("7$ge100$le400") == ["s1", "s2"]
    assert find("7$gt100$lt500") == ["s2"]
    assert find("8$ge100$le400") == []
    with pytest.raises(SearchRefused, match="chromosome"):
        find("7$1")


def state(code: str, system: str) -> dict[str, object]:
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": code}]}


def test_functional_lists_hold_what_is_current(clinic: Clinic) -> None:
    def condition(rid: str, clinical: str, verified: str, kind: str) -> dict[str, object]:
        return {
            "resourceType": "Condition",
            "id": rid,
            "subject": {"reference": "Patient/1"},
            "clinicalStatus": state(clinical, "condition-clinical"),
            "verificationStatus": state(verified, "condition-ver-status"),
            "category": [state(kind, "condition-category")],
        }

    def allergy(rid: str, clinical: str, verified: str, kind: str) -> dict[str, object]:
        return {
            "resourceType": "AllergyIntolerance",
            "id": rid,
            "patient": {"reference": "Patient/1"},
            "clinicalStatus": state(clinical, "allergyintolerance-clinical"),
            "verificationStatus": state(verified, "allergyintolerance-verification"),
            "category": [kind],
        }

    ask = clinic(
        [
            condition("c1", "active", "confirmed", "problem-list-item"),
            condition("c2", "resolved", "confirmed", "problem-list-item"),
            condition("c3", "active", "refuted", "problem-list-item"),
            condition("c4", "active", "confirmed", "encounter-diagnosis"),
            condition("c5", "relapse", "provisional", "problem-list-item"),
            allergy("a1", "active", "confirmed", "food"),
            allergy("a2", "active", "unconfirmed", "medication"),
            allergy("a3", "resolved", "confirmed", "medication"),
            allergy("a4", "active", "refuted", "food"),
            {
                "resourceType": "MedicationRequest",
                "id": "m1",
                "status": "active",
                "intent": "order",
                "medicationCodeableConcept": {"text": "x"},
                "subject": {"reference": "Patient/1"},
            },
            {
                "resourceType": "MedicationRequest",
                "id": "m2",
                "status": "stopped",
                "intent": "order",
                "medicationCodeableConcept": {"text": "x"},
                "subject": {"reference": "Patient/1"},
            },
        ]
    )
    assert ask("Condition", "patient=1&_list=$current-problems") == ["c1", "c5"]
    assert ask("Condition", "patient=2&_list=$current-problems") == []
    assert ask("AllergyIntolerance", "_list=$current-allergies") == ["a1", "a2"]
    assert ask("AllergyIntolerance", "_list=$current-drug-allergies") == ["a2"]
    assert ask("MedicationRequest", "_list=$current-medications") == ["m1"]


def test_words_are_found_whatever_their_spelling(clinic: Clinic) -> None:
    def told(rid: str, text: str) -> dict[str, object]:
        div = f'<div xmlns="http://www.w3.org/1999/xhtml">{text}</div>'
        return {
            "resourceType": "Patient",
            "id": rid,
            "text": {"status": "generated", "div": div},
            "address": [{"city": f"{text} City"}],
        }

    ask = clinic(
        [
            told("p1", "Left lung, CYST"),
            told("p2", "left kidney"),
            told("p3", "Ärger lung"),
            {"resourceType": "Patient", "id": "p4", "name": [{"text": "left lung"}]},
        ]
    )
    assert ask("Patient", "_text=LUNG") == ["p1", "p3"]
    assert ask("Patient", '_text="left lung"') == ["p1"]
    assert ask("Patient", "_text=left -cyst") == ["p2"]
    assert ask("Patient", "_text=cyst or kidney") == ["p1", "p2"]
    assert ask("Patient", "_text=ärger") == ["p3"]
    assert ask("Patient", "_text=-lung") == ["p2"]
    assert ask("Patient", "_text=kid") == []
    assert ask("Patient", "_content=left lung") == ["p1", "p4"]
    assert ask("Patient", "_content=lung,kidney") == ["p1", "p2", "p3", "p4"]


def test_a_text_without_words_matches_nothing(clinic: Clinic) -> None:
    ask = clinic([{"resourceType": "Patient", "id": "p1", "name": [{"text": "a | $ b"}]}])
    for value in ("%7C%7C", "$", "-", '""', "-%20-"):
        assert ask("Patient", f"_content={value}") == [], value
