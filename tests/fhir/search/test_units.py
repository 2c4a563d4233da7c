"""UCUM units and their canonical values."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir.search.units import canonical_unit, canonical_value


@pytest.mark.parametrize(
    ("code", "dimension", "factor"),
    [
        ("m", "m1", 1.0),
        ("cm", "m1", 0.01),
        ("mg/dL", "g1.m-3", 10.0),
        ("mmol/L", "m-3.mol1", 1.0),
        ("mm[Hg]", "g1.m-1.s-2", 133322.0),
        ("[lb_av]", "g1", 453.59237),
        ("{beats}/min", "s-1", 1 / 60),
        ("/min", "s-1", 1 / 60),
        ("mL/min/{1.73_m2}", "m3.s-1", 1e-6 / 60),
        ("10*3/uL", "m-3", 1e12),
        ("10^3/uL", "m-3", 1e12),
        ("%", "1", 0.01),
        ("m[iU]/mL", "[iU]1.m-3", 1000.0),
        ("[IU]/L", "[iU]1.m-3", 1000.0),
        ("U/L", "m-3.mol1.s-1", 1e-6 / 60 * 1000),
        ("kg/m2", "g1.m-2", 1000.0),
        ("10.L/(min.m2)", "m1.s-1", 0.01 / 60),
        ("g/(8.h){shift}", "g1.s-1", 1 / 28800),
        ("a", "s1", 31557600.0),
    ],
)
def test_units_have_a_dimension_and_a_factor(code: str, dimension: str, factor: float) -> None:
    unit = canonical_unit(code)
    assert unit.dimension == dimension
    assert float(unit.factor) == pytest.approx(factor, rel=1e-15)


@pytest.mark.parametrize(
    "code",
    [
        *("[pH]", "dB", "B[W]", "{score}", "{INR}", "", "1*", "mmHg", "m(", "m/", "Torr"),
        *("m99999999", "10*4000", "k", "m" * 129, "(" * 120 + "m", "é", "m\0"),
    ],
)
def test_what_no_factor_converts_stands_for_itself(code: str) -> None:
    assert canonical_unit(code).dimension == f"={code}"
    assert canonical_value(Decimal("7.1"), code) == 7.1


def test_equal_amounts_are_equal_numbers() -> None:
    assert canonical_value(Decimal("170.2"), "cm") == canonical_value(Decimal("1.702"), "m")
    assert canonical_value(Decimal(60), "/min") == canonical_value(Decimal(1), "/s")
    assert canonical_value(Decimal(5), "mg/dL") == canonical_value(Decimal("0.05"), "g/L")
    assert canonical_value(Decimal("98.6"), "[degF]") == canonical_value(Decimal(37), "Cel")
    assert canonical_value(Decimal(10) ** 300, "Ym") == float("inf")


def test_moles_are_no_numbers_and_arbitrary_units_no_others() -> None:
    dimensions = {canonical_unit(code).dimension for code in ("mol/L", "/L", "[iU]/L", "[arb'U]/L")}
    assert len(dimensions) == 4


@given(st.text(alphabet="mgLs[iU]{}()./*^+-0123456789k%", max_size=20))
def test_any_text_has_a_canonical_unit(code: str) -> None:
    unit = canonical_unit(code)
    assert unit.dimension
    assert canonical_value(Decimal(1), code) == canonical_value(Decimal("1.0"), code)
