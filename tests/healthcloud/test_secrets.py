"""Envelope encryption: sealed per environment, readable after rotation, unreadable elsewhere."""

from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command

from healthcloud import secrets
from healthcloud.organizations.models import Environment
from healthcloud.secrets import SecretUnreadable, open_sealed, seal
from healthcloud.tenancy.scope import Scope, tenant_scope


def test_a_sealed_secret_opens_in_its_own_environment(riverside_scope: Scope) -> None:
    with tenant_scope(riverside_scope):
        blob = seal(riverside_scope, "canary-é")
        assert b"canary" not in blob
        assert open_sealed(riverside_scope, memoryview(blob)) == "canary-é"


def test_a_sealed_secret_is_unreadable_in_every_other_environment(
    riverside_scope: Scope, riverside_production_scope: Scope, lakeside_scope: Scope
) -> None:
    blob = seal(riverside_scope, "canary")
    for other in (riverside_production_scope, lakeside_scope):
        with pytest.raises(SecretUnreadable):
            open_sealed(other, blob)


def test_rotation_rewraps_data_keys_and_leaves_secrets_readable(
    riverside_scope: Scope, settings: object
) -> None:
    blob = seal(riverside_scope, "canary")
    before = bytes(Environment.objects.get(pk=riverside_scope.environment_id).data_key)
    old, new = list(settings.KEY_ENCRYPTION_KEYS), Fernet.generate_key().decode()
    settings.KEY_ENCRYPTION_KEYS = [new, *old]
    out = StringIO()
    call_command("rotate_secrets", stdout=out)
    count = Environment.objects.count()
    assert out.getvalue() == f"{count} data keys are wrapped with the newest key.\n"
    settings.KEY_ENCRYPTION_KEYS = [new]
    after = bytes(Environment.objects.get(pk=riverside_scope.environment_id).data_key)
    assert after != before
    assert open_sealed(riverside_scope, blob) == "canary"


def test_without_the_key_nothing_opens(riverside_scope: Scope, settings: object) -> None:
    blob = seal(riverside_scope, "canary")
    settings.KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    secrets._unwrap.cache_clear()
    with pytest.raises(SecretUnreadable):
        open_sealed(riverside_scope, blob)
    with pytest.raises(SecretUnreadable):
        secrets.rotate()
