"""Kleene's strong three-valued logic: True, False and None for unknown.

What is decided stays decided whatever the unknown parts turn out to be, so learning one more
finding can turn unknown into true or false, and never true into false.
"""

from collections.abc import Iterable

from assets.rules.intervals import Truth


def negate(value: Truth) -> Truth:
    """Return not `value`."""
    return None if value is None else not value


def every(values: Iterable[Truth]) -> Truth:
    """Return the conjunction: false beats unknown, unknown beats true."""
    result: Truth = True
    for value in values:
        if value is False:
            return False
        if value is None:
            result = None
    return result


def some(values: Iterable[Truth]) -> Truth:
    """Return the disjunction: true beats unknown, unknown beats false."""
    return negate(every(negate(value) for value in values))


def at_least(count: int, values: Iterable[Truth]) -> Truth:
    """Return whether `count` or more of `values` are true."""
    known = list(values)
    true = sum(value is True for value in known)
    possible = true + sum(value is None for value in known)
    return True if true >= count else False if possible < count else None
