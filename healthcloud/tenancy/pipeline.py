"""Statements through libpq itself: any number in one round trip, values bound by the server.

psycopg's cursors cost more of a short request than the database does. Here a group of statements
is sent as one pipeline and its rows are read from the result's bytes: text comes as bytes, all
else as Python values. Outside a transaction the group is one: PostgreSQL commits it at its end,
or undoes all of it.
"""

import itertools
import re
import select
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Final

import psycopg
from psycopg import abc, pq
from psycopg.adapt import AdaptersMap, Buffer, Loader, Transformer
from psycopg.types.string import ByteaBinaryLoader

from healthcloud.remembering import of_short_texts

Row = tuple[Any, ...]

_PLACEHOLDER: Final = re.compile(r"%[sb%]")
_TEXT: Final = pq.Format.TEXT
_BINARY: Final = pq.Format.BINARY
_FAILED: Final = frozenset({pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_ABORTED})
_TEXT_OID: Final = 25
_ARRAY: Final = struct.Struct(">iiI")  # dimensions, whether any is null, type of the elements
_DIMENSION: Final = struct.Struct(">ii")  # length, first index
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = _LENGTH.pack(-1)
_numbers: Final = itertools.count()
MAX_PREPARED: Final = 100  # a plan takes the database up to 100 kB in each session
LONGEST_PREPARED: Final = 16_384  # characters; longer statements are sent and forgotten
NOT_HELD: Final = "HC001"  # raised by the database's function must_hold


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with `%s` placeholders and its parameters.

    `prepare` is for hot statements of a fixed plan; others are planned for their values. One that
    `is_fixed` is never planned for its values where a group of its own enters the tenant.
    """

    sql: str
    params: Sequence[object] = ()
    prepare: bool | None = None
    is_fixed: bool = False
    bound: "tuple[list[bytes | None], list[pq.Format]] | None" = None
    """The parameters as they are sent, where they were made before."""

    def binding(self) -> "Statement":
        """Return the statement with its parameters as they are sent, to be used many times."""
        return replace(self, bound=bind([self])[0])


def beside(statement: Statement, member: Statement) -> Statement | None:
    """Return a statement with a further member in its WITH, None for one that can't have it.

    One that is planned for its values stays alone: the member would be planned each time, too.
    """
    is_prepared = statement.prepare and len(statement.sql) <= LONGEST_PREPARED
    sql = _with_member(statement.sql, member.sql) if is_prepared else None
    if sql is None:
        return None
    return replace(statement, sql=sql, params=[*member.params, *statement.params])


@lru_cache(maxsize=1024)
def _with_member(sql: str, member: str) -> str | None:
    if sql.startswith("WITH ") and not sql.startswith("WITH RECURSIVE"):
        return f"WITH {member}, {sql[5:]}"
    return f"WITH {member} {sql}" if sql.startswith(("SELECT ", "(")) else None


class Refused(RuntimeError):
    """What a group rests on is not so any more, by its guard or `must_hold`: none of it counts."""


@dataclass(slots=True)
class Session:
    """A connection to the database, and the statements that it has prepared: text by name."""

    connection: psycopg.Connection[Any]
    prepared: dict[str, bytes] = field(default_factory=dict)
    """The one used last stands last."""
    forgotten: list[bytes] = field(default_factory=list)
    reader: abc.Transformer | None = None

    def name_of(self, sql: str) -> bytes | None:
        """Return the name under which a statement is prepared."""
        name = self.prepared.pop(sql, None)
        if name is not None:
            self.prepared[sql] = name
        return name

    def remember(self, sql: str, name: bytes) -> None:
        """Note that a statement is prepared; of too many the one that rested longest is let go."""
        self.prepared[sql] = name
        if len(self.prepared) > MAX_PREPARED:
            self.forgotten.append(self.prepared.pop(next(iter(self.prepared))))


@dataclass(slots=True)
class Group:
    """Statements that were sent together, and the names under which some are prepared by it."""

    statements: Sequence[Statement]
    names: list[bytes | None]
    skipped: int = 0
    """How many results come before those of the statements."""

    def rows(
        self, session: Session, results: Sequence[pq.abc.PGresult], *, guarded: bool
    ) -> list[list[Row]]:
        """Return the rows of each statement; raise the error of the first that failed."""
        rows: list[list[Row]] = []
        following = iter(results[self.skipped :])
        for statement, name in zip(self.statements, self.names, strict=True):
            if name is not None:
                _check(next(following))
                session.remember(statement.sql, name)
            result = next(following)
            _check(result)
            if guarded and not rows and not result.ntuples:
                raise Refused
            rows.append(_rows(session, result))
        return rows


def run(
    session: Session, statements: Sequence[Statement], *, guarded: bool = False
) -> list[list[Row]]:
    """Send statements in one round trip and return the rows of each (none for commands).

    Raises psycopg's error of the first that fails; outside a transaction the others are then
    undone with it. When `guarded`, the first statement must find a row, or Refused is raised.
    """
    if session.connection.closed:
        raise psycopg.OperationalError("the connection is closed")
    bound = bind(statements)
    pgconn = session.connection.pgconn
    pgconn.enter_pipeline_mode()
    group = send(session, statements, bound)
    results = _receive(pgconn)
    pgconn.exit_pipeline_mode()
    return group.rows(session, results, guarded=guarded)


Bound = list[tuple[list[bytes | None], list[pq.Format]]]


def bind(statements: Sequence[Statement]) -> Bound:
    """Return the values of each statement as they are sent; raise for what can't be."""
    bound: Bound = []
    for statement in statements:
        if statement.bound is not None:
            bound.append(statement.bound)
            continue
        values = [encoded_value(value) for value in statement.params]
        formats = [_BINARY if type(v) is _Packed else _TEXT for v in values]
        bound.append((values, formats))
    return bound


