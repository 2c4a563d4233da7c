"""Checking who calls a webhook trigger: Standard Webhooks signatures, or the secret itself. Pure.

https://www.standardwebhooks.com
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final

PREFIX: Final = "whsec_"
TOLERANCE_SECONDS: Final = 300


def new_secret() -> str:
    """Return a new secret of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def is_authentic(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    """Say whether a request was signed with the secret a short time ago, or bears it."""
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    if bearer and hmac.compare_digest(bearer.encode(), secret.encode()):
        return True
    identifier = headers.get("webhook-id", "")
    stamp = headers.get("webhook-timestamp", "")
    if not identifier or not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return False
    if abs(now.timestamp() - int(stamp)) > TOLERANCE_SECONDS:
        return False
    signed = f"{identifier}.{stamp}.".encode() + body
    wanted = _signature(secret, signed)
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(wanted.encode(), one.encode()) for one in given)


def _signature(secret: str, signed: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX))
    except binascii.Error:
        key = secret.encode()
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
