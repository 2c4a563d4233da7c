"""Who signed in, as a signed id token: RS256, with the public keys published.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#scopes-for-requesting-identity-data
"""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from joserfc import jwt
from joserfc.jwk import RSAKey

from healthcloud import secrets as sealing
from healthcloud.organizations.models import SigningKey

ALGORITHM: Final = "RS256"
LIFE: Final = timedelta(hours=1)
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtext('healthcloud.signing_key'))"


def id_token(claims: Mapping[str, Any], *, now: datetime) -> str:
    """Return the claims as a token signed by the newest key."""
    issued = int(now.timestamp())
    life = int(LIFE.total_seconds())
    body = {"iss": settings.BASE_URL, "iat": issued, "exp": issued + life, **claims}
    key = _newest()
    private = RSAKey.import_key(json.loads(sealing.unwrap(key.private)))
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, body, private, algorithms=[ALGORITHM])


def public_keys() -> dict[str, list[dict[str, Any]]]:
    """Return the key set by which id tokens are verified."""
    _newest()
    return {"keys": [key.public for key in SigningKey.objects.order_by("-created_at")]}


def add_signing_key() -> SigningKey:
    """Add a key, which signs from now on; older ones go on verifying what they signed."""
    kid = secrets.token_urlsafe(12)
    key = RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": ALGORITHM}, private=True)
    return SigningKey.objects.create(
        kid=kid,
        public=key.as_dict(private=False),
        private=sealing.wrap(json.dumps(key.as_dict(private=True))),
    )


def _newest() -> SigningKey:
    found = SigningKey.objects.order_by("-created_at").first()
    if found is not None:
        return found
    from django.db import connection

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_LOCK)
        return SigningKey.objects.order_by("-created_at").first() or add_signing_key()