def send(session: Session, statements: Sequence[Statement], bound: Bound) -> Group:
    """Put statements and the end of their group into a connection that is in pipeline mode."""
    pgconn = session.connection.pgconn
    forgotten, session.forgotten = session.forgotten, []
    for name in forgotten:
        pgconn.send_query_params(b"DEALLOCATE " + name, None)
    names = [
        _send(pgconn, session, statement, *values)
        for statement, values in zip(statements, bound, strict=True)
    ]
    pgconn.pipeline_sync()
    return Group(statements, names, len(forgotten))


def _send(
    pgconn: pq.abc.PGconn,
    session: Session,
    statement: Statement,
    values: list[bytes | None],
    formats: list[pq.Format],
) -> bytes | None:
    """Send a statement; return the name under which it is prepared now, None if not by this."""
    if not statement.prepare or len(statement.sql) > LONGEST_PREPARED:
        sql = numbered(statement.sql)
        pgconn.send_query_params(sql, values, param_formats=formats, result_format=_BINARY)
        return None
    known = session.name_of(statement.sql)
    name = known or f"hc_{next(_numbers)}".encode()
    if known is None:
        pgconn.send_prepare(name, numbered(statement.sql))
    pgconn.send_query_prepared(name, values, param_formats=formats, result_format=_BINARY)
    return None if known else name


def _receive(pgconn: pq.abc.PGconn) -> list[pq.abc.PGresult]:
    """Flush what was sent and return all results up to the end of the pipeline."""
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN | select.POLLOUT)
    while pgconn.flush():  # a large body: read meanwhile, or both sides wait for the other
        if any(event & ~select.POLLOUT for _, event in poll.poll()):
            pgconn.consume_input()
    poll.modify(pgconn.socket, select.POLLIN)
    results: list[pq.abc.PGresult] = []
    while True:
        while pgconn.is_busy():
            poll.poll()
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:  # the end of one statement's results
            if pgconn.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError(pgconn.get_error_message())
        elif result.status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        else:
            results.append(result)


def _check(result: pq.abc.PGresult) -> None:
    if result.status in _FAILED:
        raise psycopg.errors.error_from_result(result, encoding="utf-8")


