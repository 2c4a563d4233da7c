"""Result values as laboratories write them."""

import string
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.rules import Interval, cultures
from assets.rules.intervals import INFINITY
from assets.rules.values import number, number_in_text, presence


def coded(system: str, code: str, display: str | None = None) -> dict[str, object]:
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return {"valueCodeableConcept": {"coding": [coding]}}


@pytest.mark.parametrize(
    "text",
    ["POSITIVE", "positive", "Pos", "1+", "2+", "3+", "+", "++", "+++", "+1", "Positive (2+)",
     "Detected", "PRESENT", "Large", "Moderate", "small", "yes", "2", "3+ (500 Leu/uL)",
     "ABNORMAL", "Urine leukocyte test = ++ (finding)"],
)  # fmt: skip
def test_positive_words_are_positive(text: str) -> None:
    assert presence({"valueString": text}, trace_is_positive=False) is True


@pytest.mark.parametrize(
    "text",
    ["NEGATIVE", "negative", "Neg", "neg.", "Not detected", "none seen", "Absent", "-", "0",
     "Nil", "Normal", "non-reactive", "no", "Undetected"],
)  # fmt: skip
def test_negative_words_are_negative(text: str) -> None:
    assert presence({"valueString": text}, trace_is_positive=True) is False


@pytest.mark.parametrize(
    "text",
    ["TNP", "test not performed", "QNS", "pending", "see note", "Invalid", "indeterminate", "",
     "positive or negative", "Dr. Smith", "cancelled"],
)  # fmt: skip
def test_words_that_do_not_decide_are_unknown(text: str) -> None:
    assert presence({"valueString": text}, trace_is_positive=True) is None


@pytest.mark.parametrize(
    "text", ["Trace", "TRACE", "tr", "+/-", "±", "Trace-lysed", "hemolyzed trace"]
)
def test_trace_counts_as_the_input_says(text: str) -> None:
    assert presence({"valueString": text}, trace_is_positive=True) is True
    assert presence({"valueString": text}, trace_is_positive=False) is False


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (coded("http://snomed.info/sct", "10828004"), True),
        (coded("http://snomed.info/sct", "260373001"), True),
        (coded("http://snomed.info/sct", "260385009"), False),
        (coded("http://snomed.info/sct", "314137006"), True),
        (coded("http://snomed.info/sct", "394717006"), False),
        (coded("http://loinc.org", "LA6576-8"), True),
        (coded("http://loinc.org", "LA6577-6"), False),
        (coded("urn:local", "x", "Urine leukocyte test = ++ (finding)"), True),
        ({"valueCodeableConcept": {"text": "Positive"}}, True),
        ({"valueBoolean": True}, True),
        ({"valueBoolean": False}, False),
        ({"valueInteger": 3}, True),
        ({"valueInteger": 0}, False),
        ({"valueQuantity": {"value": 0}}, False),
        ({"valueQuantity": {"value": 25}}, None),
        ({"valueQuantity": {"value": 25}, "referenceRange": [{"high": {"value": 10}}]}, True),
        ({"valueQuantity": {"value": 5}, "referenceRange": [{"high": {"value": 10}}]}, False),
        ({"valueQuantity": {"value": 40}, "referenceRange": [{"text": "< OR = 5"}]}, True),
        (
            {
                "valueQuantity": {"value": 10, "comparator": "<"},
                "referenceRange": [{"text": "0-10"}],
            },
            False,
        ),
        ({"interpretation": [{"coding": [{"code": "POS"}]}]}, True),
        ({"interpretation": [{"coding": [{"code": "A"}]}]}, True),
        ({"interpretation": [{"coding": [{"code": "NEG"}]}]}, False),
        ({"valueString": "Negative", "interpretation": [{"coding": [{"code": "A"}]}]}, False),
        ({"valueString": "TNP", "interpretation": [{"coding": [{"code": "N"}]}]}, None),
        ({"valueString": "Positive", "dataAbsentReason": {"text": "error"}}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_coded_and_measured_values(element: dict[str, object], expected: bool | None) -> None:
    assert presence(element, trace_is_positive=True) is expected


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("40", 40, 40), ("5-10 /HPF", 5, 10), ("< OR = 5", 0, 5), (">100,000", 100000, INFINITY),
        ("10^5", 100000, 100000), (">=10^5 CFU/mL", 100000, INFINITY), ("none seen", 0, 0),
        ("TNTC", 100, INFINITY), ("0-2", 0, 2), ("up to 4", 0, 4), ("0.5", "0.5", "0.5"),
        ("Greater than 100,000 colony forming units per mL", 100000, INFINITY),
        ("50,000 to 100,000", 50000, 100000),
    ],
)  # fmt: skip
def test_numbers_in_text(text: str, low: object, high: object) -> None:
    assert number_in_text(text) == Interval(Decimal(str(low)), Decimal(str(high)))


