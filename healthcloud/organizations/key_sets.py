"""The public keys of clients: registered by value, or published at an address and fetched.

A fetched set is kept as long as its server says, and asked for again when an assertion names a key
that it lacks, so that clients rotate their keys without telling anybody.
https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html#registering-a-client-communicating-public-keys
"""

import email.utils
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from django.conf import settings
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from healthcloud import http
from healthcloud.errors import ValidationFailed
from healthcloud.organizations.models import Environment, FetchedKeySet

MAX_KEYS: Final = 10
MAX_FETCHED: Final = 50
MAX_BYTES: Final = 256 * 1024
TIMEOUT: Final = 5.0
UNSAID_LIFE: Final = timedelta(minutes=5)
LONGEST_LIFE: Final = timedelta(hours=24)
# Who names keys that are not there makes this server ask for them, but not for each request.
ASKED_AGAIN_AFTER: Final = timedelta(seconds=10)
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "k", "oth"})
_KEPT: Final = ["url", "keys", "etag", "expires_at", "asked_at", "problem"]
_PUBLIC: Final = ("kty", "kid", "use", "key_ops", "alg", "n", "e", "crv", "x", "y")


class KeySetUnavailable(Exception):
    """The address of a client's keys gives none."""


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where the public keys of a client are: a set of its own, or the address that publishes it."""

    client_id: str
    environment: str
    jwks: Mapping[str, Any] | None
    jwks_uri: str = ""


def check_key_source(
    jwks: object, jwks_uri: object, *, environment: str
) -> tuple[dict[str, Any] | None, str]:
    """Return the key set or the address that a client registers, never both.

    Raises ValidationFailed for keys that can't be used and for an address that is never called.
    """
    if jwks_uri in (None, ""):
        return (check_jwks(jwks) if jwks is not None else None), ""
    if jwks is not None:
        raise ValidationFailed("Send `jwks` or `jwks_uri`, not both.", param="jwks_uri")
    address = str(jwks_uri)
    try:
        http.check_url(address, allow_loopback=_loopback_allowed(environment))
    except http.OutboundError as error:
        raise ValidationFailed(error.message, param="jwks_uri") from error
    return None, address


def check_jwks(value: object) -> dict[str, Any]:
    """Return a set of public keys for RS384 or ES384; raise ValidationFailed."""
    found = value.get("keys") if isinstance(value, Mapping) else None
    if "\\u0000" in json.dumps(value):
        raise ValidationFailed("The keys hold the character U+0000.", param="jwks")
    if not isinstance(found, list) or not 0 < len(found) <= MAX_KEYS:
        raise ValidationFailed(
            f'Send {{"keys": […]}} with 1 to {MAX_KEYS} public keys.', param="jwks"
        )
    kids = [key.get("kid") for key in found if isinstance(key, Mapping)]
    if len(kids) != len(found) or not all(isinstance(kid, str) and kid for kid in kids):
        raise ValidationFailed("Each key is an object with a `kid`.", param="jwks")
    if len(set(kids)) != len(kids):
        raise ValidationFailed("Two keys have the same `kid`.", param="jwks")
    for key in found:
        _check_key(key)
    return {"keys": [dict(key) for key in found]}


def _check_key(key: Mapping[str, Any]) -> None:
    if _PRIVATE & set(key):
        raise ValidationFailed("Send public keys only, never the private part.", param="jwks")
    try:
        loaded = KeySet.import_key_set({"keys": [dict(key)]}).keys[0]
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ValidationFailed("A key of the set can't be read.", param="jwks") from error
    is_rsa = isinstance(loaded, RSAKey) and loaded.raw_value.key_size >= 2048
    is_ec = isinstance(loaded, ECKey) and key.get("crv") == "P-384"
    if not is_rsa and not is_ec:
        raise ValidationFailed(
            "Keys are RSA of at least 2048 bits (RS384) or EC on P-384 (ES384).", param="jwks"
        )


def keys_of(source: KeySource, kid: str, *, now: datetime) -> dict[str, Any]:
    """Return the key set in which a key is looked for; raise KeySetUnavailable.

    Fetches it where it is not known, no longer good, or lacks that key.
    """
    if not source.jwks_uri:
        return dict(source.jwks or {"keys": []})
    kept = FetchedKeySet.objects.filter(pk=source.client_id, url=source.jwks_uri).first()
    if kept is None:
        return _fetch(source, None, now)
    was_asked = now < kept.asked_at + ASKED_AGAIN_AFTER
    if now < kept.expires_at and (was_asked or _names(kept.keys, kid)):
        return dict(kept.keys)
    if was_asked and kept.problem:
        raise KeySetUnavailable(kept.problem)
    return _fetch(source, kept, now)


def _names(keys: Mapping[str, Any], kid: str) -> bool:
    return any(key["kid"] == kid for key in keys["keys"])


def _fetch(source: KeySource, kept: FetchedKeySet | None, now: datetime) -> dict[str, Any]:
    """Ask for the set again, and keep it as long as its server says."""
    row = kept or FetchedKeySet(key_id=source.client_id, url=source.jwks_uri, expires_at=now)
    row.asked_at, row.problem = now, ""
    try:
        answer = _ask(source, row.etag)
        if answer.status != 304 or not row.etag:
            row.keys = {"keys": _usable(answer.raise_for_status())}
            row.etag = answer.headers.get("etag", "")[:200]
        row.expires_at = now + _life(answer.headers)
    except http.OutboundError as error:
        row.problem = f"The keys at {source.jwks_uri} can't be fetched: {error.message}"
    FetchedKeySet.objects.bulk_create(  # whoever else is asking at this moment
        [row], update_conflicts=True, unique_fields=["key"], update_fields=_KEPT
    )
    if row.problem:
        raise KeySetUnavailable(row.problem)
    return dict(row.keys)


def _ask(source: KeySource, etag: str) -> http.Response:
    caller = http.client(
        allow_loopback=_loopback_allowed(source.environment),
        timeout=TIMEOUT,
        max_response_bytes=MAX_BYTES,
        retries=0,
    )
    condition = {"if-none-match": etag} if etag else {}
    headers = {"accept": "application/json", **condition}
    return caller.request("GET", source.jwks_uri, headers=headers, route="/{jwks_uri}")


def _usable(answer: http.Response) -> list[dict[str, Any]]:
    """Return the keys that can verify an assertion; others may be for other servers."""
    body = answer.json()
    listed = body.get("keys") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise http.MalformedResponse('The answer is no {"keys": […]}.')
    found = [_public(key) for key in listed[:MAX_FETCHED] if isinstance(key, dict)]
    usable = [key for key in found if _is_usable(key)]
    if not usable:
        raise http.MalformedResponse("It has no RSA (2048 bits) or P-384 key with a `kid`.")
    return usable


def _public(key: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is needed of a key; one that is private as it stands, to be refused."""
    return {name: key[name] for name in (*_PUBLIC, *_PRIVATE) if name in key}


