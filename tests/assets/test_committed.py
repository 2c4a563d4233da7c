"""With transactions that really commit: no transaction is open while a vendor is called."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from assets import calls, services
from assets.models import AgentRun, Deployment, Receipt
from assets.runtime.http import HttpHandle
from fhir import store
from healthcloud.actors import SYSTEM
from healthcloud.events.models import Event
from healthcloud.ledger.worker import drain
from healthcloud.organizations.models import Environment, Organization, Project
from healthcloud.tenancy.provisioning import create_tenant, drop_tenant
from healthcloud.tenancy.scope import Scope, tenant_scope

QUEUES = ("control", "agents")
PATIENT = {
    "resourceType": "Patient",
    "id": "pat_jane",
    "identifier": [{"value": "MRN-100"}],
    "name": [{"family": "Doe", "given": ["Jane"]}],
    "birthDate": "1970-02-14",
}


@pytest.fixture
def live(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Scope]:
    """A tenant of its own whose transactions commit, dropped with all it holds."""
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
            environment.delete()
            project.delete()
            organization.delete()
            connection.close()


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every vendor call of the test; each must happen outside transactions."""
    seen: list[str] = []
    request = HttpHandle.request

    def watched(self: HttpHandle, method: str, url: str, **rest: Any) -> Any:
        assert not connection.in_atomic_block
        seen.append(url.rsplit("/", 1)[-1])
        return request(self, method, url, **rest)

    monkeypatch.setattr(HttpHandle, "request", watched)
    return seen


def test_deploy_retrieve_screen_and_acknowledge(
    live: Scope,
    simulator_url: str,
    settings: Any,
    outside: list[str],
    quest_account: Callable[[str], Any],
) -> None:
    settings.SIMULATOR_URL = simulator_url
    quest = quest_account(f"sandbox-{live.project_id}")
    with tenant_scope(live):
        act: dict[str, Any] = {"actor": SYSTEM, "now": timezone.now()}
        store.create(resource=PATIENT, resource_type="Patient", id="pat_jane", **act)
        for asset_id in ("quest_diagnostics", "agent_diagnostic_v1"):
            services.install(asset_id=asset_id, **act)
        services.deploy(asset_id="quest_diagnostics", **act)
    drain(QUEUES, limit=20)
    with tenant_scope(live):
        services.deploy(asset_id="agent_diagnostic_v1", **act)
    drain(QUEUES, limit=20)
    with tenant_scope(live):
        assert set(Deployment.objects.values_list("status", flat=True)) == {"active"}
    control_id = quest.add(
        patient={
            "mrn": "MRN-100",
            "family": "DOE",
            "given": "JANE",
            "birth_date": "1970-02-14",
        }
    )
    run = calls.run_agent(
        scope=live,
        agent="diagnostic",
        input={"patient_id": "pat_jane"},
        actor=SYSTEM,
        now=timezone.now(),
        idempotency_key="one",
    )
    assert run.status == "succeeded", run.error
    assert quest.state()["acknowledged"] == []
    drain(QUEUES, limit=20)
    assert quest.state()["acknowledged"] == [control_id]
    assert outside.count("acknowledgeResults") == 1
    again = calls.run_agent(
        scope=live,
        agent="diagnostic",
        input={"patient_id": "pat_jane"},
        actor=SYSTEM,
        now=timezone.now(),
        idempotency_key="one",
    )
    assert again.id == run.id
    with tenant_scope(live):
        assert AgentRun.objects.count() == 1
        assert Receipt.objects.get().status == "done"
        assert Event.objects.filter(type="diagnostic.result_ready").count() == 1
