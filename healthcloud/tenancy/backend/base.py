"""A PostgreSQL connection whose tenant lives exactly as long as its transaction.

django-tenants sends a session-wide `SET search_path` before each cursor; behind a pooler, in
threads or after a cancelled statement that leaks rows of another tenant. Here the context is
set once per transaction with `set_config(…, is_local => true)`, so that commit and rollback
end it in the database itself, and tenant SQL outside a scope is refused.
"""

import select
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import psycopg
from django.db.backends.utils import CursorWrapper
from django_tenants.postgresql_backend import base
from psycopg import sql

from healthcloud.tenancy.backend import ahead
from healthcloud.tenancy.backend.ahead import Ahead, BatchingCursor, LoggedCursor
from healthcloud.tenancy.context import Context
from healthcloud.tenancy.pipeline import Row, Session, Statement

_SET_CONTEXT: Final = (
    "SELECT set_config('search_path', {}, true), set_config('role', {}, true),"
    " set_config('hc.project', {}, true), set_config('hc.project_number', {}, true),"
    " set_config('hc.environment', {}, true)"
)
_SET_CONTEXT_BY_PARAMETERS: Final = _SET_CONTEXT.replace("{}", "%s::text")
_IDLE_SECONDS: Final = 1.0  # a connection that rested for less is asked only if its socket stirs
# Only the outermost scope can be read-only: PostgreSQL does not let a transaction turn back.
_SET_READONLY: Final = ", set_config('transaction_read_only', 'on', true)"
_SET_QUICK: Final = ", set_config('synchronous_commit', 'off', true)"
_SET_IMPATIENT: Final = ", set_config('lock_timeout', '1s', true)"
_SET_FIXED: Final = ", set_config('plan_cache_mode', 'force_generic_plan', true)"


