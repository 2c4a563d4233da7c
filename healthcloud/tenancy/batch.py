"""Writing without waiting: a statement that goes out with the next one, or with the commit."""

from collections.abc import Sequence
from typing import cast

from django.db import connection

from healthcloud.tenancy.backend.ahead import Then
from healthcloud.tenancy.backend.base import DatabaseWrapper


def send_later(
    statement: str,
    parameters: Sequence[object],
    *,
    then: Then | None = None,
    prepare: bool = False,
) -> None:
    """Let a statement of the current transaction travel with the one after it, or with COMMIT.

    For inserts whose answer decides nothing here: they cost no round trip of their own. `then`
    is told the rows and must not raise. An error appears where the statement is sent. Hot ones
    are for `prepare`, with the types of `pipeline.Statement`.
    """
    cast(DatabaseWrapper, connection).put_ahead(statement, parameters, then, prepare=prepare)


def send_now() -> None:
    """Send what waits, for those who need what it answers."""
    cast(DatabaseWrapper, connection).send_ahead()
