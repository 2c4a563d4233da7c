"""Statements against the tenant's tables: bound by the server, several in one round trip.

This is the one place in `fhir` that talks to the database; the tenancy backend refuses what is
outside a tenant. Text comes as the bytes that the database sent.
"""

from collections.abc import Sequence

from healthcloud.tenancy.deadlocks import is_deadlock
from healthcloud.tenancy.pipeline import LONGEST_PREPARED, Row, Statement
from healthcloud.tenancy.scope import execute

__all__ = ["LONGEST_PREPARED", "Row", "Statement", "fetch", "fetch_all", "is_deadlock"]


def fetch(sql: str, params: Sequence[object] = (), *, prepare: bool | None = None) -> list[Row]:
    """Run one statement and return its rows."""
    return execute([Statement(sql, params, prepare)])[0]


def fetch_all(statements: Sequence[Statement]) -> list[list[Row]]:
    """Run statements in one round trip and return the rows of each (empty for commands)."""
    return execute(statements)
