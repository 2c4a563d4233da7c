"""A transaction in the tenant's scope that a worker opens when it needs one."""

from contextlib import ExitStack, suppress

from healthcloud.tenancy.scope import Scope, tenant_scope


class Overtaken(Exception):
    """Another worker, whose lease had ended, has written since we read; we may take the run."""


class Sitting:
    """A transaction in the tenant's scope that is opened when it is needed."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._open: ExitStack | None = None

    def enter(self) -> None:
        """Open the transaction unless it is open."""
        if self._open is None:
            self._open = ExitStack()
            self._open.enter_context(tenant_scope(self._scope))

    def commit(self) -> None:
        """Commit what was written."""
        if self._open is not None:
            sitting, self._open = self._open, None
            sitting.close()

    def undo(self, error: BaseException) -> None:
        """Roll back what was written."""
        if self._open is not None:
            sitting, self._open = self._open, None
            with suppress(type(error)):
                sitting.__exit__(type(error), error, error.__traceback__)