@pytest.mark.parametrize("text", ["", "many", "pending", "TNP"])
def test_text_without_a_number_has_none(text: str) -> None:
    assert number_in_text(text) is None


@pytest.mark.parametrize(
    ("quantity", "celsius"),
    [
        ({"value": 38.5, "code": "Cel"}, "38.5"),
        ({"value": 101.2, "unit": "F"}, "38.4444"),
        ({"value": 101.3, "code": "[degF]"}, "38.5"),
        ({"value": 38.5}, "38.5"),
        ({"value": 311, "code": "K"}, None),
    ],
)
def test_temperatures_are_read_in_their_unit(quantity: dict[str, object], celsius: str) -> None:
    expected = None if celsius is None else Interval.exactly(celsius)

    assert number({"valueQuantity": quantity}, "Cel") == expected


@pytest.mark.parametrize(
    ("text", "low", "high", "species"),
    [
        ("Greater than 100,000 colony forming units per mL Escherichia coli", 100000, INFINITY, 1),
        (">100,000 CFU/mL E. coli and Klebsiella pneumoniae", 100000, INFINITY, 2),
        ("10,000-50,000 CFU/mL Enterococcus faecalis", 10000, 50000, 1),
        ("No growth", 0, 0, 0),
        ("No growth at 48 hours", 0, 0, 0),
        (">10^5 CFU/mL Staphylococcus saprophyticus, Staphylococcus aureus", 100000, INFINITY, 2),
    ],
)
def test_cultures_are_read_from_their_text(
    text: str, low: object, high: object, species: int
) -> None:
    culture = {"valueString": text}

    assert cultures.colony_count([culture]) == Interval(Decimal(str(low)), Decimal(str(high)))
    assert cultures.species_count([culture]) == Interval.exactly(species)


@pytest.mark.parametrize(
    "text",
    ["Mixed urogenital flora", ">100,000 CFU/mL mixed flora, 3 or more organisms",
     "Multiple organisms present, suggest recollection", "Probable contamination"],
)  # fmt: skip
def test_a_stated_mixture_counts_as_three_species(text: str) -> None:
    assert cultures.species_count([{"valueString": text}]) == Interval(Decimal(3), INFINITY)


def test_results_of_one_culture_are_read_together() -> None:
    results = [
        {"valueQuantity": {"value": 100000, "comparator": ">", "unit": "CFU/mL"}},
        {
            "valueCodeableConcept": {
                "coding": [{"code": "112283007", "display": "Escherichia coli"}]
            }
        },
    ]

    assert cultures.colony_count(results) == Interval(Decimal(100000), INFINITY)
    assert cultures.species_count(results) == Interval.exactly(1)


@given(st.text(alphabet=string.printable + "±≥–²٣µ", max_size=80))
def test_no_text_breaks_the_readers(text: str) -> None:
    element = {"valueString": text, "referenceRange": [{"text": text}]}

    assert presence(element, trace_is_positive=True) in {True, False, None}
    measured = number(element, "Cel")
    assert measured is None or measured.low <= measured.high
    cultures.colony_count([element])
    cultures.species_count([element])


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_range_is_read_as_it_is_written(first: int, second: int) -> None:
    low, high = sorted((first, second))

    assert number_in_text(f"{low:,} - {high:,} CFU/mL") == Interval(Decimal(low), Decimal(high))
    assert number_in_text(f">{low:,}") == Interval(Decimal(low), INFINITY)
