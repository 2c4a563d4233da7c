"""`tenant_scope`: the only way into a tenant's schema, and our one context local."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Any, Final, Protocol, cast

import psycopg
from django.db import ProgrammingError, connection, transaction

from healthcloud.errors import BadRequest, Forbidden
from healthcloud.tenancy.backend.base import DatabaseWrapper
from healthcloud.tenancy.context import (
    ALL_PROJECT_NUMBERS,
    ALL_PROJECTS,
    Context,
    narrowed_role,
)
from healthcloud.tenancy.pipeline import (
    NOT_HELD,
    Refused,
    Row,
    Session,
    Statement,
    beside,
    run,
)

Run = Callable[[Sequence[Statement], bool], list[list[Row]]]
_FIX: Final = Statement("SELECT set_config('plan_cache_mode', 'force_generic_plan', true)")
_RELEASE: Final = Statement("SELECT set_config('plan_cache_mode', 'auto', true)")


@dataclass(frozen=True, slots=True)
class Joint:
    """A piece of work that one statement may do together with those of other requests.

    `build` returns the statement for the items of several; only pieces with the same `kind` are
    done together, and none with the same `own`. `build` runs outside of any scope.
    """

    kind: Hashable
    own: Hashable
    item: Any
    build: Callable[[Sequence[Any]], Statement]


class LoopRun(Protocol):
    """Runs statements in an event loop's thread, which goes on with other requests meanwhile."""

    def __call__(self, statements: Sequence[Statement], guarded: bool) -> list[list[Row]]:
        """Run a group of statements, as `pipeline.run` does."""
        ...

    def join(self, entering: Statement, joint: Joint) -> list[Row]:
        """Do a piece of work, maybe with others; return the rows of all that were done with it."""
        ...


class NoTenantScope(RuntimeError):
    """Code that needs a tenant was called outside `tenant_scope`."""


class ProjectRequired(BadRequest):
    """The request names no project, and its key belongs to a whole organization."""

    def __init__(self) -> None:
        super().__init__(
            "Name the project: send `project_id` in the body or query, or the header "
            "`HealthCloud-Project`, or use a key that belongs to one project.",
            param="project_id",
        )


class BeyondSight(Forbidden):
    """A narrowed scope was about to write what lies outside of what it may touch."""

    def __init__(self) -> None:
        super().__init__(
            "This lies outside of what the credential may touch: its scopes, or a consent, hold it"
            " to certain patients or records."
        )


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose data a piece of work may touch: an organization's environment, and a project in it.

    `schema` is the tenant's PostgreSQL schema and role. Without a project (`None`) rows of all
    projects of the organization can be read; writes ask for one through `active_project`.
    `sight` are settings (name, value) of the database by which policies narrow what is seen and
    written further than to the project; with any, the transaction takes the tenant's narrowed role.
    """

    organization_id: str
    environment_id: str
    environment: str
    schema: str
    project_id: str | None = None
    project_number: int | None = None
    profiles: str | None = None
    """How the project has clinical writes checked, as its setting says; None: not looked up."""
    sight: tuple[tuple[str, str], ...] = ()

    def metadata(self) -> dict[str, str | None]:
        """Return the members that every answer carries."""
        return {
            "organization_id": self.organization_id,
            "project_id": self.project_id,
            "environment": self.environment,
        }

    def in_project(self, project_id: str, project_number: int) -> "Scope":
        """Return the same tenant narrowed to one project."""
        return replace(self, project_id=project_id, project_number=project_number, profiles=None)

    def context(self) -> Context:
        """Return the settings that hold this scope in the database."""
        number = ALL_PROJECT_NUMBERS if self.project_number is None else self.project_number
        return Context(
            schema=self.schema,
            role=narrowed_role(self.schema) if self.sight else self.schema,
            project=self.project_id or ALL_PROJECTS,
            project_number=number,
            environment=self.environment,
        )


_active: ContextVar[Scope | None] = ContextVar("tenant_scope", default=None)
_entry: ContextVar["DirectEntry | None"] = ContextVar("tenant_entry", default=None)


@contextmanager
def tenant_scope(scope: Scope, *, readonly: bool = False) -> Iterator[Scope]:
    """Run the block in a transaction that sees one tenant (and, if named, one project).

    Opens `atomic()`; inside another scope or transaction it is a savepoint, and the outer
    context is back afterwards. Search path, role and the settings that row-level security reads
    are local to the transaction. Evaluate querysets before leaving the block. `readonly` lets the
    database refuse writes; it holds for an outermost scope only.
    """
    with _entered(scope.context(), scope, readonly=readonly):
        yield scope


@dataclass(slots=True)
class DirectEntry:
    """How each group of statements of a `direct_scope` enters the tenant, and how many have.

    `guard` is the rest of a SELECT, from FROM on, that finds a row as long as the caller may act.
    Several groups may run where the scope is readonly, or `repeats` says that each is complete
    without the others, as a read and its entry in the trail are.
    """

    scope: Scope
    guard: Statement
    readonly: bool
    repeats: bool = False
    groups: int = 0
    loop: LoopRun | None = None
    """Runs a group in an event loop's thread; without it the thread's connection does."""
    companion: Statement | None = None
    """What the first group does besides, such as the entry of a search in the trail: a member of a
    WITH."""
    afterwards: list[Callable[[], object]] = field(default_factory=list)
    """What the loop does once the group has committed, in a thread of its own."""
    is_quick: bool = False
    """Whether the commits don't wait for the disk, as for the trail of reads."""
    is_patient: bool = True
    """Whether to wait for locks that others hold, however long."""
    entering: Callable[[bool], Statement] | None = None
    """What `statement` returns, where it was made before."""
    reading: bool = False
    """Whether what runs now only reads, so that a group that writes may follow."""

    def statement(self, *, fixed: bool = False) -> Statement:
        """Return the statement that enters the tenant if the guard finds its row.

        With `fixed` the statements that follow are planned without a look at their values.
        """
        if self.entering is not None:
            return self.entering(fixed)
        sql, params = DatabaseWrapper.entering(
            self.scope.context(),
            readonly=self.readonly,
            quick=self.is_quick,
            fixed=fixed,
            patient=self.is_patient,
        )
        return Statement(f"{sql} {self.guard.sql}", (*params, *self.guard.params), prepare=True)

    def check(self) -> None:
        """Raise Refused unless the guard finds its row now."""
        check = Statement(f"SELECT 1 {self.guard.sql}", self.guard.params, prepare=True)
        if not execute([check])[0]:
            raise Refused


