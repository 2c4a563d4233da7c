"""Clients of the REST API: one per key or person."""

from collections.abc import Callable, Iterator

import pytest
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker
from rest_framework.test import APIClient

from healthcloud.api.principal import ALL_SCOPES
from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey, Environment, Organization, Project
from healthcloud.tenancy import scope
from healthcloud.tenancy.owner import owner_connection
from healthcloud.tenancy.provisioning import create_tenant
from healthcloud.tenancy.scope import Scope


@pytest.fixture
def client_for(db: None) -> Callable[..., APIClient]:
    """Return a client with a new key of an organization, all scopes unless told otherwise."""

    def make(
        organization: str,
        *,
        environment: str = "sandbox",
        project: str | None = None,
        scopes: list[str] | None = None,
        **fields: object,
    ) -> APIClient:
        secret = keys.generate(environment)
        key = ApiKey.objects.create(
            organization_id=f"org_{organization}",
            environment_id=f"env_{organization}_{environment}",
            project_id=project and f"proj_{organization}_{project}",
            name="test",
            prefix=secret.prefix,
            last4=secret.last4,
            digest=secret.digest,
            scopes=list(ALL_SCOPES) if scopes is None else scopes,
            created_by_id="usr_alice",
            **fields,
        )
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret.text}")
        client.key = key
        client.secret = secret.text
        return client

    return make


# Empties what a test has filled, as the owner: much faster than dropping and making a schema.
_EMPTY = """
DO $$ DECLARE relation regclass; filled boolean; BEGIN
    FOR relation IN SELECT oid FROM pg_class
        WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'r'
          AND relname <> 'django_migrations' LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s)', relation) INTO filled;
        IF filled THEN
            EXECUTE format('TRUNCATE %s RESTART IDENTITY CASCADE', relation);
        END IF;
    END LOOP;
END $$
"""


@pytest.fixture(scope="session")
def live_scope(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Scope:
    """A fifth tenant, made when the first test asks for it; gone with the session's database."""
    with django_db_blocker.unblock():
        made = Environment.objects.filter(id="env_live").first()
        if made is not None:  # by another room's conftest that imports this fixture
            return made.scope(Project.objects.get(id="proj_live"))
        organization = Organization.objects.create(id="org_live", name="Live", slug="live")
        environment = Environment.objects.create(
            id="env_live", organization=organization, kind="sandbox", status="active"
        )
        project = Project.objects.create(
            id="proj_live", organization=organization, name="Live", slug="live"
        )
        create_tenant(environment)
        connection.close()
        return environment.scope(project)


def _abandon() -> None:
    """Leave whatever scope and transaction a test that failed may have left open.

    Else the schema could not be emptied, and every later test would begin inside of them.
    """
    connection.in_atomic_block = False  # else closing keeps what is broken
    connection.close()
    scope._active.set(None)
    scope._entry.set(None)


@pytest.fixture
def live_tenant(live_scope: Scope, django_db_blocker: DjangoDbBlocker) -> Iterator[Scope]:
    """A tenant whose transactions really commit, emptied after each test.

    For tests whose subject is transactions, threads or processes. The ledger is empty when they
    begin: a worker of theirs must not do what tests of other modules committed and left.
    """
    with django_db_blocker.unblock():
        with owner_connection() as owner, owner.cursor() as cursor:
            cursor.execute("DELETE FROM ledger_duework")
        try:
            yield live_scope
        finally:
            _abandon()
            with owner_connection() as owner, owner.cursor() as cursor:
                cursor.execute("SET lock_timeout = '20s'")
                cursor.execute(_EMPTY.format(schema=live_scope.schema))
                for table in ("ledger_duework", "organizations_apikey"):
                    cursor.execute(
                        f"DELETE FROM {table} WHERE environment_id = %s",
                        [live_scope.environment_id],
                    )
            connection.close()
