"""Pieces of work that wait at the same time share a statement, and nothing else."""

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from healthcloud.tenancy.awaiting import LoopConnections
from healthcloud.tenancy.pipeline import Refused, Row, Statement
from healthcloud.tenancy.scope import Joint
from tests.healthcloud.conftest import live_scope, live_tenant

__all__ = ["live_scope", "live_tenant"]
pytestmark = pytest.mark.usefixtures("live_tenant")
ENTERING = Statement("SELECT 1", prepare=True)
_TWELFTHS = "SELECT n, 12 / n, pg_current_xact_id()::text FROM unnest(%s::integer[]) AS n"


class Divider:
    """Builds the statement of twelve divided by each of some numbers, and notes which."""

    def __init__(self) -> None:
        self.built: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> Statement:
        self.built.append(list(items))
        return Statement(_TWELFTHS, [list(items)])

    def piece(self, number: int, *, kind: str = "twelfth", own: object = None) -> Joint:
        return Joint(kind, number if own is None else own, number, self)


def join_all(pieces: Sequence[Joint], *, entering: Statement = ENTERING) -> list[Any]:
    """Join all pieces at once; return rows or the error of each."""

    async def everything() -> list[Any]:
        database = LoopConnections(2)
        try:
            joined = (database.join(entering, piece) for piece in pieces)
            return await asyncio.gather(*joined, return_exceptions=True)
        finally:
            database.close()

    return asyncio.run(everything())


def quotients(rows: Sequence[Row]) -> dict[int, int]:
    return {number: quotient for number, quotient, _ in rows}


def test_pieces_that_wait_together_are_one_statement_and_one_transaction() -> None:
    divide = Divider()
    answers = join_all([divide.piece(number) for number in range(1, 7)])
    assert [quotients(rows)[n] for n, rows in enumerate(answers, 1)] == [12, 6, 4, 3, 2, 2]
    assert sorted(number for built in divide.built for number in built) == [1, 2, 3, 4, 5, 6]
    assert len(divide.built) < 6
    assert len({row[2] for rows in answers for row in rows}) == len(divide.built)


def test_a_piece_that_fails_fails_alone() -> None:
    divide = Divider()
    answers = join_all([divide.piece(number) for number in (1, 2, 0, 3)])
    assert isinstance(answers[2], psycopg.errors.DivisionByZero)
    assert [quotients(answers[place])[n] for place, n in ((0, 1), (1, 2), (3, 3))] == [12, 6, 4]


def test_pieces_about_the_same_thing_follow_each_other() -> None:
    divide = Divider()
    answers = join_all([divide.piece(number, own="same") for number in (1, 2, 3)])
    assert divide.built == [[1], [2], [3]]
    assert [quotients(rows) for rows in answers] == [{1: 12}, {2: 6}, {3: 4}]


def test_pieces_of_two_kinds_are_never_one_statement() -> None:
    divide = Divider()
    join_all([divide.piece(n, kind="even" if n % 2 == 0 else "odd") for n in range(1, 9)])
    assert all(len({number % 2 for number in built}) == 1 for built in divide.built)


def test_who_may_not_enter_any_more_is_refused_with_all_that_came_along() -> None:
    divide = Divider()
    entering = Statement("SELECT 1 WHERE false", prepare=True)
    answers = join_all([divide.piece(number) for number in (1, 2, 3)], entering=entering)
    assert [type(answer) for answer in answers] == [Refused] * 3


def test_values_that_cannot_be_sent_keep_nobody_else_from_being_done() -> None:
    def build(items: Sequence[str]) -> Statement:
        return Statement("SELECT t FROM unnest(%b::text[]) AS t", [list(items)])

    answers = join_all([Joint("text", text, text, build) for text in ("a", "half \ud800", "b")])
    assert (b"a",) in answers[0]
    assert isinstance(answers[1], RuntimeError)
    assert (b"b",) in answers[2]
