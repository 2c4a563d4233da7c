"""Writes JSON: UTC times with a Z, decimals with their own digits."""

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Final

import orjson
from rest_framework.renderers import BaseRenderer

_OPTIONS: Final = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_NON_STR_KEYS


def _encode_other(value: object) -> object:
    """Return a JSON form of what orjson does not know by itself."""
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value)) if value.is_finite() else None
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def dump_json(data: object) -> bytes:
    """Return the bytes of a JSON document."""
    try:
        return orjson.dumps(data, default=_encode_other, option=_OPTIONS)
    except orjson.JSONEncodeError:  # whole numbers beyond 64 bits, which callers may send
        text = json.dumps(data, default=_encode_slowly, ensure_ascii=False, separators=(",", ":"))
        return text.encode()


def _encode_slowly(value: object) -> object:
    """Return a tree without what only orjson can write."""
    return json.loads(orjson.dumps(value, default=_encode_other, option=_OPTIONS))


class JSONRenderer(BaseRenderer):
    """JSON for every answer of the platform API."""

    media_type = "application/json"
    format = "json"
    charset = None
    render_style = "binary"

    def render(
        self,
        data: object,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, object] | None = None,
    ) -> bytes:
        """Return the body; nothing for an answer without one."""
        return b"" if data is None else dump_json(data)
