"""Making, resetting, dropping and migrating tenants by replaying the template's statements."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from django.db import transaction
from django.db.backends.utils import CursorWrapper
from django.db.utils import Error as DatabaseError
from django.db.utils import OperationalError
from psycopg import errors, sql

from healthcloud.errors import Conflict, ServiceUnavailable
from healthcloud.tenancy import roles
from healthcloud.tenancy.backend.base import DatabaseWrapper
from healthcloud.tenancy.models import TenantStatement
from healthcloud.tenancy.owner import owner_connection
from healthcloud.tenancy.template import (
    TEMPLATE_SCHEMA,
    Report,
    create_migration_table,
    migrate_public,
    migrate_template,
)

_LOCK_TIMEOUT: Final = "2s"
_DROP_LOCK_TIMEOUT: Final = "5s"
_ATTEMPTS: Final = 5


class Tenant(Protocol):
    """What provisioning needs to know of an environment."""

    schema_name: str


class TenancyNotReady(ServiceUnavailable):
    """The database has no template yet: `manage.py migrate_tenants` was never run on it."""


class TenantInUse(Conflict):
    """Requests or work in the tenant hold its tables, and did not end within five seconds."""

    def __init__(self) -> None:
        super().__init__("The sandbox is in use; try again.")


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """What became of one tenant in `migrate_tenants`; `error` is empty when it went well."""

    schema: str
    statements: int
    error: str = ""


def create_tenant(environment: Tenant) -> None:
    """Create the environment's schema, tables, role and policies, all or nothing.

    Runs on the owner's connection in a transaction of its own, in well under a second. Raises
    TenancyNotReady when the template has not been migrated.
    """
    with owner_connection() as owner, transaction.atomic():
        _create(owner, environment.schema_name)


def drop_tenant(environment: Tenant) -> None:
    """Drop the environment's schema with all its data, and its role; safe to repeat.

    Raises TenantInUse when others hold its tables for more than five seconds.
    """
    with _dropping() as owner:
        _drop(owner, environment.schema_name)


def reset_tenant(environment: Tenant) -> None:
    """Empty the environment: drop its schema and create it anew in one transaction.

    Raises TenantInUse when others hold its tables for more than five seconds.
    """
    with _dropping() as owner:
        _drop(owner, environment.schema_name)
        _create(owner, environment.schema_name)


def prepare(*, report: Report) -> None:
    """Bring roles, public schema and template up to date; tenants are migrated apart."""
    with owner_connection() as owner:
        roles.prepare_database(owner)
        migrate_public(owner, report=report)
        recorded = migrate_template(owner, report=report)
        roles.grant_public(owner)
        report(f"template: {recorded} new statements recorded")


def migrate_tenants(
    schemas: Iterable[str], *, report: Report, parallel: int = 4
) -> list[MigrationResult]:
    """Replay in each tenant what it misses; a tenant that fails does not stop the others."""
    with owner_connection() as owner:
        behind = [schema for schema in schemas if _missing(owner, schema)]
    results: list[MigrationResult] = []
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        for done, result in enumerate(pool.map(_migrate_tenant, behind), start=1):
            outcome = result.error or f"{result.statements} statements"
            report(f"[{done}/{len(behind)}] {result.schema}: {outcome}")
            results.append(result)
    return results


def _create(owner: DatabaseWrapper, schema: str) -> None:
    script = list(TenantStatement.objects.order_by("id").values_list("sql", flat=True))
    if not script:
        raise TenancyNotReady("The database has no tenant template: run manage.py migrate_tenants.")
    with owner.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        create_migration_table(cursor, schema)
        _replay(cursor, schema, script)
        cursor.execute(
            sql.SQL(
                "INSERT INTO {}.django_migrations (app, name, applied)"
                " SELECT app, name, now() FROM {}.django_migrations ORDER BY id"
            ).format(sql.Identifier(schema), sql.Identifier(TEMPLATE_SCHEMA))
        )
    roles.create_tenant_role(owner, schema)
    roles.grant_tenant(owner, schema)


@contextmanager
def _dropping() -> Iterator[DatabaseWrapper]:
    """Yield the owner's connection in a transaction that does not wait for locks for long.

    Whoever waits for a table's exclusive lock makes everyone after it wait too.
    """
    try:
        with owner_connection() as owner, transaction.atomic():
            with owner.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [_DROP_LOCK_TIMEOUT])
            yield owner
    except OperationalError as error:
        cause = error.__cause__
        if isinstance(cause, errors.LockNotAvailable | errors.DeadlockDetected):
            raise TenantInUse from error
        raise


def _drop(owner: DatabaseWrapper, schema: str) -> None:
    with owner.cursor() as cursor:
        cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
    roles.drop_tenant_role(owner, schema)


def _replay(cursor: CursorWrapper, schema: str, script: list[str]) -> None:
    """Run the statements as one message with the tenant's schema first in the path."""
    path = sql.SQL("SET LOCAL search_path = {}, public").format(sql.Identifier(schema))
    cursor.execute(path)
    cursor.execute(";\n".join(script))
    cursor.execute("SET LOCAL search_path = public")


def _missing(owner: DatabaseWrapper, schema: str) -> list[tuple[str, str]]:
    with owner.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "SELECT t.app, t.name FROM {}.django_migrations t WHERE NOT EXISTS (SELECT 1"
                " FROM {}.django_migrations m WHERE m.app = t.app AND m.name = t.name)"
                " ORDER BY t.id"
            ).format(sql.Identifier(TEMPLATE_SCHEMA), sql.Identifier(schema))
        )
        return [(app, name) for app, name in cursor.fetchall()]


def _migrate_tenant(schema: str) -> MigrationResult:
    error = ""
    for _ in range(_ATTEMPTS):
        try:
            with owner_connection() as owner, transaction.atomic():
                return MigrationResult(schema, _catch_up(owner, schema))
        except DatabaseError as failure:
            error = str(failure).strip()
            if "lock timeout" not in error:
                break
    return MigrationResult(schema, 0, error)


def _catch_up(owner: DatabaseWrapper, schema: str) -> int:
    with owner.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"migrate:{schema}"])
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [_LOCK_TIMEOUT])
        missing = _missing(owner, schema)
        script: list[str] = []
        for app, name in missing:
            statements = TenantStatement.objects.filter(app=app, migration=name).order_by("id")
            script += statements.values_list("sql", flat=True)
        if script:
            _replay(cursor, schema, script)
        table = sql.Identifier(schema, "django_migrations")
        for app, name in missing:
            cursor.execute(
                sql.SQL("INSERT INTO {} (app, name, applied) VALUES (%s, %s, now())").format(table),
                [app, name],
            )
    roles.grant_tenant(owner, schema)
    return len(script)
