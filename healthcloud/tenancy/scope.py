"""`tenant_scope`: the only way into a tenant's schema, and our one context local."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import cast

from django.db import connection, transaction

from healthcloud.errors import BadRequest
from healthcloud.tenancy.backend.base import DatabaseWrapper
from healthcloud.tenancy.context import ALL_PROJECT_NUMBERS, ALL_PROJECTS, Context


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


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose data a piece of work may touch: an organization's environment, and a project in it.

    `schema` is the tenant's PostgreSQL schema and role. Without a project (`None`) rows of all
    projects of the organization can be read; writes ask for one through `active_project`.
    """

    organization_id: str
    environment_id: str
    environment: str
    schema: str
    project_id: str | None = None
    project_number: int | None = None

    def metadata(self) -> dict[str, str | None]:
        """Return the members that every answer carries."""
        return {
            "organization_id": self.organization_id,
            "project_id": self.project_id,
            "environment": self.environment,
        }

    def in_project(self, project_id: str, project_number: int) -> "Scope":
        """Return the same tenant narrowed to one project."""
        return replace(self, project_id=project_id, project_number=project_number)

    def context(self) -> Context:
        """Return the settings that hold this scope in the database."""
        number = ALL_PROJECT_NUMBERS if self.project_number is None else self.project_number
        return Context(
            schema=self.schema,
            role=self.schema,
            project=self.project_id or ALL_PROJECTS,
            project_number=number,
            environment=self.environment,
        )


_active: ContextVar[Scope | None] = ContextVar("tenant_scope", default=None)


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
        token = _active.set(scope)
        try:
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
            _active.reset(token)


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
