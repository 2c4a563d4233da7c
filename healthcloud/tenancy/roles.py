"""PostgreSQL roles: the application's login, the group of tenants, and two roles per tenant.

The application logs in as a role without inheritance: until a transaction takes a tenant's role
it can reach the public schema only. Every tenant's role may use its own schema, read the public
tables listed in `settings.TENANT_READABLE_TABLES` and write those of the due-work ledger.
Its narrowed role inherits all of that; restrictive policies are written for the group of narrowed
roles, so that they cost nothing to whoever is not narrowed.
"""

import contextlib

from django.apps import apps
from django.conf import settings
from django.db.utils import IntegrityError, InternalError, ProgrammingError
from psycopg import sql

from healthcloud.tenancy.backend.base import DatabaseWrapper
from healthcloud.tenancy.context import narrowed_role
from healthcloud.tenancy.operations import APPEND_ONLY_COMMENT

_ARRAY_OPERATORS = ("arrayoverlap", "arraycontains", "arraycontained")
_ATTEMPTS = 20


def _run(owner: DatabaseWrapper, statement: str, **names: sql.Composable) -> None:
    with owner.cursor() as cursor:
        cursor.execute(sql.SQL(statement).format(**names))


def _run_shared(owner: DatabaseWrapper, statement: str, **names: sql.Composable) -> None:
    """Change a row that all databases of the server share, again when another changes it.

    Advisory locks end at the database: of two databases prepared at once, PostgreSQL refuses the
    later change with "tuple concurrently updated", after the first has committed.
    """
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(InternalError):
            return _run(owner, statement, **names)
    return _run(owner, statement, **names)


def _create_role(owner: DatabaseWrapper, role: str, options: str) -> None:
    """Create the role unless it is there, also when another database creates it meanwhile."""
    if _role_exists(owner, role):
        return
    try:
        _run(owner, f"CREATE ROLE {{role}} {options}", role=sql.Identifier(role))
    except (IntegrityError, ProgrammingError):
        if not _role_exists(owner, role):
            raise


def _role_exists(owner: DatabaseWrapper, role: str) -> bool:
    with owner.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
        return cursor.fetchone() is not None


def prepare_database(owner: DatabaseWrapper) -> None:
    """Create the application's login, the tenants' group and the extensions; safe to repeat."""
    login, password = (
        settings.DATABASE_APPLICATION["USER"],
        settings.DATABASE_APPLICATION["PASSWORD"],
    )
    with owner.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('healthcloud.roles'))")
    try:
        for role, options in (
            (login, "LOGIN NOINHERIT"),
            (settings.TENANT_GROUP_ROLE, "NOLOGIN"),
            (settings.NARROWED_GROUP_ROLE, "NOLOGIN"),
        ):
            _create_role(owner, role, options)
        if login != settings.DATABASE_OWNER["USER"]:
            _run_shared(
                owner,
                "ALTER ROLE {role} PASSWORD {password}",
                role=sql.Identifier(login),
                password=sql.Literal(password),
            )
        for extension in ("pg_trgm", "btree_gin", "unaccent"):
            _run(
                owner,
                "CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA public",
                name=sql.Identifier(extension),
            )
        _mark_array_operators_leakproof(owner)
    finally:
        with owner.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtext('healthcloud.roles'))")


def _mark_array_operators_leakproof(owner: DatabaseWrapper) -> None:
    """Let row-level security use GIN indexes over token arrays; needs a superuser once.

    Comparing two bigint arrays reveals nothing through errors, which is what the mark promises.
    Where the owner may not set it, searches are right but slower; operations.md says so.
    """
    with contextlib.suppress(ProgrammingError):
        for name in _ARRAY_OPERATORS:
            _run(
                owner,
                "ALTER FUNCTION pg_catalog.{name}(anyarray, anyarray) LEAKPROOF",
                name=sql.Identifier(name),
            )


