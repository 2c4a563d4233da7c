"""Three-valued logic: Kleene's laws, and that learning never flips a decided result."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.rules import Interval, kleene
from assets.rules.expressions import (
    Comparison,
    Constant,
    Expression,
    ExpressionError,
    Junction,
    Name,
    Not,
    names,
    parse,
)

TRUTHS = st.sampled_from([True, False, None])
BOOLEANS = ("a", "b", "c", "d")
NUMBERS = ("x", "y")
KINDS = dict.fromkeys(BOOLEANS, "boolean") | dict.fromkeys(NUMBERS, "number")
LIMITS = st.integers(0, 20).map(Decimal)


def expressions() -> st.SearchStrategy[Expression]:
    leaves = st.one_of(
        st.sampled_from(BOOLEANS).map(Name),
        st.booleans().map(Constant),
        st.builds(
            Comparison,
            st.sampled_from(NUMBERS),
            st.sampled_from([">=", ">", "<", "<=", "=", "!="]),
            LIMITS,
        ),
    )

    def combine(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        parts = st.lists(inner, min_size=1, max_size=4)
        junctions = parts.flatmap(
            lambda found: st.integers(1, len(found)).map(lambda n: Junction(n, tuple(found)))
        )
        return st.one_of(inner.map(Not), junctions)

    return st.recursive(leaves, combine, max_leaves=12)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    low = draw(st.integers(0, 20))
    return Interval(Decimal(low), Decimal(low + draw(st.integers(0, 6))))


@st.composite
def knowledge(draw: st.DrawFn) -> tuple[dict[str, object], dict[str, object]]:
    """Two states of knowledge; the second knows all that the first knows, and maybe more."""
    before: dict[str, object] = {}
    after: dict[str, object] = {}
    for name in BOOLEANS:
        after[name] = draw(TRUTHS)
        before[name] = draw(st.sampled_from([None, after[name]]))
    for name in NUMBERS:
        wide = draw(intervals())
        low = draw(st.integers(int(wide.low), int(wide.high)))
        after[name] = Interval(Decimal(low), Decimal(draw(st.integers(low, int(wide.high)))))
        before[name] = draw(st.sampled_from([None, wide, after[name]]))
    return before, after


@given(TRUTHS, TRUTHS, TRUTHS)
def test_kleene_laws_hold(a: bool | None, b: bool | None, c: bool | None) -> None:
    conj, disj, neg = (lambda *v: kleene.every(v)), (lambda *v: kleene.some(v)), kleene.negate

    assert neg(neg(a)) is a
    assert conj(a, b) is conj(b, a)
    assert disj(a, b) is disj(b, a)
    assert conj(a, conj(b, c)) is conj(conj(a, b), c)
    assert disj(a, disj(b, c)) is disj(disj(a, b), c)
    assert conj(a, disj(b, c)) is disj(conj(a, b), conj(a, c))
    assert neg(conj(a, b)) is disj(neg(a), neg(b))
    assert conj(a, a) is a
    assert disj(a, conj(a, b)) is a
    assert kleene.at_least(1, [a, b, c]) is disj(a, b, c)
    assert kleene.at_least(3, [a, b, c]) is conj(a, b, c)


def test_the_excluded_middle_is_unknown_for_the_unknown() -> None:
    assert kleene.some([None, kleene.negate(None)]) is None
    assert kleene.every([None, False]) is False
    assert kleene.some([None, True]) is True


@given(expressions(), knowledge())
def test_learning_a_value_never_flips_a_decided_result(
    expression: Expression, known: tuple[dict[str, object], dict[str, object]]
) -> None:
    before, after = known
    first = expression.evaluate(before.get)
    second = expression.evaluate(after.get)

    if first.value is not None:
        assert second.value is first.value


@given(expressions(), knowledge())
def test_an_undecided_result_names_what_it_waits_for(
    expression: Expression, known: tuple[dict[str, object], dict[str, object]]
) -> None:
    before, _ = known
    outcome = expression.evaluate(before.get)

    assert (outcome.value is None) == bool(outcome.missing)
    assert outcome.missing <= names(expression)
    assert outcome.support <= names(expression)


@given(expressions(), knowledge())
def test_the_support_alone_decides(
    expression: Expression, known: tuple[dict[str, object], dict[str, object]]
) -> None:
    _, after = known
    outcome = expression.evaluate(after.get)
    supporting = {name: value for name, value in after.items() if name in outcome.support}

    assert expression.evaluate(supporting.get).value is outcome.value


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "expected a finding at column 1, before 'the end'"),
        ("a and", "expected a finding at column 6, before 'the end'"),
        ("a or z", "unknown finding 'z' at column 6, before 'z'"),
        ("x", "'x' is a number and must be compared at column 2, before 'the end'"),
        ("a > 3", "'a' is not a number and can't be compared at column 3, before '>'"),
        ("x > a", "expected a number at column 5, before 'a'"),
        ("(a", "expected ')' at column 3, before 'the end'"),
        ("a b", "expected an operator or the end at column 3, before 'b'"),
        ("at_least(3, a, b)", "at_least(3) has only 2 parts at column 18, before 'the end'"),
        ("a & b", "has an unexpected character at column 2"),
        ("__import__", "has an unexpected character at column 1"),
    ],
)
def test_a_faulty_expression_says_where(text: str, fault: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text, KINDS)

    assert str(caught.value) == fault


def test_nesting_is_bounded() -> None:
    with pytest.raises(ExpressionError, match="nested deeper than 40"):
        parse("(" * 100 + "a" + ")" * 100, KINDS)
    with pytest.raises(ExpressionError, match="nested deeper than 40"):
        parse("not " * 100 + "a", KINDS)
    with pytest.raises(ExpressionError, match="longer than 4000"):
        parse("a or " * 1000 + "a", KINDS)


def test_and_binds_tighter_than_or() -> None:
    expression = parse("a or b and not c", KINDS)

    assert expression.evaluate({"a": True}.get).value is True
    assert expression.evaluate({"a": False, "b": True, "c": False}.get).value is True
    assert expression.evaluate({"a": False, "b": True, "c": True}.get).value is False
    assert expression.evaluate({"a": False, "b": True}.get).missing == {"c"}