def _rows(session: Session, result: pq.abc.PGresult) -> list[Row]:
    if not result.ntuples:
        return []
    if not _PLAIN.issuperset([result.ftype(column) for column in range(result.nfields)]):
        return _other_rows(session.connection, result)
    reader = session.reader
    if reader is None:
        reader = session.reader = Transformer(_Reading(session.connection, _adapters()))
    reader.set_pgresult(result)  # psycopg reads all rows in C, where it was built so
    rows = reader.load_rows(0, result.ntuples, tuple)
    reader.set_pgresult(None)
    return rows


def _other_rows(connection: psycopg.Connection[Any], result: pq.abc.PGresult) -> list[Row]:
    """Return rows with columns of rare types, such as arrays, each by psycopg's own reader."""
    numbers, columns = range(result.ntuples), []
    ours, theirs = Transformer(_Reading(connection, _adapters())), Transformer(connection)
    for column in range(result.nfields):
        kind = result.ftype(column)
        load = (ours if kind in _PLAIN else theirs).get_loader(kind, _BINARY).load
        values = [result.get_value(row, column) for row in numbers]
        columns.append([None if value is None else load(value) for value in values])
    return list(zip(*columns, strict=True))


@of_short_texts(maxsize=4096, longest=LONGEST_PREPARED)
def numbered(sql: str) -> bytes:
    """Return the statement with `$1`, `$2` … in the place of `%s` and `%b`."""
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] == "%%":
            return "%"
        count += 1
        return f"${count}"

    return _PLACEHOLDER.sub(number, sql).encode()


# --- values ---------------------------------------------------------------------------------------


class _Packed(bytes):
    """A value in PostgreSQL's binary form."""


def encoded_value(value: object) -> bytes | None:
    """Return a value as the server reads it: text, which the statement casts, or an array."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        if "\0" in value:
            raise psycopg.DataError("text for PostgreSQL can't hold the character U+0000")
        return value.encode()
    if type(value) is int:
        return b"%d" % value
    if isinstance(value, list):
        is_text = value and (value[0] is None or isinstance(value[0], (str, bytes)))
        return _packed(value) if is_text else _literal(value)
    if isinstance(value, datetime):
        return value.isoformat().encode()
    return str(value).encode()


def moments(values: Sequence[datetime]) -> str:
    """Return moments as an array literal."""
    return "{" + ",".join([value.isoformat() for value in values]) + "}"


def _literal(numbers: list[int | float]) -> bytes:
    return ("{" + ",".join(map(str, numbers)) + "}").encode()


def _packed(texts: list[str | bytes | None]) -> _Packed:
    """Return an array of texts in binary, so that no side escapes or parses quotation marks."""
    parts = [_ARRAY.pack(1, None in texts, _TEXT_OID), _DIMENSION.pack(len(texts), 1)]
    for text in texts:
        value = encoded_value(text)
        parts += (_NULL,) if value is None else (_LENGTH.pack(len(value)), value)
    return _Packed(b"".join(parts))


@dataclass(slots=True)
class _Reading:
    """What psycopg's reader of rows asks for its context."""

    connection: psycopg.Connection[Any]
    adapters: AdaptersMap


class _Nothing(Loader):
    """Reads what a function that returns void returns."""

    format = _BINARY

    def load(self, data: Buffer) -> None:
        return None


class _Unsigned(Loader):
    """Reads the number of a transaction."""

    format = _BINARY

    def load(self, data: Buffer) -> int:
        return int.from_bytes(data, "big")


# By the object ids of PostgreSQL's pg_type, which are fixed; None for psycopg's own readers.
_LOADERS: Final[dict[int, type[Loader] | None]] = {
    16: None,  # truth
    17: None,  # bytes
    20: None,  # whole numbers
    21: None,
    23: None,
    25: ByteaBinaryLoader,  # texts stay bytes
    701: None,  # numbers
    1043: ByteaBinaryLoader,
    1184: None,  # moments
    2278: _Nothing,
    5069: _Unsigned,
}
_PLAIN: Final = frozenset(_LOADERS)


@cache
def _adapters() -> AdaptersMap:
    made = AdaptersMap(psycopg.adapters)
    for oid, loader in _LOADERS.items():
        if loader is not None:
            made.register_loader(oid, loader)
    return made