@contextmanager
def direct_scope(entry: DirectEntry) -> Iterator[Scope]:
    """Let each group of statements of the block enter the tenant by itself, in one round trip.

    For work that runs its statements through `execute`, and writes in one group only: each group
    is a transaction of its own, and nothing else reaches the tenant. While the guard finds no
    row, `execute` raises `pipeline.Refused`. Inside a transaction this is `tenant_scope`.
    """
    if entry.loop is None and connection.in_atomic_block:
        entry.check()
        entry.groups = 1
        with tenant_scope(entry.scope, readonly=entry.readonly):
            yield entry.scope
        return
    tokens = _active.set(entry.scope), _entry.set(entry)
    try:
        yield entry.scope
    finally:
        _active.reset(tokens[0])
        _entry.reset(tokens[1])


@contextmanager
def in_transaction() -> Iterator[None]:
    """Run the block in one transaction; within a `direct_scope`, whose only writes these are.

    The caller's guard is asked first: raises `pipeline.Refused`. What fails leaves the direct scope
    as it was.
    """
    entry = _entry.get()
    if entry is None:
        with transaction.atomic():
            yield
        return
    if entry.loop is not None or entry.groups:
        raise Refused
    wrapper = cast(DatabaseWrapper, connection)
    with transaction.atomic():
        token = _entry.set(None)
        try:
            if not wrapper.begin_by(entry.scope.context(), entry.statement()):
                raise Refused
            yield
        finally:
            wrapper.leave_context(None)
            _entry.reset(token)
    entry.groups = 1


@contextmanager
def public_scope() -> Iterator[None]:
    """Run the block against the public schema, also from within a tenant's transaction.

    Tenant roles may read but not change organizations, projects and keys; services that change
    them leave the tenant's role for as long as this block lasts, in the same transaction.
    """
    with _entered(Context.public(), None, readonly=False):
        yield


@contextmanager
def _entered(context: Context, scope: Scope | None, *, readonly: bool) -> Iterator[None]:
    wrapper = cast(DatabaseWrapper, connection)
    nested = wrapper.in_atomic_block
    with transaction.atomic():
        previous = wrapper.enter_context(context, readonly=readonly and not nested)
        tokens = _active.set(scope), _entry.set(None)
        try:
            if scope is not None and scope.sight:
                _narrow(wrapper, scope.sight)
            yield
        except BaseException:
            wrapper.leave_context(previous)
            raise
        else:
            if nested:
                wrapper.restore_context(previous)
            else:
                wrapper.leave_context(previous)
        finally:
            _active.reset(tokens[0])
            _entry.reset(tokens[1])


def _narrow(wrapper: DatabaseWrapper, sight: Sequence[tuple[str, str]]) -> None:
    """Set what the policies of the narrowed role read; it ends with the transaction."""
    calls = ", ".join(["set_config(%s, %s, true)"] * len(sight))
    wrapper.put_ahead(f"SELECT {calls}", [text for setting in sight for text in setting])


def execute(statements: Sequence[Statement]) -> list[list[Row]]:
    """Run statements in one round trip and return the rows of each (empty for commands).

    Inside `tenant_scope` they are part of its transaction. Inside `direct_scope` they enter the
    tenant themselves and are a transaction of their own; a statement of which `must_hold` says
    that its row has changed then raises Refused, as the guard does. Raises BeyondSight for a write
    that a narrowed scope does not include.
    """
    try:
        return _execute(statements)
    except ProgrammingError as error:
        scope = _active.get()
        denied = isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege)
        if denied and scope is not None and scope.sight:
            raise BeyondSight from error
        raise


