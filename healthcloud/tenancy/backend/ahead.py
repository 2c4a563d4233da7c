"""Statements that travel with the next one, or with the commit, instead of alone.

A round trip costs more than most statements do. What nobody waits for (the beginning of a
transaction and its context, rows of events, audit and due work) is put ahead of whatever is sent
next; what is left goes out together with COMMIT. Hot statements are prepared: they are sent as a
pipeline, in which the database plans none of them again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Protocol

import psycopg
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper

from healthcloud.tenancy.pipeline import Row, Session, Statement, run

if TYPE_CHECKING:
    from healthcloud.tenancy.backend.base import DatabaseWrapper

Rows = list[tuple[Any, ...]]
Then = Callable[[Rows], object]
COMMIT: Final = "COMMIT"


@dataclass(frozen=True, slots=True)
class Ahead:
    """A statement, its parameters, and who is told the rows.

    `begins` opens the transaction; one to `prepare` tells texts as bytes, as a pipeline does.
    """

    sql: str
    parameters: Sequence[object] = ()
    then: Then | None = None
    begins: bool = False
    prepare: bool = False

    @property
    def is_piped(self) -> bool:
        """Return whether it may be sent in a pipeline: its values have no types of Python's."""
        return self.prepare or not self.parameters


def groups(waiting: Sequence[Ahead]) -> Iterator[tuple[bool, list[Ahead]]]:
    """Yield what follows each other and can be sent in one message, and whether as a pipeline."""
    if not any(one.prepare for one in waiting):
        yield False, list(waiting)
        return
    for piped, group in groupby(waiting, key=lambda one: one.is_piped):
        yield piped, list(group)


def run_behind(
    session: Session, ahead: Sequence[Ahead], statements: Sequence[Statement]
) -> list[list[Row]]:
    """Run statements behind those ahead of them, all piped, in one round trip."""
    leading = [Statement("BEGIN")] if ahead and ahead[0].begins else []
    leading += [Statement(one.sql, one.parameters, prepare=one.prepare) for one in ahead]
    results = run(session, [*leading, *statements])
    told = results[len(leading) - len(ahead) : len(leading)]
    for one, rows in zip(ahead, told, strict=True):
        if one.then is not None:
            one.then(rows)
    return results[len(leading) :]


class _Batching(Protocol):
    db: "DatabaseWrapper"
    cursor: Any


def execute(
    wrapper: _Batching, ahead: Sequence[Ahead], sql: str, parameters: Sequence[object] | None
) -> None:
    """Execute a statement with those ahead of it in one round trip; its rows are the cursor's."""
    texts = [f"BEGIN; {one.sql}" if one.begins else one.sql for one in ahead]
    values = [value for one in ahead for value in one.parameters]
    if sql:
        texts.append(sql if parameters is not None else sql.replace("%", "%%"))
        values += parameters or ()
    cursor = wrapper.cursor
    session = cursor.connection
    # psycopg would send BEGIN alone before the first statement: here it stands in the text.
    begins = ahead[0].begins and not session.autocommit
    if begins:
        session._autocommit = True
    try:
        cursor.execute("; ".join(texts), values)
    finally:
        if begins:
            session._autocommit = False
    for one in ahead:
        if one.begins:
            cursor.nextset()
        if one.then is not None:
            one.then(cursor.fetchall() if cursor.description else [])
        cursor.nextset()


class BatchingCursor(CursorWrapper):
    """A cursor whose first statement takes along what was put ahead of it."""

    db: "DatabaseWrapper"
    cursor: Any

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """Return the session, for those who send statements of their own: nothing is kept back."""
        self.db.send_ahead()
        session: psycopg.Connection[Any] = self.cursor.connection
        return session

    def _execute(self, sql: Any, params: Any, *context: object) -> Any:  # noqa: ANN401
        if not self.db.has_ahead():
            return super()._execute(sql, params, *context)  # type: ignore[misc]  # not in the stubs
        mixed = self.db.needs_rollback or isinstance(params, dict) or self.db.has_prepared()
        if not isinstance(sql, str) or mixed:
            self.db.send_ahead()
            return super()._execute(sql, params, *context)  # type: ignore[misc]  # not in the stubs
        with self.db.wrap_database_errors:
            execute(self, self.db.take_ahead(), sql, params)
        return None

    def _executemany(self, sql: Any, param_list: Any, *context: object) -> Any:  # noqa: ANN401
        self.db.send_ahead()
        return super()._executemany(sql, param_list, *context)  # type: ignore[misc]

    def callproc(self, procname: str, params: Any = None, kparams: Any = None) -> Any:  # noqa: ANN401
        """Call a procedure after what was put ahead."""
        self.db.send_ahead()
        return super().callproc(procname, params, kparams)

    def copy(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # psycopg's own
        """Copy after what was put ahead."""
        self.db.send_ahead()
        return self.cursor.copy(*args, **kwargs)


class LoggedCursor(CursorDebugWrapper):
    """A cursor of a logged connection, where nothing travels with anything, so that all shows."""

    db: "DatabaseWrapper"

    def execute(self, sql: Any, params: Any = None) -> Any:  # noqa: ANN401
        """Execute after what was put ahead."""
        self.db.send_ahead()
        return super().execute(sql, params)

    def executemany(self, sql: Any, param_list: Any) -> Any:  # noqa: ANN401
        """Execute after what was put ahead."""
        self.db.send_ahead()
        return super().executemany(sql, param_list)
