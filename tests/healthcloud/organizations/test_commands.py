"""manage.py create_user and create_organization."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from healthcloud.organizations.models import Organization, User

pytestmark = pytest.mark.django_db


def run(*args: str, **options: object) -> str:
    out = io.StringIO()
    call_command(*args, stdout=out, **options)
    return out.getvalue()


def test_a_person_is_created_with_the_password_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a long enough passphrase\n"))
    run("create_user", "dora@example.com", name="Dora")
    assert User.objects.get(email="dora@example.com").check_password("a long enough passphrase")


def test_a_weak_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    with pytest.raises(CommandError, match="too short"):
        run("create_user", "dora@example.com")
    assert not User.objects.filter(email="dora@example.com").exists()


def test_an_organization_comes_with_a_project_and_a_key_of_each_environment() -> None:
    answer = json.loads(
        run("create_organization", "Hillside", owner="charlie@example.com", project="First")
    )
    assert answer["keys"]["sandbox"].startswith("hc_test_sk_")
    assert answer["keys"]["production"].startswith("hc_live_sk_")
    assert Organization.objects.get(pk=answer["organization_id"]).slug == "hillside"


def test_an_owner_without_an_account_is_named() -> None:
    before = Organization.objects.count()
    with pytest.raises(CommandError, match="has no account"):
        run("create_organization", "Hillside", owner="nobody@example.com")
    assert Organization.objects.count() == before
