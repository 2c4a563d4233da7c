"""Statements against the tenant's tables: bound by the server, several in one round trip.

This is the one place in `fhir` that talks to psycopg. It bypasses Django's cursor, which
interpolates parameters on the client and counts a round trip per statement, but goes through
Django's connection first, so that the tenancy backend refuses what is outside a tenant.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import psycopg
from django.db import OperationalError, connection
from psycopg.rows import tuple_row
from psycopg.types.string import TextBinaryLoader

Row = tuple[Any, ...]


class _BytesLoader(TextBinaryLoader):
    """Hands text columns out as the bytes the database sent."""

    def load(self, data: psycopg.abc.Buffer) -> bytes:
        """Copy the bytes out of the result's buffer."""
        return bytes(data)


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with `%s` placeholders and its parameters.

    `prepare` is for hot statements of a fixed plan; searches are planned for their values.
    """

    sql: str
    params: Sequence[object] = ()
    prepare: bool | None = None


def fetch(sql: str, params: Sequence[object] = (), *, prepare: bool | None = None) -> list[Row]:
    """Run one statement and return its rows; text comes as bytes."""
    return fetch_all([Statement(sql, params, prepare)])[0]


def fetch_all(statements: Sequence[Statement]) -> list[list[Row]]:
    """Run statements in one round trip and return the rows of each (empty for commands)."""
    with _session() as session:
        started = perf_counter()
        if len(statements) == 1:
            results = [_rows(_execute(session, statements[0]))]
        else:
            with session.pipeline():
                cursors = [_execute(session, statement) for statement in statements]
            results = [_rows(cursor) for cursor in cursors]
        _log(statements, perf_counter() - started)
        return results


def _execute(session: psycopg.Connection[Any], statement: Statement) -> psycopg.Cursor[Row]:
    cursor = psycopg.Cursor(session, row_factory=tuple_row)
    cursor.adapters.register_loader("text", _BytesLoader)
    cursor.adapters.register_loader("varchar", _BytesLoader)
    return cursor.execute(statement.sql, statement.params, prepare=statement.prepare, binary=True)


def _rows(cursor: psycopg.Cursor[Row]) -> list[Row]:
    return cursor.fetchall() if cursor.description else []


@contextmanager
def _session() -> Iterator[psycopg.Connection[Any]]:
    with connection.cursor() as cursor, connection.wrap_database_errors:
        yield cursor.connection


def _log(statements: Sequence[Statement], seconds: float) -> None:
    """Let Django's query log count a pipelined group as the one round trip it is."""
    if connection.queries_logged:
        text = ";\n".join(statement.sql for statement in statements)
        connection.queries_log.append({"sql": text, "time": f"{seconds:.3f}"})


def is_deadlock(error: Exception) -> bool:
    """Tell whether the database ended a wait in a circle: done again, the work may succeed."""
    cause = error.__cause__ if isinstance(error, OperationalError) else None
    return isinstance(cause, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure)
