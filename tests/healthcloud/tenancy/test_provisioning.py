"""Tenants are dropped and reset at once or not at all, and nobody waits behind it for long."""

from collections.abc import Callable

import pytest

from healthcloud.organizations.models import Environment
from healthcloud.tenancy import provisioning
from healthcloud.tenancy.owner import owner_connection
from healthcloud.tenancy.provisioning import TenantInUse, drop_tenant, reset_tenant
from healthcloud.tenancy.scope import Scope


@pytest.mark.parametrize("change", [reset_tenant, drop_tenant])
def test_a_tenant_in_use_is_a_conflict_and_stays_as_it_is(
    live_tenant: Scope, monkeypatch: pytest.MonkeyPatch, change: Callable[[Environment], None]
) -> None:
    monkeypatch.setattr(provisioning, "_DROP_LOCK_TIMEOUT", "100ms")
    environment = Environment.objects.get(pk=live_tenant.environment_id)
    with owner_connection() as user:
        user.set_autocommit(False)
        with user.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {live_tenant.schema}.fhir_resource")
        with pytest.raises(TenantInUse, match="in use; try again"):
            change(environment)
        user.rollback()
    with owner_connection() as owner, owner.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [f"{live_tenant.schema}.fhir_resource"])
        assert cursor.fetchone()[0] is not None