def grant_public(owner: DatabaseWrapper) -> None:
    """Grant the public tables to the application, and the readable ones to tenants."""
    names = {
        "login": sql.Identifier(settings.DATABASE_APPLICATION["USER"]),
        "group": sql.Identifier(settings.TENANT_GROUP_ROLE),
    }
    _run(owner, "GRANT USAGE ON SCHEMA public TO {login}, {group}", **names)
    _run(
        owner,
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {login}",
        **names,
    )
    _run(owner, "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {login}", **names)
    for label in settings.TENANT_READABLE_TABLES:
        table = sql.Identifier("public", apps.get_model(label)._meta.db_table)
        _run(owner, "GRANT SELECT ON {table} TO {group}", table=table, **names)
    for label, columns in settings.TENANT_READABLE_COLUMNS.items():
        table = sql.Identifier("public", apps.get_model(label)._meta.db_table)
        listed = sql.SQL(", ").join(map(sql.Identifier, columns))
        _run(owner, "REVOKE SELECT ON {table} FROM {group}", table=table, **names)
        _run(
            owner,
            "GRANT SELECT ({columns}) ON {table} TO {group}",
            table=table,
            columns=listed,
            **names,
        )
    for label in settings.TENANT_WRITABLE_TABLES:
        table = sql.Identifier("public", apps.get_model(label)._meta.db_table)
        _run(
            owner,
            "GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {group}",
            table=table,
            **names,
        )
    _run(owner, "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {group}", **names)


def create_tenant_role(owner: DatabaseWrapper, schema: str) -> None:
    """Create the role of a tenant, which the application may take and nobody can log in with."""
    names = {
        "role": sql.Identifier(schema),
        "group": sql.Identifier(settings.TENANT_GROUP_ROLE),
        "login": sql.Identifier(settings.DATABASE_APPLICATION["USER"]),
    }
    _run(owner, "CREATE ROLE {role} NOLOGIN", **names)
    _run(owner, "GRANT {group} TO {role}", **names)
    _run(owner, "GRANT {role} TO {login}", **names)


def _create_narrowed_role(owner: DatabaseWrapper, schema: str) -> None:
    """Create the tenant's narrowed role, which may what its role may, unless it is there."""
    role = narrowed_role(schema)
    if _role_exists(owner, role):
        return
    names = {
        "role": sql.Identifier(role),
        "tenant": sql.Identifier(schema),
        "group": sql.Identifier(settings.NARROWED_GROUP_ROLE),
        "login": sql.Identifier(settings.DATABASE_APPLICATION["USER"]),
    }
    _run(owner, "CREATE ROLE {role} NOLOGIN", **names)
    _run(owner, "GRANT {tenant}, {group} TO {role}", **names)
    _run(owner, "GRANT {role} TO {login}", **names)


def grant_tenant(owner: DatabaseWrapper, schema: str) -> None:
    """Grant a tenant's tables to its roles; append-only tables take inserts only."""
    _create_narrowed_role(owner, schema)
    names = {"schema": sql.Identifier(schema), "role": sql.Identifier(schema)}
    _run(owner, "GRANT USAGE ON SCHEMA {schema} TO {role}", **names)
    _run(
        owner,
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
        **names,
    )
    _run(owner, "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}", **names)
    with owner.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_description d ON d.objoid = c.oid"
            " AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0"
            " WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND d.description = %s",
            [schema, APPEND_ONLY_COMMENT],
        )
        tables = [row[0] for row in cursor.fetchall()]
    for table in tables:
        _run(
            owner,
            "REVOKE UPDATE, DELETE ON {table} FROM {role}",
            table=sql.Identifier(schema, table),
            **names,
        )


def drop_tenant_role(owner: DatabaseWrapper, schema: str) -> None:
    """Drop the roles of a tenant whose schema is gone."""
    for role in (narrowed_role(schema), schema):
        if _role_exists(owner, role):
            _run(owner, "DROP OWNED BY {role}", role=sql.Identifier(role))
            _run(owner, "DROP ROLE {role}", role=sql.Identifier(role))
