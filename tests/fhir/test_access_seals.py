"""Reads are in the hash chain, by seals over ranges of their rows."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from fhir.accesses import Access, record
from healthcloud.actors import Actor
from healthcloud.audit.chain import Verdict, extend_chain, verify_chain
from healthcloud.audit.models import AuditEvent
from healthcloud.tenancy.owner import owner_connection
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.healthcloud.conftest import live_scope, live_tenant

__all__ = ["live_scope", "live_tenant"]


def read(scope: Scope, actor: Actor, *, minutes_ago: int, count: int = 3) -> None:
    at = timezone.now() - timedelta(minutes=minutes_ago)
    with tenant_scope(scope):
        for number in range(count):
            access = Access("read", "Patient", f"p{number}")
            project = scope.project_number or 0
            record(access, project=project, actor=actor, request_id="req_1", now=at)


def verdict(scope: Scope) -> Verdict:
    with tenant_scope(scope):
        return verify_chain()


def extended(scope: Scope) -> list[dict]:
    with tenant_scope(scope):
        extend_chain()
    with tenant_scope(replace(scope, project_id=None, project_number=None)):
        seals = AuditEvent.objects.filter(action="access.seal").order_by("position")
        return [event.details for event in seals]


def as_owner(scope: Scope, statement: str) -> None:
    with owner_connection() as owner, owner.cursor() as cursor:
        cursor.execute(statement.replace("fhir_access", f'"{scope.schema}".fhir_access'))


def test_what_settled_is_sealed_once(live_tenant: Scope, alice_actor: Actor) -> None:
    read(live_tenant, alice_actor, minutes_ago=20)
    read(live_tenant, alice_actor, minutes_ago=1)
    [seal] = extended(live_tenant)
    assert seal["count"] == 3
    assert extended(live_tenant) == [seal]
    assert verdict(live_tenant).problems == ()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fhir_access SET rid = 'other' WHERE id = (SELECT min(id) FROM fhir_access)",
        "DELETE FROM fhir_access WHERE id = (SELECT max(id) FROM fhir_access)",
    ],
)
def test_a_read_that_is_tampered_with_breaks_its_seal(
    live_tenant: Scope, alice_actor: Actor, statement: str
) -> None:
    read(live_tenant, alice_actor, minutes_ago=20)
    [seal] = extended(live_tenant)
    as_owner(live_tenant, statement)
    told = f"reads {seal['after'] + 1} to {seal['last']} were changed"
    assert verdict(live_tenant).problems == (told,)


def test_later_reads_get_a_seal_of_their_own(live_tenant: Scope, alice_actor: Actor) -> None:
    read(live_tenant, alice_actor, minutes_ago=30)
    [first] = extended(live_tenant)
    read(live_tenant, alice_actor, minutes_ago=20)
    kept = extended(live_tenant)
    assert kept[0] == first
    assert (kept[1]["after"], kept[1]["count"]) == (first["last"], 3)
    assert verdict(live_tenant).problems == ()
