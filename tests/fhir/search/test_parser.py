"""The parser of queries: pure, and total over whatever a client may send."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir import hashes
from fhir.search import parser
from fhir.search.clause import Clause
from fhir.search.errors import SearchRefused
from fhir.search.paging import after, encode_cursor, query_of
from fhir.search.params import date, number, quantity
from fhir.search.parser import parse
from fhir.search.request import ChainCriterion, HasCriterion, ParameterCriterion, types_touched
from fhir.search.sorting import Order
from fhir.search.values import split_prefix, split_unescaped, unescape

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NAMES = st.one_of(
    st.sampled_from(["code", "date", "_sort", "_count", "_include", "subject:Patient.name"]),
    st.text(max_size=30),
)
QUERIES = st.lists(st.tuples(NAMES, st.text(max_size=30)), max_size=8)


@given(QUERIES)
def test_any_query_is_parsed_or_refused(pairs: list[tuple[str, str]]) -> None:
    try:
        request = parse("Observation", pairs)
    except SearchRefused:
        return
    assert request.resource_type == "Observation"
    assert len(request.used) + len(request.ignored) <= len(pairs)


@given(st.lists(st.text(alphabet="ab\\,|$", max_size=8), min_size=1, max_size=5))
def test_escaped_values_come_back(values: list[str]) -> None:
    escaped = ["".join(f"\\{c}" if c in "\\,|$" else c for c in value) for value in values]
    parts = split_unescaped(",".join(escaped), ",")
    assert [unescape(part) for part in parts] == values


@given(st.text(max_size=20))
def test_any_date_number_or_quantity_is_read_or_refused(value: str) -> None:
    for match in (
        lambda: date.match(value, "date", NOW),
        lambda: number.match(value, "probability"),
        lambda: quantity.match(value, "value-quantity"),
    ):
        try:
            clause = match()
        except SearchRefused:
            continue
        assert clause.sql.count("%s") == len(clause.params)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6))
def test_a_number_is_within_its_own_precision(value: Decimal) -> None:
    low, high = number.match(f"{value:f}", "x").params
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low <= float(value) <= high


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("100", 99.5, 100.5),
        ("100.00", 99.995, 100.005),
        ("5.40", 5.395, 5.405),
        ("1e2", 95.0, 105.0),
        ("-1", -1.5, -0.5),
    ],
)
def test_the_precision_written_is_the_range(value: str, low: float, high: float) -> None:
    assert number.match(value, "x").params == (low, high)


@pytest.mark.parametrize(
    ("value", "prefix", "rest"),
    [
        ("ge2020", "ge", "2020"),
        ("2020", "eq", "2020"),
        ("ap-1", "ap", "-1"),
        ("genial", "eq", "genial"),
    ],
)
def test_prefixes(value: str, prefix: str, rest: str) -> None:
    assert split_prefix(value) == (prefix, rest)


def test_chains_and_has_nest() -> None:
    query = "subject:Patient.general-practitioner:Practitioner.family=x"
    [chain] = parse("Observation", query).criteria
    assert isinstance(chain, ChainCriterion)
    [inner] = chain.alternatives
    assert isinstance(inner, ChainCriterion)
    [leaf] = inner.alternatives
    assert isinstance(leaf, ParameterCriterion)
    assert (leaf.resource_type, leaf.parameter.code, leaf.values) == (
        "Practitioner",
        "family",
        ("x",),
    )
    query = "_has:Observation:patient:_has:Provenance:target:recorded=2020"
    request = parse("Patient", query)
    [has] = request.criteria
    assert isinstance(has, HasCriterion)
    assert isinstance(has.criterion, HasCriterion)
    assert types_touched(request) == {"Observation", "Provenance"}


def test_the_platform_s_own_parameters_are_not_searched() -> None:
    request = parse("Patient", "project_id=proj_1&_format=json&gender=male", strict=True)
    assert [value for _, value in request.used] == ["male"]


def test_too_much_is_refused() -> None:
    with pytest.raises(SearchRefused):
        parse("Patient", "&".join("gender=male" for _ in range(201)))
    with pytest.raises(SearchRefused):
        parse("Patient", "gender=" + ",".join("a" * 20_001))
    with pytest.raises(SearchRefused):
        parse("Patient", "birthdate=" + ",".join(["2020"] * 1001))
    with pytest.raises(SearchRefused):
        parse("Encounter", ".".join(["part-of"] * 20) + "=1")


def test_long_queries_are_not_remembered() -> None:
    before = parser._parsed.cache_info().currsize
    known = hashes.hash64.cache_info().currsize
    for value in ("a" * 3000, "b" * 3000):
        assert parse("Patient", f"gender={value}").criteria[0].values == (value,)
        assert query_of(parse("Patient", f"gender={value}")) == f"gender={value}"
        assert hashes.hash64(value) == hashes.hash64.__wrapped__(value)
    assert parser._parsed.cache_info().currsize == before
    assert hashes.hash64.cache_info().currsize == known


@given(st.text(max_size=40))
def test_a_made_up_cursor_is_refused(cursor: str) -> None:
    orders = [Order(Clause("r.updated"), "timestamptz", descending=True)]
    try:
        after(cursor, orders)
    except SearchRefused:
        return
    raise AssertionError(cursor)


def test_a_cursor_continues_after_its_row() -> None:
    orders = [Order(Clause("r.date_low"), "bigint", descending=True)]
    clause = after(encode_cursor([5], 7), orders)
    assert clause.sql == "(r.date_low, r.pk) < (%s::bigint, %s::bigint)"
    assert clause.params == (5, 7)
