"""The admin console: staff only, changes go through the services, no clinical data."""

import pytest
from django.test import Client

from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey, Environment, Membership, Organization, User

pytestmark = pytest.mark.django_db
PAGES = ["organization", "environment", "user", "membership", "invitation", "apikey", "domain"]


@pytest.fixture
def staff(db: None) -> Client:
    user = User.objects.create_user("staff@example.com", "a long enough passphrase", is_staff=True)
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_people_who_are_not_staff_stay_out(alice: User) -> None:
    client = Client()
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/admin/").status_code in {302, 403}


def test_the_first_page_shows_figures(staff: Client) -> None:
    page = staff.get("/admin/").content.decode()
    assert "Tenants" in page
    assert "all active" in page


@pytest.mark.parametrize("model", PAGES)
def test_every_list_opens_for_staff(staff: Client, model: str) -> None:
    assert staff.get(f"/admin/organizations/{model}/").status_code == 200


def test_an_organization_opens_with_its_parts(staff: Client) -> None:
    page = staff.get("/admin/organizations/organization/org_riverside/change/").content.decode()
    for text in ("env_riverside_sandbox", "proj_riverside_screening", "alice@example.com"):
        assert text in page or "Alice" in page


def test_staff_create_an_organization_with_tenants(staff: Client, charlie: User) -> None:
    body = {"name": "Hillside", "slug": "hillside", "plan": "growth", "owner": charlie.pk}
    response = staff.post("/admin/organizations/organization/add/", body)
    assert response.status_code == 302
    made = Organization.objects.get(slug="hillside")
    assert Environment.objects.filter(organization=made, status="active").count() == 2
    assert Membership.objects.get(organization=made).user == charlie


def test_staff_change_a_plan(staff: Client) -> None:
    body = {"name": "Riverside Health", "plan": "growth"}
    for part in ("environments", "projects", "memberships"):
        body |= {f"{part}-TOTAL_FORMS": "0", f"{part}-INITIAL_FORMS": "0"}
    response = staff.post("/admin/organizations/organization/org_riverside/change/", body)
    assert response.status_code == 302
    assert Organization.objects.get(pk="org_riverside").plan == "growth"


def test_staff_revoke_keys_and_never_see_digests(staff: Client) -> None:
    secret = keys.generate("sandbox")
    key = ApiKey.objects.create(
        organization_id="org_riverside",
        environment_id="env_riverside_sandbox",
        name="k",
        prefix=secret.prefix,
        last4=secret.last4,
        digest=secret.digest,
        scopes=["fhir:read"],
        created_by_id="usr_alice",
    )
    page = staff.get(f"/admin/organizations/apikey/{key.pk}/change/").content.decode()
    assert "digest" not in page
    staff.post("/admin/organizations/apikey/", {"action": "revoke", "_selected_action": key.pk})
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_only_the_consoles_policy_lets_expressions_be_evaluated(staff: Client) -> None:
    assert "'unsafe-eval'" in staff.get("/admin/")["Content-Security-Policy"]
    assert "'unsafe-eval'" not in staff.get("/accounts/login/")["Content-Security-Policy"]
