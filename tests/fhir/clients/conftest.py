"""The platform as it is served, on loopback, for client libraries that know nothing of ours."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey
from healthcloud.runtime.ports import free_port
from healthcloud.tenancy.scope import Scope
from tests.healthcloud.conftest import live_scope, live_tenant
from tests.journeys.conftest import ROOT, process, wait_for

__all__ = ["live_scope", "live_tenant"]


@dataclass(frozen=True)
class Served:
    """Where the FHIR root is, and the header to send."""

    url: str
    authorization: str


@pytest.fixture(scope="module")
def web(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """A web process on the session's database."""
    owner, port = settings.DATABASE_OWNER, free_port()
    login = f"{quote(owner['USER'])}:{quote(owner['PASSWORD'])}"
    address = f"http://127.0.0.1:{port}"
    environment = os.environ | {
        "DATABASE_URL": f"postgresql://{login}@{owner['HOST']}:{owner['PORT']}/{owner['NAME']}",
        "VALKEY_URL": settings.VALKEY_URL,
        "DJANGO_SETTINGS_MODULE": "healthcloud.settings",
        "HEALTHCLOUD_BASE_URL": address,
        "HEALTHCLOUD_HOME": str(tmp_path_factory.mktemp("home")),
        "PYTHONPATH": str(ROOT),
    }
    with django_db_blocker.unblock():
        connection.close()
    server = ("-m", "uvicorn", "healthcloud.asgi:application", "--port", str(port))
    with process(*server, environment=environment):
        wait_for(f"{address}/livez")
        yield address


@pytest.fixture
def served(web: str, live_tenant: Scope) -> Served:
    """The FHIR root, with a key of the live tenant."""
    secret = keys.generate("sandbox")
    ApiKey.objects.create(
        organization_id=live_tenant.organization_id,
        environment_id=live_tenant.environment_id,
        project_id=live_tenant.project_id,
        name="client",
        prefix=secret.prefix,
        last4=secret.last4,
        digest=secret.digest,
        scopes=["fhir:read", "fhir:write"],
        created_by_id="usr_alice",
    )
    return Served(f"{web}/v1/fhir", f"Bearer {secret.text}")
