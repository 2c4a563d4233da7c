"""What runs due work: handlers registered by kind, and the outcomes they answer with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from healthcloud.ledger.models import Queue
from healthcloud.tenancy.scope import Scope

MAX_ATTEMPTS = 10


class LeaseLost(Exception):
    """Another worker holds the work now; nothing more may be committed for it."""


class UnknownKind(LookupError):
    """No handler is registered for this kind of work."""


@dataclass(slots=True)
class Lease:
    """The hold on a piece of work, renewed by the heartbeat while the handler runs."""

    lost: bool = False
    progressed: bool = False

    def check(self) -> None:
        """Raise LeaseLost when the heartbeat has found the work in other hands."""
        if self.lost:
            raise LeaseLost

    def progress(self) -> None:
        """Say that something was achieved, so that earlier failures no longer count."""
        self.progressed = True


class Aside(Protocol):
    """Threads beside the one that claimed the work, for what mostly waits."""

    queue: str  # that the threads work off by themselves

    def reserve(self) -> bool:
        """Keep a thread free for the caller, who answers `Elsewhere` or lets it go."""

    def let_go(self) -> None:
        """Give a thread back that was reserved and is not needed."""


@dataclass(frozen=True, slots=True)
class ClaimedWork:
    """Work that this process holds: whose it is, what it is, and the token that fences it.

    `attempt` counts from 1 and starts again after progress; `now` is the database's clock;
    `more` says whether anything else was due in its queue. Work without an `aside` is done to its
    end where it is.
    """

    id: int
    scope: Scope
    kind: str
    ref: str
    token: int
    attempt: int
    now: datetime
    more: bool = True
    aside: Aside | None = field(default=None, compare=False)
    lease: Lease = field(default_factory=Lease, compare=False)


@dataclass(frozen=True, slots=True)
class Done:
    """The work is finished; its row goes."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The handler finished the work in its own last commit; `again` if it is due once more."""

    again: bool = False


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Look at it again at `due_at`: after an error (which counts), or to wait (`error=""`).

    `error` is a code, never a message that could hold clinical data.
    """

    due_at: datetime
    error: str = ""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The work can't succeed; it is kept as a dead letter until someone replays it."""

    error: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The thread that was reserved does the `rest`, which answers the outcome."""

    rest: "Callable[[], Outcome]"


Outcome = Done | Settled | RetryAt | GiveUp | Elsewhere
Handler = Callable[[ClaimedWork], Outcome]
DeathHandler = Callable[[ClaimedWork, str], None]


@dataclass(frozen=True, slots=True)
class Registration:
    """The handler of one kind, and what to do when the work is given up."""

    kind: str
    queue: str
    run: Handler
    on_dead: DeathHandler | None = None
    max_attempts: int = MAX_ATTEMPTS


_registry: dict[str, Registration] = {}


def register(
    kind: str,
    queue: str = Queue.CONTROL,
    *,
    on_dead: DeathHandler | None = None,
    max_attempts: int = MAX_ATTEMPTS,
) -> Callable[[Handler], Handler]:
    """Register the decorated function as the handler of `kind` (in `<app>/tasks.py`).

    The function opens `tenant_scope(work.scope)` itself, must be idempotent, and answers `Done`,
    `Settled`, `RetryAt` or `GiveUp`; an exception is retried with backoff. After `max_attempts`
    failures in a row the work is a dead letter and `on_dead(work, error)` runs.
    """
    if queue not in Queue.values:
        raise ValueError(f"unknown queue {queue!r}: use one of {', '.join(Queue.values)}")

    def add(run: Handler) -> Handler:
        known = _registry.get(kind)
        if known is not None and known.run.__qualname__ != run.__qualname__:
            raise ValueError(f"{kind!r} already has the handler {known.run.__qualname__}")
        _registry[kind] = Registration(kind, queue, run, on_dead, max_attempts)
        return run

    return add


def lookup(kind: str) -> Registration:
    """Return the registration of `kind`; raise UnknownKind."""
    try:
        return _registry[kind]
    except KeyError:
        raise UnknownKind(kind) from None


def kinds() -> tuple[str, ...]:
    """Return all registered kinds, sorted."""
    return tuple(sorted(_registry))
