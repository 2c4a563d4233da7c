"""The hash chain: made lazily, and broken by whatever is changed, deleted or slipped in."""

from datetime import datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction

from healthcloud.actors import Actor
from healthcloud.audit import services
from healthcloud.audit.chain import extend_chain, verify_chain
from healthcloud.audit.models import AuditEvent, AuditLink
from healthcloud.audit.services import record
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.services import enqueue
from healthcloud.ledger.worker import run_until_idle
from healthcloud.tenancy.owner import owner_connection
from healthcloud.tenancy.scope import Scope, tenant_scope


@pytest.fixture
def trail(in_riverside: Scope, alice_actor: Actor, now: datetime) -> Scope:
    for number in range(4):
        record(
            actor=alice_actor,
            action="deployment.create",
            target_type="deployment",
            target_id=f"dep_{number}",
            now=now,
            details={"release": number, "nested": {"a": [1, 2.5, None]}},
        )
    return in_riverside


def test_recording_costs_no_round_trip_of_its_own(
    in_riverside: Scope,
    alice_actor: Actor,
    now: datetime,
    django_assert_num_queries: object,
) -> None:
    with django_assert_num_queries(0):
        record(actor=alice_actor, action="x.y", target_type="x", target_id="1", now=now)
    assert AuditEvent.objects.get(action="x.y").target_id == "1"


def test_rows_are_pending_until_they_are_linked(trail: Scope) -> None:
    assert verify_chain().pending == 4
    assert extend_chain() == 4
    assert extend_chain() == 0
    verdict = verify_chain()
    assert (verdict.intact, verdict.links, verdict.pending) == (True, 4, 0)
    assert list(AuditLink.objects.order_by("number").values_list("number", flat=True)) == [
        1,
        2,
        3,
        4,
    ]


def test_the_chain_goes_on_where_it_ended(trail: Scope, alice_actor: Actor, now: datetime) -> None:
    extend_chain()
    record(actor=alice_actor, action="x.y", target_type="x", target_id="1", now=now)
    assert extend_chain() == 1
    assert verify_chain().intact


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_auditevent SET actor_id = 'usr_mallory' WHERE target_id = 'dep_1'",
        "UPDATE audit_auditevent SET details = '{}' WHERE target_id = 'dep_1'",
    ],
)
def test_the_tenants_role_can_neither_change_nor_delete_rows(trail: Scope, statement: str) -> None:
    for refused in (statement, "DELETE FROM audit_auditevent", "DELETE FROM audit_auditlink"):
        with pytest.raises(ProgrammingError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(refused)
    assert AuditEvent.objects.count() == 4


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE {} SET actor_id = 'usr_mallory' WHERE target_id = 'dep_1'", "was changed"),
        ("UPDATE {} SET details = '{{}}' WHERE target_id = 'dep_1'", "was changed"),
        ("UPDATE {} SET created_at = now() WHERE target_id = 'dep_3'", "was changed"),
        ("DELETE FROM {} WHERE target_id = 'dep_2'", "is missing"),
    ],
)
def test_the_owner_of_the_database_can_tamper_but_not_unnoticed(
    live_tenant: Scope, alice_actor: Actor, now: datetime, statement: str, problem: str
) -> None:
    with tenant_scope(live_tenant):
        for number in range(4):
            record(
                actor=alice_actor,
                action="deployment.create",
                target_type="deployment",
                target_id=f"dep_{number}",
                now=now,
                details={"release": number},
            )
    with tenant_scope(live_tenant):
        extend_chain()
        assert verify_chain().intact
    with owner_connection() as owner, owner.cursor() as cursor:
        cursor.execute(statement.format(f'"{live_tenant.schema}".audit_auditevent'))
    with tenant_scope(live_tenant):
        verdict = verify_chain()
    assert len(verdict.problems) == 1
    assert problem in verdict.problems[0]
    with pytest.raises(CommandError, match="tampered"):
        call_command("verify_audit", environment=live_tenant.environment_id, stdout=StringIO())


def test_a_row_outside_the_chain_is_reported(trail: Scope) -> None:
    extend_chain()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO audit_auditevent (event_id, project_id, actor_kind, actor_id,"
            " actor_label, action, target_type, target_id, outcome, details, request_id,"
            " created_at) SELECT 'aud_forged', project_id, actor_kind, actor_id, actor_label,"
            " action, target_type, target_id, outcome, details, request_id, created_at"
            " FROM audit_auditevent LIMIT 1"
        )
    verdict = verify_chain()
    assert not verdict.intact
    assert "is in no link" in verdict.problems[0]


def test_the_command_says_intact(trail: Scope) -> None:
    out = StringIO()
    call_command("verify_audit", environment=trail.environment_id, stdout=out)
    assert "intact, 0 links, 4 pending" in out.getvalue()
    call_command("verify_audit", environment=trail.environment_id, stdout=out)
    assert "intact, 4 links, 0 pending" in out.getvalue()


def test_the_command_refuses_an_unknown_environment(db: None) -> None:
    with pytest.raises(CommandError, match="no active environment"):
        call_command("verify_audit", environment="env_nowhere")


def test_other_projects_and_organizations_see_nothing(
    trail: Scope, riverside_referrals_scope: Scope, lakeside_scope: Scope
) -> None:
    for scope in (riverside_referrals_scope, lakeside_scope):
        with tenant_scope(scope):
            assert AuditEvent.objects.count() == 0


def test_due_work_links_what_was_recorded(trail: Scope) -> None:
    enqueue(scope=trail, kind="audit.chain", ref=trail.environment_id, dedupe_key="chain")
    run_until_idle()
    assert verify_chain().links == 4


def test_recording_asks_for_the_chain_after_the_commit_and_not_each_time(
    live_tenant: Scope, alice_actor: Actor, now: datetime
) -> None:
    services._asked_at.clear()
    for _ in range(3):
        with tenant_scope(live_tenant):
            record(actor=alice_actor, action="x.y", target_type="x", target_id="1", now=now)
    work = DueWork.objects.filter(environment_id=live_tenant.environment_id, kind="audit.chain")
    assert work.count() == 1
