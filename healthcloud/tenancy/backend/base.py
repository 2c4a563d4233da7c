"""A PostgreSQL connection whose tenant lives exactly as long as its transaction.

django-tenants sends a session-wide `SET search_path` before each cursor; behind a pooler, in
threads or after a cancelled statement that leaks rows of another tenant. Here the context is
set once per transaction with `set_config(…, is_local => true)`, so that commit and rollback
end it in the database itself, and tenant SQL outside a scope is refused.
"""

import select
import time
from typing import Final

import psycopg
from django.db.backends.utils import CursorWrapper
from django_tenants.postgresql_backend import base

from healthcloud.tenancy.context import Context

_SET_CONTEXT: Final = (
    "SELECT set_config('search_path', %s, true), set_config('role', %s, true),"
    " set_config('hc.project', %s, true), set_config('hc.project_number', %s, true),"
    " set_config('hc.environment', %s, true)"
)
_IDLE_SECONDS: Final = 1.0  # a connection that rested for less is asked only if its socket stirs
# Only the outermost scope can be read-only: PostgreSQL does not let a transaction turn back.
_SET_READONLY: Final = ", set_config('transaction_read_only', 'on', true)"


class TenantOutsideTransaction(RuntimeError):
    """Tenant SQL was attempted outside `tenant_scope`."""


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]  # django-tenants is untyped
    """A connection that knows which context its current transaction is in."""

    context: Context | None = None
    health_check_done: bool  # Django's: False from one request to the next one's first cursor
    _used_at = 0.0
    session_wide = False  # True on the owner's connection while it migrates

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
        statement = _SET_CONTEXT + _SET_READONLY if readonly else _SET_CONTEXT
        try:
            with self.cursor() as cursor:
                if not self._begin_with(cursor, statement, context.parameters()):
                    cursor.execute(statement, context.parameters())
        except BaseException:
            self.leave_context(previous)
            raise
        return previous

    def _begin_with(
        self, cursor: CursorWrapper, statement: str, parameters: tuple[str, ...]
    ) -> bool:
        """Begin the transaction and set its context in one round trip, if it has not begun.

        psycopg sends BEGIN by itself before the first statement, as a round trip of its own;
        it leaves that to whoever has begun already.
        """
        session = cursor.connection
        status = session.info.transaction_status
        if status != psycopg.pq.TransactionStatus.IDLE or self.queries_logged:
            return False
        text = "BEGIN; " + cursor.mogrify(statement, parameters)
        with self.wrap_database_errors:
            result = session.pgconn.exec_(text.encode())
            if session.closed:
                raise psycopg.OperationalError(session.pgconn.get_error_message())
            if result.status != psycopg.pq.ExecStatus.TUPLES_OK:
                raise psycopg.errors.error_from_result(result)
        return True

    def leave_context(self, previous: Context | None) -> None:
        """Forget the context on this side; the database forgets it with the transaction."""
        self.context = previous
        self.schema_name = previous.schema if previous else "public"

    def restore_context(self, previous: Context | None) -> None:
        """Return to the enclosing context inside the same transaction."""
        self.leave_context(previous)
        with self.cursor() as cursor:
            cursor.execute(_SET_CONTEXT, (previous or Context.public()).parameters())

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
        self.leave_context(None)
        super().close()


def _stirs(session: psycopg.Connection[object]) -> bool:
    """Tell whether the server has sent something unasked, or the socket is gone."""
    if session.closed:
        return True
    poll = select.poll()
    poll.register(session.fileno(), select.POLLIN | select.POLLPRI)
    return bool(poll.poll(0))
