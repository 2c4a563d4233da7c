"""Settings: keys shown once, members by role, invitations that let people in."""

import pytest
from django.test import Client

from healthcloud.organizations.models import ApiKey, Invitation, Membership, User
from tests.studio.conftest import PLACE

pytestmark = pytest.mark.django_db
KEYS = PLACE + "/settings/keys"


def create_key(browser: Client) -> str:
    fields = {"name": "Lab", "binding": "project", "expires": "90", "scopes": ["fhir:read"]}
    page = browser.post(KEYS + "/create", fields, follow=True).content.decode()
    start = page.index("hc_test_sk_", page.index('id="issued-secret"'))
    return page[start : page.index("<", start)]


def test_a_new_secret_is_shown_once(alice_browser: Client) -> None:
    secret = create_key(alice_browser)
    key = ApiKey.objects.get(name="Lab")
    assert key.project_id == "proj_riverside_screening"
    assert secret not in alice_browser.get(KEYS).content.decode()
    assert key.last4 == secret[-4:]


def test_rotating_shows_another_secret(alice_browser: Client) -> None:
    secret = create_key(alice_browser)
    key = ApiKey.objects.get(name="Lab")
    page = alice_browser.post(f"{KEYS}/{key.id}/rotate", follow=True).content.decode()
    assert "hc_test_sk_" in page
    assert secret not in page


def test_a_secret_waits_sealed_and_only_for_its_own_environment(alice_browser: Client) -> None:
    fields = {"name": "Lab", "binding": "project", "expires": "90", "scopes": ["fhir:read"]}
    alice_browser.post(KEYS + "/create", fields)
    assert "hc_test_sk_" not in str(dict(alice_browser.session))
    elsewhere = KEYS.replace("/sandbox/", "/production/")
    assert b"hc_test_sk_" not in alice_browser.get(elsewhere).content


def test_a_developer_gets_no_secret_of_a_key_that_may_do_more(
    alice_browser: Client, bob_browser: Client
) -> None:
    fields = {"name": "All", "binding": "organization", "scopes": ["org:admin", "fhir:read"]}
    alice_browser.post(KEYS + "/create", fields)
    key = ApiKey.objects.get(name="All")
    page = bob_browser.post(f"{KEYS}/{key.id}/rotate", follow=True).content
    assert b'id="issued-secret"' not in page
    assert ApiKey.objects.get(name="All").digest == key.digest


def test_a_revoked_key_is_marked(alice_browser: Client) -> None:
    create_key(alice_browser)
    key = ApiKey.objects.get(name="Lab")
    page = alice_browser.post(f"{KEYS}/{key.id}/revoke", follow=True).content
    assert b"Revoked" in page
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_a_key_without_scopes_is_refused(alice_browser: Client) -> None:
    fields = {"name": "Lab", "binding": "project", "expires": ""}
    page = alice_browser.post(KEYS + "/create", fields, follow=True).content
    assert b"This field is required" in page
    assert not ApiKey.objects.exists()


def test_a_stranger_cannot_revoke(alice_browser: Client, charlie_browser: Client) -> None:
    create_key(alice_browser)
    key = ApiKey.objects.get(name="Lab")
    assert charlie_browser.post(f"{KEYS}/{key.id}/revoke").status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None


def test_a_developer_may_not_see_members(bob_browser: Client) -> None:
    answer = bob_browser.get(PLACE + "/settings/members")
    assert answer.status_code == 403
    assert b"org:admin" in answer.content


def test_a_developer_may_not_invite(bob_browser: Client) -> None:
    fields = {"email": "dana@example.com", "role": "owner"}
    answer = bob_browser.post(PLACE + "/settings/members/invite", fields)
    assert answer.status_code == 403
    assert not Invitation.objects.exists()


def invite(browser: Client) -> str:
    fields = {"email": "dana@example.com", "role": "clinician"}
    page = browser.post(PLACE + "/settings/members/invite", fields, follow=True).content.decode()
    start = page.index("/studio/invitations/")
    return page[start : page.index("<", start)].split('"')[0].strip()


def test_an_invited_person_makes_an_account_and_is_in(alice_browser: Client) -> None:
    link = invite(alice_browser)
    guest = Client()
    assert b"Join Riverside Health" in guest.get(link).content
    fields = {"name": "Dana", "password": "correct horse battery"}
    answer = guest.post(link, fields, follow=True)
    assert answer.status_code == 200
    assert Membership.objects.get(user__email="dana@example.com").role == "clinician"


def test_a_weak_password_is_refused_and_nobody_is_added(alice_browser: Client) -> None:
    link = invite(alice_browser)
    page = Client().post(link, {"name": "Dana", "password": "short"}, follow=True).content
    assert b"too short" in page
    assert not User.objects.filter(email="dana@example.com").exists()


def test_a_revoked_invitation_lets_nobody_in(alice_browser: Client) -> None:
    link = invite(alice_browser)
    invitation = Invitation.objects.get()
    alice_browser.post(f"{PLACE}/settings/invitations/{invitation.id}/revoke")
    assert Client().get(link).status_code in (404, 409)


def test_the_last_owner_stays(alice_browser: Client) -> None:
    address = f"{PLACE}/settings/members/usr_alice/role"
    page = alice_browser.post(
        address,
        {"role": "viewer"},
        headers={"Referer": f"http://testserver{PLACE}/settings/members"},
        follow=True,
    ).content
    assert b"owner" in page
    assert Membership.objects.get(user_id="usr_alice").role == "owner"


def test_changes_stand_in_the_audit_trail(alice_browser: Client) -> None:
    create_key(alice_browser)
    assert b"api_key.create" in alice_browser.get(PLACE + "/settings/audit").content


def test_a_person_without_an_organization_creates_one(charlie_browser: Client) -> None:
    fields = {"name": "Hillside Hospital", "project": "Referrals"}
    answer = charlie_browser.post("/studio/new", fields)
    assert answer["Location"] == "/studio/hillside-hospital/sandbox/referrals/"
    assert charlie_browser.get(answer["Location"]).status_code == 200


def test_a_developer_cannot_create_a_project(bob_browser: Client) -> None:
    page = bob_browser.post("/studio/riverside/new-project", {"name": "Mine"}).content
    assert b"org:admin" in page
