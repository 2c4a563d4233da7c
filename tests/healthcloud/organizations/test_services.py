"""Services on their own: what is taken back, what Studio sees, what may not happen."""

from datetime import datetime, timedelta

import pytest

from healthcloud.actors import SYSTEM, Actor
from healthcloud.audit.models import AuditEvent
from healthcloud.errors import Conflict, Forbidden, NotFound, ValidationFailed
from healthcloud.ledger.worker import run_until_idle
from healthcloud.organizations import services
from healthcloud.organizations.access import scope_for
from healthcloud.organizations.models import Environment, Membership, Organization, User
from healthcloud.organizations.permissions import can, require
from healthcloud.organizations.services import organizations
from healthcloud.tenancy.scope import Scope, tenant_scope

pytestmark = pytest.mark.django_db


def test_an_organization_whose_tenant_can_not_be_made_leaves_nothing(
    charlie: User, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    dropped: list[str] = []

    def create(environment: Environment) -> None:
        if made:
            raise RuntimeError("no disk")
        made.append(environment.schema_name)

    monkeypatch.setattr(organizations, "create_tenant", create)
    monkeypatch.setattr(
        organizations, "drop_tenant", lambda environment: dropped.append(environment.schema_name)
    )
    with pytest.raises(RuntimeError):
        services.create_organization(name="Broken", owner=charlie, actor=SYSTEM, now=now)
    assert set(made) <= set(dropped)
    assert not Organization.objects.filter(name="Broken").exists()
    assert Membership.objects.filter(user=charlie).count() == 1


def test_an_organization_whose_creation_was_broken_off_is_taken_back(
    charlie: User, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[str] = []

    def die(environment: Environment) -> None:
        raise SystemExit

    monkeypatch.setattr(organizations, "create_tenant", die)
    monkeypatch.setattr(organizations, "_take_back", lambda organization, environments: None)
    with pytest.raises(SystemExit):
        services.create_organization(name="Broken", owner=charlie, actor=SYSTEM, now=now)
    monkeypatch.undo()
    monkeypatch.setattr(
        organizations, "drop_tenant", lambda environment: dropped.append(environment.schema_name)
    )
    left = Organization.objects.get(name="Broken")
    schemas = [e.schema_name for e in Environment.objects.filter(organization=left)]
    run_until_idle(["bulk"], ahead=timedelta(days=3650))
    assert sorted(dropped) == sorted(schemas)
    assert not Organization.objects.filter(name="Broken").exists()
    assert Membership.objects.filter(user=charlie).count() == 1


def test_an_organization_that_is_there_is_left_alone() -> None:
    assert not organizations.take_back_abandoned(organization_id="org_riverside")
    assert not organizations.take_back_abandoned(organization_id="org_nobody")
    assert Environment.objects.filter(organization="org_riverside").count() == 2


def test_two_organizations_of_one_name_get_different_slugs(
    charlie: User, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(organizations, "create_tenant", lambda environment: None)
    monkeypatch.setattr(organizations, "announce", lambda change, **rest: None)
    slugs = [
        services.create_organization(name="Twin Care", owner=None, actor=SYSTEM, now=now).slug
        for _ in range(2)
    ]
    assert slugs == ["twin-care", "twin-care-2"]


def test_resetting_a_sandbox_drops_its_schema_alone_and_is_audited(
    now: datetime, monkeypatch: pytest.MonkeyPatch, riverside_wide_scope: Scope
) -> None:
    emptied: list[str] = []
    monkeypatch.setattr(
        organizations, "reset_tenant", lambda environment: emptied.append(environment.schema_name)
    )
    services.reset_sandbox(organization_id="org_riverside", actor=SYSTEM, now=now)
    assert emptied == [riverside_wide_scope.schema]
    with tenant_scope(riverside_wide_scope):
        assert AuditEvent.objects.filter(action="sandbox.reset").count() == 1
    with pytest.raises(NotFound):
        services.reset_sandbox(organization_id="org_nobody", actor=SYSTEM, now=now)


def test_studios_address_leads_to_a_scope_and_a_caller(alice: User) -> None:
    scope, principal = scope_for(alice, "riverside", "production", "screening")
    assert (scope.environment, scope.project_id) == ("production", "proj_riverside_screening")
    assert (principal.role, principal.actor.id) == ("owner", "usr_alice")
    wide, _ = scope_for(alice, "riverside", "sandbox", None)
    assert wide.project_id is None


@pytest.mark.parametrize(
    ("organization", "environment", "project"),
    [
        ("lakeside", "sandbox", None),
        ("riverside", "staging", None),
        ("riverside", "sandbox", "nothing"),
        ("nobody", "sandbox", None),
    ],
)
def test_an_address_of_others_leads_nowhere(
    alice: User, organization: str, environment: str, project: str | None
) -> None:
    with pytest.raises(NotFound):
        scope_for(alice, organization, environment, project)


def test_a_viewer_may_read_and_not_write(bob: User) -> None:
    Membership.objects.filter(user=bob).update(role="viewer")
    _, principal = scope_for(bob, "riverside", "sandbox", None)
    assert can(principal, "record.read")
    assert not can(principal, "workflow.run")
    assert not can(principal, "no.such.action")
    require(principal, "record.read")
    with pytest.raises(Forbidden):
        require(principal, "asset.install")


def test_an_invitation_ends_after_a_week_or_when_taken_back(
    alice_actor: Actor, now: datetime, db: None
) -> None:
    issued = services.invite(
        organization_id="org_riverside",
        email="Dora@example.com",
        role="viewer",
        actor=alice_actor,
        now=now,
    )
    token = issued.accept_url.rstrip("/").rsplit("/", 1)[1]
    assert services.find_open_invitation(token=token, now=now).email == "dora@example.com"
    with pytest.raises(services.InvitationClosed):
        services.find_open_invitation(token=token, now=now + timedelta(days=8))
    services.revoke_invitation(
        organization_id="org_riverside",
        invitation_id=issued.invitation.id,
        actor=alice_actor,
        now=now,
    )
    with pytest.raises(services.InvitationClosed):
        services.find_open_invitation(token=token, now=now)


def test_a_new_invitation_replaces_the_open_one_of_the_same_address(
    alice_actor: Actor, now: datetime, mailoutbox: list[object]
) -> None:
    issued = [
        services.invite(
            organization_id="org_riverside",
            email="dora@example.com",
            role=role,
            actor=alice_actor,
            now=now,
        )
        for role in ("viewer", "admin")
    ]
    issued[0].invitation.refresh_from_db()
    assert issued[0].invitation.revoked_at == now
    assert issued[1].invitation.revoked_at is None


def test_what_may_not_be_invited(alice_actor: Actor, now: datetime, db: None) -> None:
    rest = {"organization_id": "org_riverside", "actor": alice_actor, "now": now}
    with pytest.raises(Conflict):
        services.invite(email="BOB@example.com", role="viewer", **rest)
    with pytest.raises(ValidationFailed):
        services.invite(email="dora@example.com", role="king", **rest)


def test_people_sign_up_with_an_address_once(db: None) -> None:
    services.create_user(email="dora@example.com", password="a long enough passphrase")
    with pytest.raises(Conflict):
        services.create_user(email="Dora@example.com", password="a long enough passphrase")
    with pytest.raises(ValidationFailed):
        services.create_user(email="eve@example.com", password="password1234")
