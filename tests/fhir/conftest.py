"""Clients of the FHIR API, one per key, and the shared test material where the folder is there."""

import json
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey

ClientFor = Callable[..., APIClient]
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@cache
def read_archive(name: str) -> dict[str, Any]:
    """Answer {file name: parsed JSON} of an archive; skip the test where it is missing."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"../shared/data/{name} is not here: this test needs the shared corpora")
    found: dict[str, Any] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(".json") else None
            if content is not None:
                found[Path(member.name).name] = _parse(content.read())
    return found


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


@pytest.fixture(scope="session")
def official_examples() -> dict[str, Any]:
    """The official R4 examples of 675 clinical resources."""
    return read_archive("r4-examples-675.tar.xz")


@pytest.fixture(scope="session")
def validator_cases() -> dict[str, Any]:
    """97 R4 resources, with what HL7's validator says of each in `manifest.json`."""
    return read_archive("validator-cases-r4-base.tar.xz")


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
