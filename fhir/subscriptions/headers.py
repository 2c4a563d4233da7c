"""Headers of a channel hold credentials: they are sealed before a Subscription is stored.

What is read back, in any version, is `Name: sealed:…`. Sent back unchanged it stays as it is, for
the same Subscription and endpoint only: a sealed value that is copied elsewhere opens nothing.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from fhir.documents import ParsedResource, parse, replace_member
from fhir.subscriptions.definition import InvalidSubscription
from healthcloud import secrets
from healthcloud.errors import InternalError
from healthcloud.tenancy.scope import active_scope

SEALED: Final = "sealed:"
_PLACE: Final = "Subscription.channel.header"


def seal_headers(parsed: ParsedResource, *, rid: str) -> ParsedResource:
    """Return the Subscription with the values of its headers sealed; raise InvalidSubscription."""
    channel = parsed.data.get("channel")
    headers = channel.get("header") if isinstance(channel, dict) else None
    if not isinstance(channel, dict) or not isinstance(headers, list) or not headers:
        return parsed
    place = _place(rid, str(channel.get("endpoint", "")))
    kept = {**channel, "header": [_sealed(str(header), place) for header in headers]}
    return parse(replace_member(parsed.text, "channel", kept))


def open_headers(headers: Mapping[str, str], *, rid: str, endpoint: str) -> dict[str, str]:
    """Return headers with their values in clear, to be sent."""
    place = _place(rid, endpoint)
    return {
        name: _opened(value, place) if value.startswith(SEALED) else value
        for name, value in headers.items()
    }


def _place(rid: str, endpoint: str) -> list[str]:
    return [rid, endpoint]


def _sealed(header: str, place: list[str]) -> str:
    name, _, value = header.partition(":")
    value = value.strip()
    if value.startswith(SEALED):
        _opened(value, place)
        return header
    blob = secrets.seal(active_scope(), json.dumps([*place, value]))
    return f"{name}: {SEALED}{blob.decode('ascii')}"


def _opened(value: str, place: list[str]) -> str:
    try:
        opened: list[Any] = json.loads(
            secrets.open_sealed(active_scope(), value.removeprefix(SEALED).encode("ascii"))
        )
    except (InternalError, ValueError):
        opened = []
    if opened[:2] != place:
        raise InvalidSubscription(
            _PLACE, "This sealed value is not of this Subscription and endpoint: send it in clear."
        )
    return str(opened[2])
