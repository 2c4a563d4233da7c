"""The simulator process, clients with API keys, and patients."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from assets.runtime import tokens
from healthcloud.actors import Actor
from healthcloud.api.principal import ALL_SCOPES
from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.assets.authorization import Payer

ROOT = Path(__file__).resolve().parents[2]
RUN = (
    "from assets.simulators.server import serve; s = serve(0);"
    "print(s.server_port, flush=True); s.serve_forever()"
)


@pytest.fixture(scope="session")
def simulator_url() -> Iterator[str]:
    """The address of a simulator process of this session."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    process.terminate()
    process.wait(10)
    process.stdout.close()


@pytest.fixture(autouse=True)
def fresh_tokens() -> Iterator[None]:
    """Forget the tokens of earlier tests."""
    tokens._local.clear()
    yield
    tokens._local.clear()


@pytest.fixture
def quest(simulator_url: str, settings: Any, riverside_scope: Scope) -> "Quest":
    """Alice's account at the Quest simulator, which the sandbox talks to."""
    settings.SIMULATOR_URL = simulator_url
    account = Quest(simulator_url, f"sandbox-{riverside_scope.project_id}")
    account.reset()
    cache.clear()
    return account


@pytest.fixture
def payer(simulator_url: str, settings: Any, riverside_scope: Scope) -> Payer:
    """Alice's account at the payer simulator, which the sandbox talks to."""
    settings.SIMULATOR_URL = simulator_url
    account = Payer(simulator_url, f"sandbox-{riverside_scope.project_id}")
    account.post("reset")
    cache.clear()
    return account


@pytest.fixture
def quest_account(simulator_url: str) -> Callable[[str], "Quest"]:
    """Return the account of a client id at the Quest simulator."""
    return lambda client_id: Quest(simulator_url, client_id)


class Quest:
    """The hooks of the Quest simulator for one client."""

    def __init__(self, url: str, client_id: str) -> None:
        self.url, self.client_id = url, client_id

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """POST to a hook."""
        data = {"client_id": self.client_id, "client_secret": "sandbox-secret", **body}
        request = urllib.request.Request(
            f"{self.url}/quest/_sandbox/{path}",
            data=json.dumps(data).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def add(self, **body: Any) -> str:
        """Let a result wait; return its control id."""
        return self.post("results", **body)["controlId"]

    def fail(self, operation: str, fault: str, times: int = 1) -> None:
        """Plan a fault."""
        self.post("faults", operation=operation, fault=fault, times=times)

    def state(self) -> dict[str, Any]:
        """Return what the hub knows."""
        return self.post("state")

    def reset(self) -> None:
        """Start with an empty account."""
        self.post("reset")


@pytest.fixture
def jane(riverside_scope: Scope, alice_actor: Actor, now: Any) -> str:
    """Jane Doe in Alice's project; her reference."""
    from fhir import store

    patient = {
        "resourceType": "Patient",
        "id": "pat_jane",
        "identifier": [{"system": "https://riverside.example/mrn", "value": "MRN-100"}],
        "name": [{"family": "Doe", "given": ["Jane", "A"]}],
        "birthDate": "1970-02-14",
        "gender": "female",
    }
    with tenant_scope(riverside_scope):
        stored = store.create(
            resource=patient, resource_type="Patient", actor=alice_actor, now=now, id="pat_jane"
        )
    return stored.reference


@pytest.fixture
def client_for(db: None) -> Callable[..., APIClient]:
    """Return a client with a new key of an organization, all scopes unless told otherwise."""

    def make(
        organization: str,
        *,
        environment: str = "sandbox",
        project: str | None = "screening",
        scopes: list[str] | None = None,
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
            scopes=list(ALL_SCOPES) if scopes is None else scopes,
            created_by_id="usr_alice",
        )
        client = APIClient(raise_request_exception=False)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret.text}")
        return client

    return make


@pytest.fixture
def alice_client(client_for: Callable[..., APIClient]) -> APIClient:
    """Alice with a sandbox key of her project."""
    return client_for("riverside")


@pytest.fixture
def charlie_client(client_for: Callable[..., APIClient]) -> APIClient:
    """Charlie with a sandbox key of his."""
    return client_for("lakeside")