class TenantOutsideTransaction(RuntimeError):
    """Tenant SQL was attempted outside `tenant_scope`."""


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # django-tenants is untyped
    """A connection that knows which context its current transaction is in."""

    context: Context | None = None
    health_check_done: bool  # Django's: False from one request to the next one's first cursor
    _used_at = 0.0
    _session: Session | None = None
    session_wide = False  # True on the owner's connection while it migrates

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as Django's
        self._ahead: list[Ahead] = []
        super().__init__(*args, **kwargs)

    def _handle_search_path(self, cursor: CursorWrapper | None = None) -> None:
        """Send nothing: the context of the transaction is already in the database."""
        if self.session_wide:
            super()._handle_search_path(cursor)
        elif self.context is None and self.schema_name != "public":
            message = (
                "enter a tenant with tenant_scope(), not with set_tenant() or schema_context()"
            )
            raise TenantOutsideTransaction(message)

    def enter_context(self, context: Context, *, readonly: bool = False) -> Context | None:
        """Set the transaction's context and return the one it replaces.

        Must be called inside `atomic()`, as `tenant_scope` and `public_scope` do.
        """
        if not self.in_atomic_block:
            raise TenantOutsideTransaction("a tenant context needs an open transaction")
        previous, self.context = self.context, context
        self.schema_name = context.schema
        statement = _set_context(context, readonly=readonly)
        status = None if self.connection is None else self.connection.info.transaction_status
        begins = status == psycopg.pq.TransactionStatus.IDLE and not self._ahead
        if begins and not self.queries_logged:
            self._ahead.append(Ahead(statement, begins=True))
        else:
            self.put_ahead(statement)
        return previous

    def begin_by(self, context: Context, entering: Statement) -> bool:
        """Begin the transaction of `atomic()` with a statement that sets its context.

        Returns whether that found a row, as only then the context is set.
        """
        self.context = context
        self.schema_name = context.schema
        return bool(self.run([Statement("BEGIN"), entering])[1])

    @staticmethod
    def entering(
        context: Context,
        *,
        readonly: bool,
        quick: bool = False,
        fixed: bool = False,
        patient: bool = True,
    ) -> tuple[str, tuple[str, ...]]:
        """Return a statement with placeholders that sets a context, and its parameters.

        With `fixed` what follows is planned without a look at its values. Who is not `patient`
        gives up a lock that is not to be had soon.
        """
        settings = readonly * _SET_READONLY + quick * _SET_QUICK + fixed * _SET_FIXED
        settings += (not patient) * _SET_IMPATIENT
        return _SET_CONTEXT_BY_PARAMETERS + settings, context.parameters()

    def leave_context(self, previous: Context | None) -> None:
        """Forget the context on this side; the database forgets it with the transaction."""
        self.context = previous
        self.schema_name = previous.schema if previous else "public"

    def restore_context(self, previous: Context | None) -> None:
        """Return to the enclosing context inside the same transaction."""
        self.leave_context(previous)
        self.put_ahead(_set_context(previous or Context.public()))

    # --- statements that travel with others ---------------------------------------------------

    def put_ahead(
        self,
        statement: str,
        parameters: Sequence[object] = (),
        then: ahead.Then | None = None,
        *,
        prepare: bool = False,
    ) -> None:
        """Send a statement with the next one, or with the commit; `then` is told its rows.

        Outside a transaction it is sent at once. Its errors appear where it is sent. `then` must
        not raise, as the transaction may have been committed by the same message.
        """
        self._ahead.append(Ahead(statement, parameters, then, prepare=prepare))
        if not self.in_atomic_block:
            self.send_ahead()

    def has_ahead(self) -> bool:
        """Return whether anything waits to be sent."""
        return bool(self._ahead)

    def has_prepared(self) -> bool:
        """Return whether any of what waits is to be prepared."""
        return any(one.prepare for one in self._ahead)

    def take_ahead(self) -> list[Ahead]:
        """Return what waits to be sent, and forget it."""
        waiting, self._ahead = self._ahead, []
        return waiting

    def send_ahead(self, ending: str = "") -> None:
        """Send what waits, and `ending` with it: one round trip, unless only some is prepared."""
        waiting = self.take_ahead()
        if not waiting or self.needs_rollback:
            return
        if self.queries_logged:
            text = ";\n".join(one.sql for one in waiting)
            self.queries_log.append({"sql": text, "time": "0.000"})
        groups = list(ahead.groups(waiting))
        for number, (piped, group) in enumerate(groups, 1):
            end = ending if number == len(groups) else ""
            if piped:
                self.run([Statement(end)] if end else [], behind=group)
                continue
            with self.cursor() as cursor, self.wrap_database_errors:
                ahead.execute(cursor, group, end, None)

    def run(
        self, statements: Sequence[Statement], *, behind: Sequence[Ahead] | None = None
    ) -> list[list[Row]]:
        """Run statements as `pipeline.run` does, with what waits to be sent if that can be.

        `behind` is what to send before them instead.
        """
        if behind is None:
            joins = all(one.is_piped for one in self._ahead) and not self.queries_logged
            behind = self.take_ahead() if joins else []
        session = self.session()
        with self.wrap_database_errors:
            return ahead.run_behind(session, behind, statements)

    def make_cursor(self, cursor: Any) -> CursorWrapper:  # noqa: ANN401  # psycopg's own
        """Return a cursor whose statements take along what waits."""
        return BatchingCursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> CursorWrapper:  # noqa: ANN401  # psycopg's own
        """Return a cursor that logs."""
        return LoggedCursor(cursor, self)

    def chunked_cursor(self) -> Any:  # noqa: ANN401  # as Django's
        """Return a cursor that lives in the database, which takes nothing along."""
        self.send_ahead()
        return super().chunked_cursor()

    def _commit(self) -> None:
        if len(self._ahead) == 1 and self._ahead[0].begins:
            self._ahead.clear()  # nothing was done in this transaction, which never began
        self.send_ahead(ending=ahead.COMMIT)
        super()._commit()  # psycopg sends nothing when that has committed

    def _rollback(self) -> None:
        self._ahead.clear()
        super()._rollback()

    def _savepoint_rollback(self, sid: str) -> None:
        self._ahead.clear()
        super()._savepoint_rollback(sid)

    def session(self) -> Session:
        """Return the session for statements that take no cursor, as ready as a cursor's would be.

        What was put ahead is sent first. Raises TenantOutsideTransaction and
        TransactionManagementError as a cursor does.
        """
        self.close_if_health_check_failed()
        self.ensure_connection()
        self._handle_search_path()
        self.validate_no_broken_transaction()
        self.send_ahead()
        self._used_at = time.monotonic()
        if self._session is None or self._session.connection is not self.connection:
            self._session = Session(self.connection)
        return self._session

    def close_if_health_check_failed(self) -> None:
        """Ask a connection whether it still answers, unless it did a moment ago.

        What the server says when it ends a connection makes the socket readable, so that a
        connection that was used within the second and is silent needs no statement of its own.
        """
        rested = time.monotonic() - self._used_at
        if self.connection is not None and not self.health_check_done and rested < _IDLE_SECONDS:
            self.health_check_done = not _stirs(self.connection)
        super().close_if_health_check_failed()

    def _cursor(self, name: str | None = None) -> CursorWrapper:
        cursor: CursorWrapper = super()._cursor(name)
        self._used_at = time.monotonic()
        return cursor

    def close(self) -> None:
        """Close the connection and with it every context."""
        self._ahead.clear()
        self.leave_context(None)
        super().close()


@lru_cache(maxsize=4096)
def _set_context(context: Context, *, readonly: bool = False) -> str:
    """Return the statement that sets a context, with its values in it."""
    values = [sql.Literal(value).as_string(None) for value in context.parameters()]
    text = _SET_CONTEXT.format(*values) + (_SET_READONLY if readonly else "")
    return text.replace("%", "%%")


def _stirs(session: psycopg.Connection[object]) -> bool:
    """Tell whether the server has sent something unasked, or the socket is gone."""
    if session.closed:
        return True
    poll = select.poll()
    poll.register(session.fileno(), select.POLLIN | select.POLLPRI)
    return bool(poll.poll(0))
