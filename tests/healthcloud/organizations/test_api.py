"""The API of organizations, projects, people and keys, as its callers see it."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from healthcloud.audit.models import AuditEvent
from healthcloud.events.models import Event
from healthcloud.organizations.models import (
    ApiKey,
    Environment,
    Invitation,
    Membership,
    Organization,
    Project,
    UsageDay,
    User,
)
from healthcloud.tenancy.scope import Scope, tenant_scope

pytestmark = pytest.mark.django_db
ClientFor = Callable[..., APIClient]
SCREENING = "proj_riverside_screening"


def event_types(scope: Scope) -> list[str]:
    with tenant_scope(scope):
        return list(Event.objects.order_by("position").values_list("type", flat=True))


def actions(scope: Scope) -> list[str]:
    with tenant_scope(scope):
        return list(AuditEvent.objects.order_by("position").values_list("action", flat=True))


def session_of(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


# --- organizations


def test_a_key_reads_its_own_organization_and_no_other(client_for: ClientFor) -> None:
    client = client_for("lakeside")
    listed = client.get("/v1/organizations").json()
    assert [row["id"] for row in listed["data"]] == ["org_lakeside"]
    assert listed["meta"] == {"cursor": None, "has_more": False, "total": 1}
    assert client.get("/v1/organizations/org_lakeside").json()["name"] == "Lakeside Clinic"
    refused = client.get("/v1/organizations/org_riverside")
    assert refused.status_code == 404
    assert refused.json()["organization_id"] == "org_lakeside"


def test_charlie_can_not_rename_riverside(client_for: ClientFor) -> None:
    response = client_for("lakeside").patch(
        "/v1/organizations/org_riverside", {"name": "Mine"}, format="json"
    )
    assert response.status_code == 404
    assert Organization.objects.get(pk="org_riverside").name == "Riverside Health"


def test_renaming_an_organization_is_audited_in_both_environments(
    client_for: ClientFor, riverside_wide_scope: Scope, riverside_production_scope: Scope
) -> None:
    response = client_for("riverside").patch(
        "/v1/organizations/org_riverside",
        {"name": "Riverside", "metadata": {"crm": "42"}},
        format="json",
    )
    assert response.status_code == 200
    assert response.json()["name"] == "Riverside"
    assert response.json()["metadata"] == {"crm": "42"}
    assert "organization.update" in actions(riverside_wide_scope)


def test_a_key_can_not_create_organizations(client_for: ClientFor) -> None:
    before = Organization.objects.count()
    response = client_for("riverside").post("/v1/organizations", {"name": "X"}, format="json")
    assert response.status_code == 403
    assert Organization.objects.count() == before


def test_a_person_creates_an_organization_with_two_tenants_and_owns_it(charlie: User) -> None:
    response = session_of(charlie).post(
        "/v1/organizations", {"name": "Hillside Care"}, format="json"
    )
    assert response.status_code == 201, response.content
    body = response.json()
    assert body["slug"] == "hillside-care"
    assert body["organization_id"] == body["id"]
    assert body["environment"] == "sandbox"
    environments = Environment.objects.filter(organization_id=body["id"], status="active")
    assert {row.kind for row in environments} == {"sandbox", "production"}
    for environment in environments:
        assert event_types(environment.scope()) == ["organization.created"]
    assert Membership.objects.get(organization_id=body["id"]).role == "owner"


def test_a_slug_that_is_taken_is_409_and_nothing_is_created(charlie: User) -> None:
    before = Organization.objects.count()
    response = session_of(charlie).post(
        "/v1/organizations", {"name": "R", "slug": "riverside"}, format="json"
    )
    assert response.status_code == 409
    assert response.json()["error"]["param"] == "slug"
    assert Organization.objects.count() == before


def test_a_session_without_its_csrf_token_is_refused(charlie: User) -> None:
    before = Organization.objects.count()
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(charlie, backend="django.contrib.auth.backends.ModelBackend")
    response = client.post("/v1/organizations", {"name": "X"}, format="json")
    assert response.status_code == 403
    assert "X-CSRFToken" in response.json()["error"]["message"]
    assert Organization.objects.count() == before


def test_a_person_without_any_organization_is_told_so(db: None) -> None:
    stranger = User.objects.create_user("dora@example.com", "a long enough passphrase")
    refused = session_of(stranger).get("/v1/projects")
    assert refused.status_code == 403
    assert "not a member of any organization" in refused.json()["error"]["message"]


def test_a_member_who_was_removed_is_out_with_the_next_request(bob: User) -> None:
    client = session_of(bob)
    assert client.get("/v1/projects").status_code == 200
    Membership.objects.filter(user=bob).delete()
    assert client.get("/v1/projects").status_code == 403


# --- projects


def test_a_project_is_created_and_announced_in_both_environments(
    client_for: ClientFor, riverside_wide_scope: Scope
) -> None:
    response = client_for("riverside").post(
        "/v1/projects", {"name": "Care gaps", "metadata": {"team": "north"}}, format="json"
    )
    assert response.status_code == 201
    body = response.json()
    assert (body["slug"], body["status"], body["blueprint"]) == ("care-gaps", "active", None)
    assert body["project_id"] == body["id"] == response["HealthCloud-Project-Id"]
    assert event_types(riverside_wide_scope) == ["project.created"]
    production = Environment.objects.get(pk="env_riverside_production")
    assert event_types(production.scope()) == ["project.created"]
    assert Project.objects.get(pk=body["id"]).number > 0


def test_two_projects_of_one_name_get_different_slugs(client_for: ClientFor) -> None:
    client = client_for("riverside")
    slugs = [
        client.post("/v1/projects", {"name": "Twin"}, format="json").json()["slug"]
        for _ in range(2)
    ]
    assert slugs == ["twin", "twin-2"]
    taken = client.post("/v1/projects", {"name": "T", "slug": "twin"}, format="json")
    assert taken.status_code == 409


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": {"a": 1}}, "name"),
        ({"name": "x", "slug": "a b"}, "slug"),
        ({"name": "x", "metadata": {"a": 1}}, "metadata.a"),
        ({"name": "x", "metadata": []}, "metadata"),
        ({"name": "x", "metadata": {str(i): "v" for i in range(51)}}, "metadata"),
    ],
)
def test_a_bad_project_is_422_naming_the_field(
    client_for: ClientFor, body: dict[str, object], param: str
) -> None:
    response = client_for("riverside").post("/v1/projects", body, format="json")
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "validation_error"
    assert response.json()["error"]["param"] == param
    assert Project.objects.filter(organization_id="org_riverside").count() == 2


def test_a_project_of_another_organization_is_404_for_every_verb(client_for: ClientFor) -> None:
    client = client_for("lakeside")
    for response in (
        client.get(f"/v1/projects/{SCREENING}"),
        client.patch(f"/v1/projects/{SCREENING}", {"name": "Mine"}, format="json"),
        client.post(f"/v1/projects/{SCREENING}/archive"),
        client.post(f"/v1/projects/{SCREENING}/restore"),
    ):
        assert response.status_code == 404
        assert response.json()["organization_id"] == "org_lakeside"
        assert response.json()["project_id"] is None
    project = Project.objects.get(pk=SCREENING)
    assert (project.name, project.status) == ("Screening", "active")


def test_a_project_is_archived_and_restored_once_each(
    client_for: ClientFor, riverside_wide_scope: Scope
) -> None:
    client = client_for("riverside")
    for _ in range(2):
        archived = client.post(f"/v1/projects/{SCREENING}/archive")
        assert (archived.status_code, archived.json()["status"]) == (200, "archived")
    restored = client.patch(f"/v1/projects/{SCREENING}", {"status": "active"}, format="json")
    assert restored.json()["status"] == "active"
    assert event_types(riverside_wide_scope) == ["project.archived", "project.restored"]


def test_a_sandbox_key_cannot_archive_what_production_uses(client_for: ClientFor) -> None:
    UsageDay.objects.create(
        environment_id="env_riverside_production",
        project_id=SCREENING,
        date=timezone.now().date(),
        requests=1,
    )
    for response in (
        client_for("riverside").post(f"/v1/projects/{SCREENING}/archive"),
        client_for("riverside").patch(
            f"/v1/projects/{SCREENING}", {"status": "archived", "name": "Mine"}, format="json"
        ),
    ):
        assert response.status_code == 403
        assert "in use in production" in response.json()["error"]["message"]
    project = Project.objects.get(pk=SCREENING)
    assert (project.name, project.status) == ("Screening", "active")
    live = client_for("riverside", environment="production")
    assert live.post(f"/v1/projects/{SCREENING}/archive").json()["status"] == "archived"
    refused = client_for("riverside").post(f"/v1/projects/{SCREENING}/restore")
    assert refused.status_code == 403


def test_a_key_of_one_project_sees_that_project_only(client_for: ClientFor) -> None:
    client = client_for("riverside", project="screening")
    assert [row["id"] for row in client.get("/v1/projects").json()["data"]] == [SCREENING]
    assert client.get("/v1/projects/proj_riverside_referrals").status_code == 403
    created = client.post("/v1/projects", {"name": "More"}, format="json")
    assert created.status_code == 403
    assert Project.objects.filter(organization_id="org_riverside").count() == 2


def test_lists_are_paged_newest_first_by_an_opaque_cursor(client_for: ClientFor) -> None:
    client = client_for("riverside")
    for number in range(3):
        client.post("/v1/projects", {"name": f"P{number}"}, format="json")
    seen: list[str] = []
    cursor = ""
    while True:
        page = client.get(f"/v1/projects?limit=2{cursor}").json()
        seen += [row["name"] for row in page["data"]]
        assert page["meta"]["total"] == 5
        if not page["meta"]["has_more"]:
            assert page["meta"]["cursor"] is None
            break
        cursor = f"&cursor={page['meta']['cursor']}"
    assert seen[:3] == ["P2", "P1", "P0"]
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor")],
)
def test_a_bad_page_is_400(client_for: ClientFor, query: str, param: str) -> None:
    response = client_for("riverside").get(f"/v1/projects?{query}")
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_what_a_request_causes_carries_its_id(
    client_for: ClientFor, riverside_wide_scope: Scope
) -> None:
    response = client_for("riverside").post(
        "/v1/projects", {"name": "P"}, format="json", HTTP_X_REQUEST_ID="my-request-42"
    )
    assert response["X-Request-Id"] == "my-request-42"
    with tenant_scope(riverside_wide_scope):
        assert Event.objects.get().request_id == "my-request-42"
        assert AuditEvent.objects.get(action="project.create").request_id == "my-request-42"


# --- people


def test_members_are_listed_with_their_roles(client_for: ClientFor) -> None:
    body = client_for("riverside").get("/v1/users").json()
    assert {(row["email"], row["role"]) for row in body["data"]} == {
        ("alice@example.com", "owner"),
        ("bob@example.com", "developer"),
    }


def test_a_sandbox_key_can_not_change_members_because_they_reach_production(
    client_for: ClientFor,
) -> None:
    client = client_for("riverside")
    for response in (
        client.post("/v1/invitations", {"email": "e@example.com", "role": "admin"}, format="json"),
        client.patch("/v1/users/usr_bob", {"role": "admin"}, format="json"),
        client.delete("/v1/users/usr_bob"),
    ):
        assert response.status_code == 403
    assert Invitation.objects.count() == 0
    assert Membership.objects.get(user_id="usr_bob").role == "developer"


def test_an_owner_changes_roles_and_removes_members(
    alice: User, riverside_wide_scope: Scope
) -> None:
    client = session_of(alice)
    changed = client.patch("/v1/users/usr_bob", {"role": "viewer"}, format="json")
    assert (changed.status_code, changed.json()["role"]) == (200, "viewer")
    assert client.delete("/v1/users/usr_bob").status_code == 204
    assert not Membership.objects.filter(user_id="usr_bob").exists()
    assert event_types(riverside_wide_scope) == ["member.updated", "member.removed"]


def test_the_last_owner_stays(alice: User) -> None:
    client = session_of(alice)
    assert client.delete("/v1/users/usr_alice").status_code == 409
    demoted = client.patch("/v1/users/usr_alice", {"role": "viewer"}, format="json")
    assert demoted.status_code == 409
    assert Membership.objects.get(user_id="usr_alice").role == "owner"


def test_an_admin_can_not_make_or_unmake_owners(bob: User) -> None:
    Membership.objects.filter(user=bob).update(role="admin")
    client = session_of(bob)
    for response in (
        client.patch("/v1/users/usr_bob", {"role": "owner"}, format="json"),
        client.delete("/v1/users/usr_alice"),
        client.post("/v1/invitations", {"email": "e@example.com", "role": "owner"}, format="json"),
    ):
        assert response.status_code == 403
    assert Membership.objects.get(user_id="usr_alice").role == "owner"
    assert Membership.objects.get(user_id="usr_bob").role == "admin"


def test_charlie_finds_none_of_riversides_people(charlie: User, alice: User) -> None:
    client = session_of(charlie)
    invitation = session_of(alice).post(
        "/v1/invitations", {"email": "e@example.com", "role": "viewer"}, format="json"
    )
    for response in (
        client.get("/v1/users/usr_bob"),
        client.patch("/v1/users/usr_bob", {"role": "viewer"}, format="json"),
        client.delete("/v1/users/usr_bob"),
        client.delete(f"/v1/invitations/{invitation.json()['id']}"),
        client.get("/v1/users", HTTP_HEALTHCLOUD_ORGANIZATION="org_riverside"),
    ):
        assert response.status_code == 404
    assert Membership.objects.get(user_id="usr_bob").role == "developer"
    assert Invitation.objects.get().revoked_at is None


def test_an_invitation_is_accepted_once_by_the_person_invited(alice: User, charlie: User) -> None:
    body = {"email": "dora@example.com", "role": "clinician"}
    invited = session_of(alice).post("/v1/invitations", body, format="json")
    assert invited.status_code == 201
    assert invited.json()["status"] == "pending"
    token = invited.json()["accept_url"].rstrip("/").rsplit("/", 1)[1]
    accept = "/v1/invitations/accept"
    wrong = session_of(charlie).post(accept, {"token": token}, format="json")
    assert wrong.status_code == 403
    dora = session_of(User.objects.create_user("dora@example.com", "a long enough passphrase"))
    accepted = dora.post(accept, {"token": token}, format="json")
    assert (accepted.status_code, accepted.json()["role"]) == (200, "clinician")
    assert dora.post(accept, {"token": token}, format="json").status_code == 409
    assert dora.post(accept, {"token": "nonsense"}, format="json").status_code == 404
    assert Membership.objects.filter(organization_id="org_riverside").count() == 3
    assert Membership.objects.filter(user__email="charlie@example.com").count() == 1


def test_a_clinician_may_read_records_and_not_the_members(alice: User, bob: User) -> None:
    Membership.objects.filter(user=bob).update(role="clinician")
    response = session_of(bob).get("/v1/users")
    assert response.status_code == 403
    assert response.json()["error"]["details"] == {"required_scope": "org:admin"}


# --- keys


def test_a_key_is_created_with_its_secret_shown_once(
    client_for: ClientFor, riverside_wide_scope: Scope
) -> None:
    client = client_for("riverside")
    body = {"name": "CI", "project_id": SCREENING, "scopes": ["fhir:read", "Observation:write"]}
    response = client.post("/v1/api-keys", body, format="json")
    assert response.status_code == 201
    created = response.json()
    assert created["secret"].startswith("hc_test_sk_")
    assert len(created["secret"]) == 49
    assert created["last4"] == created["secret"][-4:]
    assert created["project_id"] == SCREENING
    shown = client.get(f"/v1/api-keys/{created['id']}").json()
    assert "secret" not in shown
    listed = client.get("/v1/api-keys")
    assert created["secret"] not in listed.content.decode()
    assert event_types(riverside_wide_scope) == ["api_key.created"]
    user = APIClient()
    user.credentials(HTTP_AUTHORIZATION=f"Bearer {created['secret']}")
    assert user.get("/v1/projects").json()["data"][0]["id"] == SCREENING
    assert bytes(ApiKey.objects.get(pk=created["id"]).digest) not in created["secret"].encode()


def test_a_production_key_is_made_by_a_production_key_only(client_for: ClientFor) -> None:
    body = {"name": "Live", "environment": "production"}
    refused = client_for("riverside").post("/v1/api-keys", body, format="json")
    assert refused.status_code == 403
    made = client_for("riverside", environment="production").post(
        "/v1/api-keys", body, format="json"
    )
    assert made.json()["secret"].startswith("hc_live_sk_")
    assert made.json()["environment"] == "production"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"name": ""}, 422, "name"),
        ({"name": "k", "scopes": ["everything"]}, 422, "scopes"),
        ({"name": "k", "scopes": "fhir:read"}, 422, "scopes"),
        ({"name": "k", "expires_at": "2020-01-01T00:00:00Z"}, 422, "expires_at"),
        ({"name": "k", "expires_at": "soon"}, 422, "expires_at"),
        ({"name": "k", "allowed_addresses": ["somewhere"]}, 422, "allowed_addresses"),
        ({"name": "k", "project_id": "proj_lakeside_screening"}, 404, "project_id"),
        ({"name": "k", "project_id": 7}, 400, "project_id"),
    ],
)
def test_a_bad_key_is_refused(
    client_for: ClientFor, body: dict[str, object], status: int, param: str
) -> None:
    response = client_for("riverside").post("/v1/api-keys", body, format="json")
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)
    assert ApiKey.objects.count() == 1


def test_nobody_gives_a_key_more_than_they_have(client_for: ClientFor) -> None:
    client = client_for("riverside", scopes=["keys:write", "fhir:read"])
    body = {"name": "k", "scopes": ["fhir:write"]}
    assert client.post("/v1/api-keys", body, format="json").status_code == 403
    broader = client_for("riverside").key
    assert client.post(f"/v1/api-keys/{broader.id}/rotate").status_code == 403
    bound = client_for("riverside", project="screening")
    wide = bound.post("/v1/api-keys", {"name": "k", "project_id": None}, format="json")
    assert wide.status_code == 403
    assert ApiKey.objects.count() == 3


def test_rotating_leaves_the_old_secret_valid_for_24_hours(client_for: ClientFor) -> None:
    client = client_for("riverside")
    old, key = client.secret, client.key
    rotated = client.post(f"/v1/api-keys/{key.id}/rotate").json()
    new = APIClient()
    new.credentials(HTTP_AUTHORIZATION=f"Bearer {rotated['secret']}")
    assert rotated["secret"] != old
    assert new.get("/v1/projects").status_code == 200
    assert client.get("/v1/projects").status_code == 200
    ApiKey.objects.filter(pk=key.pk).update(
        previous_expires_at=timezone.now() - timedelta(seconds=1)
    )
    assert client.get("/v1/projects").status_code == 401
    assert new.get("/v1/projects").status_code == 200


def test_revoking_holds_for_the_next_request(client_for: ClientFor) -> None:
    admin, victim = client_for("riverside"), client_for("riverside")
    assert victim.get("/v1/projects").status_code == 200
    revoked = admin.post(f"/v1/api-keys/{victim.key.id}/revoke")
    assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
    refused = victim.get("/v1/projects")
    assert refused.status_code == 401
    assert refused.json()["organization_id"] is None
    assert admin.post(f"/v1/api-keys/{victim.key.id}/rotate").status_code == 409


def test_charlie_finds_none_of_riversides_keys(client_for: ClientFor) -> None:
    key = client_for("riverside").key
    client = client_for("lakeside")
    for response in (
        client.get(f"/v1/api-keys/{key.id}"),
        client.delete(f"/v1/api-keys/{key.id}"),
        client.post(f"/v1/api-keys/{key.id}/rotate"),
        client.post(f"/v1/api-keys/{key.id}/revoke"),
    ):
        assert response.status_code == 404
    kept = ApiKey.objects.get(pk=key.pk)
    assert (kept.revoked_at, bytes(kept.digest)) == (None, bytes(key.digest))
    assert key.id not in client.get("/v1/api-keys").content.decode()


def test_a_sandbox_key_does_not_see_production_keys(client_for: ClientFor) -> None:
    live = client_for("riverside", environment="production").key
    client = client_for("riverside")
    assert client.get(f"/v1/api-keys/{live.id}").status_code == 404
    assert client.delete(f"/v1/api-keys/{live.id}").status_code == 404
    assert ApiKey.objects.get(pk=live.pk).revoked_at is None


# --- tokens


def test_a_token_stands_for_its_key_with_fewer_scopes(client_for: ClientFor) -> None:
    client = client_for("riverside")
    answer = client.post("/v1/auth/token", {"scope": ["keys:write"]}, format="json").json()
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3600)
    bearer = APIClient()
    bearer.credentials(HTTP_AUTHORIZATION=f"Bearer {answer['access_token']}")
    assert bearer.get("/v1/api-keys").status_code == 200
    assert bearer.get("/v1/users").status_code == 403
    client.post(f"/v1/api-keys/{client.key.id}/revoke")
    assert bearer.get("/v1/api-keys").status_code == 401


def test_a_token_can_not_have_more_scopes_than_its_key(client_for: ClientFor) -> None:
    client = client_for("riverside", scopes=["fhir:read"])
    refused = client.post("/v1/auth/token", {"scope": ["fhir:write"]}, format="json")
    assert refused.status_code == 403
    narrowed = client.post("/v1/auth/token", {"scope": "Observation:read"}, format="json")
    assert narrowed.json()["scope"] == "Observation:read"


def test_naming_a_project_lists_its_keys_only(client_for: ClientFor) -> None:
    client = client_for("riverside")
    for name in ("screening", "referrals"):
        body = {"name": name, "project_id": f"proj_riverside_{name}", "scopes": ["fhir:read"]}
        assert client.post("/v1/api-keys", body, format="json").status_code == 201
    listed = client.get("/v1/api-keys?project_id=proj_riverside_referrals").json()
    assert [key["name"] for key in listed["data"]] == ["referrals"]


def test_a_project_may_leave_its_slug_open_with_null(client_for: ClientFor) -> None:
    answer = client_for("riverside").post(
        "/v1/projects", {"name": "Open", "slug": None}, format="json"
    )
    assert (answer.status_code, answer.json()["slug"]) == (201, "open")


def test_an_empty_list_of_scopes_is_refused_not_taken_for_all(client_for: ClientFor) -> None:
    answer = client_for("riverside").post(
        "/v1/api-keys", {"name": "None", "scopes": []}, format="json"
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "scopes")
