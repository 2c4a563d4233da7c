"""Doing again what the database ended because two transactions waited for each other."""

from collections.abc import Callable
from typing import Final, TypeVar

import psycopg
from django.db import OperationalError, connection

_TIMES: Final = 3
Result = TypeVar("Result")


def is_deadlock(error: Exception) -> bool:
    """Tell whether the database ended a wait in a circle: done again, the work may succeed."""
    cause = error.__cause__ if isinstance(error, OperationalError) else None
    return isinstance(cause, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure)


def despite_deadlocks(call: Callable[[], Result]) -> Result:
    """Call what is a transaction of its own, up to three times if it ends as a deadlock.

    Nothing of it has happened then. Inside an open transaction the error is raised.
    """
    for _ in range(_TIMES - 1):
        try:
            return call()
        except OperationalError as error:
            if connection.in_atomic_block or not is_deadlock(error):
                raise
    return call()
