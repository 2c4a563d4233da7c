"""Values longer than an index entry holds, and canonicals with a version. search.html#string"""

from tests.fhir.search.conftest import Clinic

CITY = "Lorem ipsum dolor sit amet consectetur adipiscing elit " * 8
PROFILE = "http://example.org/StructureDefinition/lab"


def test_a_text_longer_than_the_index_holds_is_compared_to_its_end(clinic: Clinic) -> None:
    ask = clinic([{"resourceType": "Patient", "id": "far", "address": [{"city": CITY + "end"}]}])
    for query, found in {
        f"address-city={CITY}": ["far"],
        f"address-city={CITY}END": ["far"],
        f"address-city={CITY}other": [],
        f"address-city:contains={CITY[6:]}": ["far"],
        f"address-city:contains={CITY}other": [],
        f"address-city:exact={CITY}end": ["far"],
        f"address-city:exact={CITY}END": [],
    }.items():
        assert ask("Patient", query) == found, query[:40] + query[-10:]
    operators = {
        "eq": (["far"], []),
        "ne": ([], ["far"]),
        "co": (["far"], []),
        "sw": (["far"], []),
        "ew": (["far"], []),
    }
    for operator, (same, other) in operators.items():
        assert ask("Patient", f'_filter=address-city {operator} "{CITY}END"') == same, operator
        assert ask("Patient", f'_filter=address-city {operator} "{CITY}other"') == other, operator


def test_a_canonical_with_a_version_is_found_by_its_url_alone(clinic: Clinic) -> None:
    ask = clinic(
        [
            {"resourceType": "Patient", "id": name, "meta": {"profile": [profile]}}
            for name, profile in {
                "bare": PROFILE,
                "one": f"{PROFILE}|1",
                "two": f"{PROFILE}|2",
            }.items()
        ]
    )
    assert ask("Patient", f"_profile={PROFILE}") == ["bare", "one", "two"]
    assert ask("Patient", f"_profile={PROFILE}|2") == ["two"]
    assert ask("Patient", f"_profile={PROFILE}|3") == []


def test_a_count_beyond_every_number_is_the_greatest_page(clinic: Clinic) -> None:
    ask = clinic([{"resourceType": "Patient", "id": "only"}])
    for count in ("2147483647", "9223372036854775807", "9999999999"):
        assert ask("Patient", f"_count={count}") == ["only"]
