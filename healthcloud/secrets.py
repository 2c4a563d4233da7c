"""Envelope encryption: each environment has its own data key, wrapped by the platform's keys.

`settings.KEY_ENCRYPTION_KEYS` (newest first) wrap and unwrap data keys; data keys seal secrets.
Rotating the platform's keys re-wraps one small value per environment and touches no secret, and
destroying an environment's data key makes all of its secrets unreadable.
"""

from functools import lru_cache
from typing import Protocol

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.apps import apps
from django.conf import settings

from healthcloud.errors import InternalError


class SecretUnreadable(InternalError):
    """A sealed value or a data key was sealed with keys that are not configured here."""

    def __init__(self) -> None:
        super().__init__(
            "A stored secret can't be opened with the configured key-encryption keys. "
            "Restore the missing key, or set the secret again."
        )


class Tenant(Protocol):
    """What sealing needs to know of a scope."""

    @property
    def environment_id(self) -> str:
        """The environment whose data key is used."""


def new_data_key() -> bytes:
    """Return a fresh data key, wrapped; the default of `Environment.data_key`."""
    return _wrapping_keys().encrypt(Fernet.generate_key())


def rewrap(data_key: bytes) -> bytes:
    """Return the same data key wrapped by the newest key-encryption key."""
    try:
        return _wrapping_keys().rotate(bytes(data_key))
    except InvalidToken as error:
        raise SecretUnreadable from error


def seal(scope: Tenant, plaintext: str) -> bytes:
    """Encrypt a secret for an environment; the result goes into a BinaryField."""
    return _unwrap(_data_key(scope)).encrypt(plaintext.encode())


def open_sealed(scope: Tenant, blob: bytes | memoryview) -> str:
    """Decrypt what `seal` returned for the same environment; raise SecretUnreadable otherwise."""
    try:
        return _unwrap(_data_key(scope)).decrypt(bytes(blob)).decode()
    except InvalidToken as error:
        raise SecretUnreadable from error


def wrap(plaintext: str) -> bytes:
    """Encrypt a secret of the platform itself, which belongs to no environment."""
    return _wrapping_keys().encrypt(plaintext.encode())


def unwrap(blob: bytes | memoryview) -> str:
    """Decrypt what `wrap` returned; raise SecretUnreadable without its key."""
    try:
        return _wrapping_keys().decrypt(bytes(blob)).decode()
    except InvalidToken as error:
        raise SecretUnreadable from error


def rotate() -> int:
    """Wrap every environment's data key with the newest key; return how many were re-wrapped.

    The keys that sign id tokens are wrapped anew with them.

    Run outside tenant scopes, after putting the new key first in the setting; once it has
    finished the old key may be removed. Safe to repeat and to interrupt.
    """
    environments = apps.get_model("organizations", "Environment").objects
    rewrapped = 0
    for identifier, wrapped in environments.values_list("pk", "data_key").order_by("pk"):
        old = bytes(wrapped)
        new = rewrap(old) if old else new_data_key()
        rewrapped += environments.filter(pk=identifier, data_key=old).update(data_key=new)
    signing = apps.get_model("organizations", "SigningKey").objects
    for kid, wrapped in signing.values_list("pk", "private"):
        signing.filter(pk=kid).update(private=rewrap(bytes(wrapped)))
    return rewrapped


def _data_key(scope: Tenant) -> bytes:
    environments = apps.get_model("organizations", "Environment").objects
    wrapped = environments.values_list("data_key", flat=True).get(pk=scope.environment_id)
    return bytes(wrapped)


def _wrapping_keys() -> MultiFernet:
    return MultiFernet([Fernet(key.strip()) for key in settings.KEY_ENCRYPTION_KEYS])


@lru_cache(maxsize=1024)
def _unwrap(wrapped: bytes) -> Fernet:
    """Return the data key; cached by its wrapped form, so that a rotation is seen at once."""
    try:
        return Fernet(_wrapping_keys().decrypt(wrapped))
    except InvalidToken as error:
        raise SecretUnreadable from error
