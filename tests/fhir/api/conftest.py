"""Clients of the FHIR API: one per key."""

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey

ClientFor = Callable[..., APIClient]


@pytest.fixture
def client_for(db: None) -> ClientFor:
    """Return a client with a new key of an organization; reads and writes FHIR unless told."""

    def make(
        organization: str = "riverside",
        *,
        environment: str = "sandbox",
        project: str | None = "screening",
        scopes: tuple[str, ...] = ("fhir:read", "fhir:write"),
    ) -> APIClient:
        secret = keys.generate(environment)
        ApiKey.objects.create(
            organization_id=f"org_{organization}",
            environment_id=f"env_{organization}_{environment}",
            project_id=project and f"proj_{organization}_{project}",
            name="test",
            prefix=secret.prefix,
            last4=secret.last4,
            digest=secret.digest,
            scopes=list(scopes),
            created_by_id="usr_alice",
        )
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret.text}")
        return client

    return make


@pytest.fixture
def alice_client(client_for: ClientFor) -> APIClient:
    """Alice's client: Riverside, sandbox, project screening."""
    return client_for()


@pytest.fixture
def charlie_client(client_for: ClientFor) -> APIClient:
    """Charlie's client: Lakeside, sandbox, project screening."""
    return client_for("lakeside")
