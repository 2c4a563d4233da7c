"""Settings, Apps: registered by people, ended by them; strangers move nothing."""

import pytest
from django.test import Client

from healthcloud.organizations.models import ApiKey, SmartClient
from tests.studio.conftest import PLACE

pytestmark = pytest.mark.django_db
APPS = PLACE + "/settings/apps"
FIELDS = {
    "name": "Growth chart",
    "kind": "confidential-symmetric",
    "redirect_uris": "https://app.example/cb\nhttps://app.example/other\n",
    "launch_uri": "https://app.example/launch",
    "scopes": "launch/patient patient/*.rs",
}


def test_public_keys_are_asked_for_with_an_empty_field(alice_browser: Client) -> None:
    page = alice_browser.get(APPS).content.decode()
    field = page[page.index('<textarea name="jwks"') :].partition("</textarea>")[0]
    assert field.partition(">")[2].strip() == ""


def test_an_app_is_registered_and_its_secret_shown_once(alice_browser: Client) -> None:
    page = alice_browser.post(APPS + "/create", FIELDS, follow=True).content.decode()
    app = SmartClient.objects.get()
    assert app.redirect_uris == ["https://app.example/cb", "https://app.example/other"]
    assert app.key.scopes == ["launch/patient", "patient/*.rs"]
    assert "hc_app_" in page
    again = alice_browser.get(APPS)
    assert "hc_app_" not in again.content.decode()
    assert "form-action 'self' https://app.example" in again["Content-Security-Policy"]
    assert "Growth chart" not in alice_browser.get(PLACE + "/settings/keys").content.decode()


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "http://evil.example/cb",
        "https://app.example/#x",
        "https://*.example/cb",
        "https://user@app.example/cb",
        "https://app.example;sandbox/cb",
        "data:text/html,x",
        "app.example/cb",
    ],
)
def test_an_unsafe_redirect_is_refused(alice_browser: Client, uri: str) -> None:
    alice_browser.post(APPS + "/create", {**FIELDS, "redirect_uris": uri})
    assert not SmartClient.objects.exists()
    assert not ApiKey.objects.exists()


def test_an_own_scheme_and_localhost_may_be_redirects(alice_browser: Client) -> None:
    uris = "com.example.app:/cb\nhttp://localhost:4000/cb"
    alice_browser.post(APPS + "/create", {**FIELDS, "redirect_uris": uris})
    assert SmartClient.objects.get().redirect_uris == uris.split("\n")


@pytest.mark.parametrize("scope", ["system/*.rs", "fhir:read", "org:admin", "patient/Nothing.rs"])
def test_an_app_asks_for_apps_scopes_only(alice_browser: Client, scope: str) -> None:
    alice_browser.post(APPS + "/create", {**FIELDS, "scopes": scope})
    assert not SmartClient.objects.exists()


def test_a_stranger_ends_nothing(alice_browser: Client, charlie_browser: Client) -> None:
    alice_browser.post(APPS + "/create", FIELDS)
    app = SmartClient.objects.get()
    for verb in ("revoke", "rotate", "launch"):
        assert charlie_browser.post(f"{APPS}/{app.pk}/{verb}").status_code == 404
    app.refresh_from_db()
    assert app.key.revoked_at is None
