"""The form of API keys: prefix, 32 random base62 characters, 6 of checksum; kept as a digest."""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass
from typing import Final, Literal

EnvironmentKind = Literal["sandbox", "production"]

PREFIXES: Final[dict[str, str]] = {"sandbox": "hc_test_sk_", "production": "hc_live_sk_"}
_ENVIRONMENTS: Final[dict[str, EnvironmentKind]] = {"test": "sandbox", "live": "production"}
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH: Final = 32
_CHECKSUM_LENGTH: Final = 6
_FORM: Final = re.compile(r"hc_(test|live)_(?:sk_)?([0-9A-Za-z]{38})")


@dataclass(frozen=True, slots=True)
class Secret:
    """A new key in clear, shown once, and what is kept of it."""

    text: str
    prefix: str
    last4: str
    digest: bytes


def generate(environment: str) -> Secret:
    """Return a new key for `sandbox` or `production`."""
    prefix = PREFIXES[environment]
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    text = prefix + body + _checksum(prefix + body)
    return Secret(text=text, prefix=prefix, last4=text[-4:], digest=digest_of(text))


def parse(token: str) -> tuple[EnvironmentKind, bytes] | None:
    """Return environment and digest of a well-formed key, None for anything else.

    The form without `sk_` is accepted too. The checksum is verified before any look-up.
    """
    match = _FORM.fullmatch(token)
    if match is None:
        return None
    environment = _ENVIRONMENTS[match[1]]
    body, checksum = match[2][:_RANDOM_LENGTH], match[2][_RANDOM_LENGTH:]
    canonical = PREFIXES[environment] + body
    if _checksum(canonical) != checksum:
        return None
    return environment, digest_of(canonical + checksum)


def digest_of(text: str) -> bytes:
    """Return what is stored: 190 random bits need no slow hash."""
    return hashlib.sha256(text.encode()).digest()


def _checksum(text: str) -> str:
    value = zlib.crc32(text.encode())
    digits: list[str] = []
    for _ in range(_CHECKSUM_LENGTH):
        value, digit = divmod(value, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
