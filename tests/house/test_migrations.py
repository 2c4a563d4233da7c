"""Models, migrations and the walls around tenant tables agree."""

from io import StringIO

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import RunPython

from healthcloud.tenancy.models import ProjectScoped
from healthcloud.tenancy.scope import Scope

TENANT_CONFIGS = [
    config for config in apps.get_app_configs() if config.name in settings.TENANT_APPS
]


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    output = StringIO()
    try:
        call_command("makemigrations", check=True, dry_run=True, stdout=output, stderr=output)
    except SystemExit:
        pytest.fail(output.getvalue())


def test_tenant_migrations_are_statements_only() -> None:
    """They are replayed as SQL in every tenant, where Python code would not run."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    labels = {config.label for config in TENANT_CONFIGS}
    python = [
        f"{app}.{name}"
        for (app, name), migration in loader.disk_migrations.items()
        if app in labels and any(isinstance(step, RunPython) for step in migration.operations)
    ]
    assert python == []


def isolated_tables(schema: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_policies WHERE schemaname = %s", [schema])
        return {row[0] for row in cursor.fetchall()}


def test_every_table_of_a_project_is_isolated(riverside_scope: Scope) -> None:
    scoped = {
        model._meta.db_table
        for config in TENANT_CONFIGS
        for model in config.get_models()
        if issubclass(model, ProjectScoped)
    }
    assert scoped
    assert scoped - isolated_tables(riverside_scope.schema) == set()


def test_every_table_with_a_project_column_is_isolated(riverside_scope: Scope) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE c.relkind IN ('r', 'p') AND a.attname IN ('project_id', 'project')"
            " AND c.relnamespace = to_regnamespace(quote_ident(%s))",
            [riverside_scope.schema],
        )
        tables = {row[0] for row in cursor.fetchall()}
    assert tables
    assert tables - isolated_tables(riverside_scope.schema) == set()


def test_no_tenant_model_points_out_of_its_schema() -> None:
    shared = {c.label for c in apps.get_app_configs() if c.name in settings.SHARED_APPS}
    crossing = [
        f"{model.__name__}.{field.name}"
        for config in TENANT_CONFIGS
        for model in config.get_models()
        for field in model._meta.get_fields()
        if field.is_relation
        and field.related_model is not None
        and field.related_model._meta.app_label in shared
    ]
    assert crossing == []
