"""Clients of the REST API: one per key or person."""

import secrets
from collections.abc import Callable, Iterator

import pytest
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker
from rest_framework.test import APIClient

from healthcloud.api.principal import ALL_SCOPES
from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey, Environment, Organization, Project
from healthcloud.tenancy.provisioning import create_tenant, drop_tenant
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


@pytest.fixture
def live_tenant(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Scope]:
    """A tenant of its own whose transactions really commit, dropped with all it holds.

    For tests whose subject is transactions, threads or processes.
    """
    name = secrets.token_hex(4)
    with django_db_blocker.unblock():
        organization = Organization.objects.create(id=f"org_{name}", name=name, slug=name)
        environment = Environment.objects.create(
            id=f"env_{name}", organization=organization, kind="sandbox", status="active"
        )
        project = Project.objects.create(
            id=f"proj_{name}", organization=organization, name="Live", slug="live"
        )
        create_tenant(environment)
        try:
            yield environment.scope(project)
        finally:
            drop_tenant(environment)
            with connection.cursor() as cursor:
                cursor.execute(
                    "DELETE FROM ledger_duework WHERE environment_id = %s", [f"env_{name}"]
                )
            organization.api_keys.all().delete()
            environment.delete()
            project.delete()
            organization.delete()
            connection.close()
