"""Pieces of SQL with their parameters, put together without ever quoting a value."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Clause:
    """A boolean expression with `%s` placeholders in the order of `params`."""

    sql: str
    params: tuple[object, ...] = ()


FALSE: Final = Clause("false")
MAX_KNOWN: Final = 32
# Rows are compared with so many tokens at most, each with each; of more the index finds the rows.
MAX_COMPARED: Final = 256


def all_of(clauses: Sequence[Clause]) -> Clause:
    """Return the conjunction; of nothing, true."""
    return _joined(clauses, " AND ", "true")


def any_of(clauses: Sequence[Clause]) -> Clause:
    """Return the disjunction; of nothing, false."""
    return _joined(clauses, " OR ", "false")


def joined(*pieces: Clause) -> Clause:
    """Return pieces of a statement as they follow each other."""
    values = tuple(value for piece in pieces for value in piece.params)
    return Clause("".join(piece.sql for piece in pieces), values)


def negate(clause: Clause) -> Clause:
    """Return the opposite."""
    return Clause(f"NOT ({clause.sql})", clause.params)


def _joined(clauses: Sequence[Clause], word: str, empty: str) -> Clause:
    if not clauses:
        return Clause(empty)
    if len(clauses) == 1:
        return clauses[0]
    sql = word.join(f"({clause.sql})" for clause in clauses)
    return Clause(sql, tuple(value for clause in clauses for value in clause.params))


def array(values: Iterable[int]) -> str:
    """Return whole numbers as a PostgreSQL array literal."""
    return "{" + ",".join(map(str, values)) + "}"


def has_any_token(alias: str, tokens: Iterable[int]) -> Clause:
    """Return the condition that a row has at least one of the tokens."""
    wanted = sorted(set(tokens))
    if not wanted:
        return FALSE
    if len(wanted) > MAX_COMPARED:
        return Clause(f"{alias}.pk = ANY({GATHERED})", (array(wanted),))
    operator = "@>" if len(wanted) == 1 else "&&"
    return Clause(f"{alias}.tokens {operator} {tokens_of(len(wanted))}", (array(wanted),))


# The array is made first, and no row is compared with all tokens.
GATHERED: Final = (
    "ARRAY(SELECT g.pk FROM unnest(%s::bigint[]) AS wanted(token) CROSS JOIN LATERAL"
    " (SELECT m.pk FROM fhir_resource m WHERE m.tokens @> ARRAY[wanted.token] OFFSET 0) AS g)"
)


def has_no_token(alias: str, tokens: Iterable[int]) -> Clause:
    """Return the condition that a row has none of the tokens."""
    wanted = sorted(set(tokens))
    if len(wanted) > MAX_COMPARED:  # the rows that have one are hashed, not compared one by one
        return Clause(f"{alias}.pk NOT IN (SELECT unnest({GATHERED}))", (array(wanted),))
    return negate(has_any_token(alias, wanted))


def tokens_of(count: int) -> str:
    """Return the SQL of an array of so many tokens.

    Of a long one that it knows the planner expects that it matches most rows, and compares each
    with it; one that it does not know it asks the index for.
    """
    return "%s::bigint[]" if count <= MAX_KNOWN else "ARRAY(SELECT unnest(%s::bigint[]))"
