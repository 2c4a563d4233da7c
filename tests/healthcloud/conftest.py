"""Clients of the REST API: one per key or person."""

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from healthcloud.api.principal import ALL_SCOPES
from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey


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