def _execute(statements: Sequence[Statement]) -> list[list[Row]]:
    entry = _entry.get()
    if entry is not None and entry.loop is not None:
        return _run_directly(entry.loop, entry, statements)
    wrapper = cast(DatabaseWrapper, connection)
    started = perf_counter()
    if entry is None:
        results = _run_fixed(wrapper, statements)
    else:
        with wrapper.wrap_database_errors:
            session = wrapper.session()
            results = _run_directly(partial(_run_guarded, session), entry, statements)
    if wrapper.queries_logged:  # a group counts as the one round trip that it is
        text = ";\n".join(statement.sql for statement in statements)
        wrapper.queries_log.append({"sql": text, "time": f"{perf_counter() - started:.3f}"})
    return results


def _run_fixed(wrapper: DatabaseWrapper, statements: Sequence[Statement]) -> list[list[Row]]:
    """Run a group in the open transaction; plans are fixed for it alone, where it asks for that."""
    if not any(statement.is_fixed for statement in statements):
        return wrapper.run(statements)
    return wrapper.run([_FIX, *statements, _RELEASE])[1:-1]


def _run_guarded(
    session: Session, statements: Sequence[Statement], guarded: bool
) -> list[list[Row]]:
    return run(session, statements, guarded=guarded)


def _run_directly(
    send: Run, entry: DirectEntry, statements: Sequence[Statement]
) -> list[list[Row]]:
    if entry.groups and not (entry.readonly or entry.repeats):
        raise RuntimeError("a direct_scope writes in one group of statements: use tenant_scope")
    fixed = any(statement.is_fixed for statement in statements)
    group = [entry.statement(fixed=fixed), *statements]
    if entry.companion is not None:
        _accompany(group, entry.companion)
        entry.companion = None
    with _counting(entry):
        return send(group, True)[1 : len(statements) + 1]


def _accompany(group: list[Statement], companion: Statement) -> None:
    """Let the first statement do what its companion does, or put that at the group's end."""
    together = beside(group[1], companion)
    if together is not None:
        group[1] = together
    else:
        group.append(replace(companion, sql=f"WITH {companion.sql} SELECT", prepare=True))


@contextmanager
def _counting(entry: DirectEntry) -> Iterator[None]:
    """Count a group, also when its outcome stays unknown; not one that was refused."""
    counted = 0 if entry.reading else 1
    entry.groups += counted
    try:
        yield
    except Refused:
        entry.groups -= counted
        raise
    except psycopg.Error as error:
        if error.sqlstate != NOT_HELD:
            raise
        entry.groups -= counted  # a statement found its row changed, so all of them are undone
        raise Refused from error


@contextmanager
def only_reading() -> Iterator[None]:
    """Say that the statements of the block only read: what a `direct_scope` writes may follow.

    What was read may have changed when that is written, which the writing statement must see to.
    """
    entry = _entry.get()
    if entry is None:
        yield
        return
    entry.reading = True
    try:
        yield
    finally:
        entry.reading = False


def execute_jointly(joint: Joint) -> list[Row]:
    """Run the statement of a piece of work, and return the rows of all that it was done with.

    In an event loop's thread pieces that wait at the same time share a statement and a commit;
    elsewhere each has its own.
    """
    entry = _entry.get()
    if entry is None or entry.loop is None:
        return execute([joint.build([joint.item])])[0]
    if entry.groups:
        raise RuntimeError("a direct_scope writes in one group of statements: use tenant_scope")
    with _counting(entry):
        return entry.loop.join(entry.statement(), joint)


def is_direct() -> bool:
    """Return whether this is a `direct_scope`, which has no transaction to read in."""
    return _entry.get() is not None


def is_awaited() -> bool:
    """Tell whether the code runs in an event loop's thread, where `execute` gives way."""
    entry = _entry.get()
    return entry is not None and entry.loop is not None


def after_commit(action: Callable[[], object]) -> None:
    """Do something once what is written has committed; what it raises is logged, not raised."""
    entry = _entry.get()
    if entry is not None and entry.loop is not None:
        entry.afterwards.append(action)
    else:
        transaction.on_commit(action, robust=True)


def decline() -> None:
    """Inside `direct_scope` take back a group that wrote nothing, and raise `pipeline.Refused`.

    The request then goes the whole way, where several groups may write. Elsewhere this does
    nothing.
    """
    entry = _entry.get()
    if entry is not None and not entry.readonly:
        entry.groups -= 1
        raise Refused


def active_scope() -> Scope:
    """Return the scope of the enclosing `tenant_scope`; raise NoTenantScope without one."""
    scope = _active.get()
    if scope is None:
        raise NoTenantScope("this needs a tenant: call it inside tenant_scope()")
    return scope


def active_project() -> tuple[str, int]:
    """Return id and number of the scope's project; raise ProjectRequired when it names none."""
    scope = active_scope()
    if scope.project_id is None or scope.project_number is None:
        raise ProjectRequired
    return scope.project_id, scope.project_number
