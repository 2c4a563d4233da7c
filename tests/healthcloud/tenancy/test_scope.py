"""tenant_scope: one transaction, one tenant, one project."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings as configuration
from django.db import connection, transaction
from django.db.utils import ProgrammingError

from healthcloud.tenancy.backend.base import TenantOutsideTransaction
from healthcloud.tenancy.scope import (
    NoTenantScope,
    ProjectRequired,
    Scope,
    active_project,
    active_scope,
    public_scope,
    tenant_scope,
)

LOGIN = configuration.DATABASE_APPLICATION["USER"]
SETTINGS = (
    "SELECT current_schema(), current_user, current_setting('hc.project', true),"
    " current_setting('hc.project_number', true)"
)


def settings() -> tuple[str, ...]:
    with connection.cursor() as cursor:
        cursor.execute(SETTINGS)
        return cursor.fetchone()


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@contextmanager
def denied() -> Iterator[None]:
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        yield


def test_it_sets_schema_role_and_project(riverside_scope: Scope) -> None:
    with tenant_scope(riverside_scope):
        assert settings() == (
            riverside_scope.schema,
            riverside_scope.schema,
            "proj_riverside_screening",
            str(riverside_scope.project_number),
        )


def test_it_returns_to_the_public_schema(riverside_scope: Scope) -> None:
    with tenant_scope(riverside_scope):
        pass
    assert settings()[:2] == ("public", LOGIN)


def test_a_nested_scope_gives_the_outer_one_back(
    riverside_scope: Scope, lakeside_scope: Scope
) -> None:
    with tenant_scope(riverside_scope):
        with tenant_scope(lakeside_scope):
            assert settings()[0] == lakeside_scope.schema
            assert active_scope() == lakeside_scope
        assert settings()[0] == riverside_scope.schema
        assert active_scope() == riverside_scope


def test_an_error_in_a_nested_scope_gives_the_outer_one_back(
    riverside_scope: Scope, lakeside_scope: Scope
) -> None:
    with tenant_scope(riverside_scope):
        with pytest.raises(ProgrammingError), tenant_scope(lakeside_scope):
            run("SELECT * FROM nothing_of_that_name")
        assert settings()[0] == riverside_scope.schema


def test_public_scope_leaves_the_tenants_role_and_returns(riverside_scope: Scope) -> None:
    with tenant_scope(riverside_scope):
        with public_scope():
            assert settings()[:2] == ("public", LOGIN)
            with pytest.raises(NoTenantScope):
                active_scope()
        assert settings()[:2] == (riverside_scope.schema, riverside_scope.schema)


def test_another_tenants_table_is_out_of_reach(
    riverside_scope: Scope, lakeside_scope: Scope
) -> None:
    with tenant_scope(riverside_scope), denied():
        run(f'SELECT 1 FROM "{lakeside_scope.schema}".django_migrations')


def test_the_login_role_reaches_no_tenant(riverside_scope: Scope) -> None:
    with denied():
        run(f'SELECT 1 FROM "{riverside_scope.schema}".django_migrations')


def test_a_tenant_cannot_change_public_rows(riverside_scope: Scope) -> None:
    with tenant_scope(riverside_scope), denied():
        run("UPDATE organizations_organization SET name = 'x'")


def test_set_tenant_is_refused(riverside_scope: Scope) -> None:
    from healthcloud.organizations.models import Environment

    environment = Environment.objects.get(id="env_riverside_sandbox")
    connection.set_tenant(environment)
    try:
        with pytest.raises(TenantOutsideTransaction):
            connection.cursor()
    finally:
        connection.set_schema_to_public()


def test_a_scope_without_project_names_none(riverside_wide_scope: Scope) -> None:
    with tenant_scope(riverside_wide_scope):
        assert settings()[2:] == ("*", "0")
        with pytest.raises(ProjectRequired, match="HealthCloud-Project"):
            active_project()


def test_there_is_no_scope_outside() -> None:
    with pytest.raises(NoTenantScope):
        active_scope()