def _is_usable(key: Mapping[str, Any]) -> bool:
    if not isinstance(key.get("kid"), str) or not key["kid"] or b"\\u0000" in orjson.dumps(key):
        return False
    try:
        _check_key(key)
    except ValidationFailed:
        return False
    return True


def _life(headers: Mapping[str, str]) -> timedelta:
    """Return how long an answer may be kept. RFC 9111, section 4.2."""
    said = {
        name.strip().lower(): value.strip(' "')
        for name, _, value in (
            part.partition("=") for part in headers.get("cache-control", "").split(",")
        )
    }
    if {"no-store", "no-cache"} & set(said):
        return timedelta(0)
    seconds = _seconds(said.get("max-age", ""))
    if seconds is not None:
        life = timedelta(seconds=seconds - (_seconds(headers.get("age", "")) or 0))
    elif "expires" in headers:
        life = _until(headers["expires"], headers.get("date", ""))
    else:
        life = UNSAID_LIFE
    return min(max(life, timedelta(0)), LONGEST_LIFE)


def _seconds(text: str) -> int | None:
    return int(text[:9]) if text.isascii() and text.isdigit() else None


def _until(expires: str, date: str) -> timedelta:
    try:
        end, start = (email.utils.parsedate_to_datetime(text) for text in (expires, date))
        return end - start
    except (ValueError, TypeError):  # `Expires: 0` is the past
        return timedelta(0)


def _loopback_allowed(environment: str) -> bool:
    """Tell whether servers on this machine may be called: in a sandbox, if settings allow it."""
    sandbox = environment == Environment.Kind.SANDBOX
    return sandbox and bool(settings.ALLOW_LOOPBACK_WEBHOOKS)
