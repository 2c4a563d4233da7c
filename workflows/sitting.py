"""A transaction in the tenant's scope that a worker opens when it needs one.

Steps of our own rows that follow each other at once share it, as a commit costs more than most of
them do. Nobody has to wait for that: an effect that holds locks is the last one in it.
"""

import time
from contextlib import ExitStack, suppress
from typing import Final

from healthcloud.ledger.handlers import LeaseLost
from healthcloud.tenancy.scope import Scope, tenant_scope
from workflows.journal import RunEnded
from workflows.lanes import Holder
from workflows.models import Lane, Run

_SECONDS: Final = 0.1  # for which what a step did may wait to be committed with what follows


class Overtaken(Exception):
    """Another worker, whose lease had ended, has written since we read; we may take the run."""


class Apart(Exception):
    """What shared a transaction could not be written: each step needs one of its own."""


class Sitting:
    """A transaction in the tenant's scope that is opened when it is needed.

    With `shares`, effects may stay in it uncommitted for a moment, until another has joined them.
    """

    def __init__(self, scope: Scope, *, shares: bool = False) -> None:
        self._scope = scope
        self.shares = shares
        self._open: ExitStack | None = None
        self._until: float | None = None  # when what is not committed has to be
        self.holds = False  # whether others may wait for what is not committed

    @property
    def unsettled(self) -> bool:
        """Return whether effects are done that are not committed yet."""
        return self._until is not None

    @property
    def full(self) -> bool:
        """Return whether what is done has to be committed before anything else is."""
        return self._until is not None and (self.holds or time.monotonic() >= self._until)

    def leave(self, *, holding: bool) -> bool:
        """Leave an effect uncommitted for now; False when it has to be committed at once."""
        now = time.monotonic()
        if not self.shares or (self._until is not None and now >= self._until):
            return False
        self._until = self._until or now + _SECONDS
        self.holds = holding
        return True

    def enter(self) -> None:
        """Open the transaction unless it is open."""
        if self._open is None:
            self._open = ExitStack()
            self._open.enter_context(tenant_scope(self._scope))

    def commit(self) -> None:
        """Commit what was written."""
        if self._open is not None:
            self._ended().close()

    def undo(self, error: BaseException) -> None:
        """Roll back what was written."""
        if self._open is not None:
            sitting = self._ended()
            with suppress(type(error)):
                sitting.__exit__(type(error), error, error.__traceback__)

    def _ended(self) -> ExitStack:
        assert self._open is not None
        sitting, self._open = self._open, None
        self._until, self.holds = None, False
        return sitting


def who_has_it(scope: Scope, holder: Holder, token: int) -> Exception:
    """Return why a run or lane could not be written: it ended, or someone else wrote since."""
    lane = holder.lane
    with tenant_scope(scope):
        run = Run.objects.filter(id=holder.run.id).first()
        found = Lane.objects.filter(id=lane.id).first() if lane is not None else None
    if run is None or run.final or (lane is not None and (found is None or found.final)):
        return RunEnded()
    written = run.token if found is None else found.token
    return Overtaken() if written < token else LeaseLost()
