"""Resources as text: parsed once, stamped without touching what the client wrote.

https://hl7.org/fhir/R4/resource.html and https://hl7.org/fhir/R4/json.html. Only `id` and `meta`
are replaced; every other byte, `0.40` included, is stored as it came.
"""

import json
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
import orjson

from healthcloud.errors import BadRequest, PayloadTooLarge

JsonObject = dict[str, Any]

TAG_SYSTEM: Final = "https://healthcloud.dev/fhir/tag/"
ID_PATTERN: Final = re.compile(r"[A-Za-z0-9\-._]{1,64}")
BOM: Final = b"\xef\xbb\xbf"
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_DEPTH: Final = 64
_CONTROL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u00(?:0[0-8bcefBCEF]|1[0-9a-fA-F])")
_STRUCTURE: Final = bytes(set(range(256)) - set(b'{}[]"'))

_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class MalformedJson(BadRequest):
    """The body is not one JSON object within the limits."""

    issue_code = "structure"


class ResourceTooLarge(PayloadTooLarge):
    """The body has more bytes than a resource may have."""


@dataclass(frozen=True, slots=True)
class ParsedResource:
    """A resource as its writer sent it: the text and what it says."""

    text: bytes
    data: JsonObject

    @property
    def resource_type(self) -> str:
        """Return the type, or an empty string where the text names none."""
        value = self.data.get("resourceType")
        return value if isinstance(value, str) else ""

    @property
    def id(self) -> str | None:
        """Return the id in the text."""
        value = self.data.get("id")
        return value if isinstance(value, str) else None


def parse(body: bytes | str) -> ParsedResource:
    """Return the JSON object in the body.

    Raises MalformedJson for anything else, for duplicate keys and for nesting deeper than 64;
    ResourceTooLarge above 16 MiB.
    """
    text = (body.encode() if isinstance(body, str) else body).removeprefix(BOM)
    if len(text) > MAX_BYTES:
        raise ResourceTooLarge(f"The body has {len(text)} bytes; the limit is {MAX_BYTES}.")
    _check_depth(text)
    _check_characters(text)
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedJson(f"The body is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise MalformedJson("The body must be one JSON object, a FHIR resource.")
    _check_duplicate_keys(text, data)
    return ParsedResource(text, data)


def from_dict(data: Mapping[str, Any]) -> ParsedResource:
    """Return a resource built in Python in the same form as one that was sent."""
    text = _encode(data)
    _check_characters(text)
    return ParsedResource(text, orjson.loads(text))


def _check_depth(text: bytes) -> None:
    """Refuse deep nesting before a recursive parser sees it; all in C, for bundles of megabytes."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    shape = b"".join(plain.translate(None, _STRUCTURE).split(b'"')[::2])
    for _ in range(MAX_DEPTH):
        shape = shape.replace(b"{}", b"").replace(b"[]", b"")
        if not shape:
            return
    if shape.count(b"{") + shape.count(b"[") > 0:
        raise MalformedJson(f"The JSON is malformed or nested deeper than {MAX_DEPTH} levels.")


def _check_characters(text: bytes) -> None:
    """Refuse control characters, which R4's strings may not have and a database can't keep."""
    if b"\\u00" in text and _CONTROL.search(text):
        raise MalformedJson(
            "The text holds a control character: R4 allows only tab, line feed and carriage return."
        )


def _check_duplicate_keys(text: bytes, data: JsonObject) -> None:
    """Refuse a name that stands twice in an object: parsers disagree on which one counts.

    A dropped member makes the text written anew have fewer quotation marks; only then (or with
    an escaped quotation mark spelled in hexadecimal) is the slow parser asked.
    """
    if b"\\u0022" in text or text.count(b'"') != orjson.dumps(data).count(b'"'):
        json.loads(text, object_pairs_hook=_refuse_duplicates)


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> JsonObject:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedJson(f"The member `{twice}` stands twice in one object.", param=twice)
    return members


def new_id() -> str:
    """Return an id for a new resource: a version 7 UUID, so that ids ascend with time."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62
    digits = f"{value | secrets.randbits(62):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def is_id(value: str) -> bool:
    """Tell whether a text may be an id on this platform (R4's pattern and the underscore)."""
    return ID_PATTERN.fullmatch(value) is not None


@lru_cache(maxsize=256)
def instant(moment: datetime) -> str:
    """Return a moment as a FHIR instant in UTC with milliseconds."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def to_milliseconds(moment: datetime) -> datetime:
    """Return the moment as `meta.lastUpdated` can express it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def stamp(
    resource: ParsedResource,
    *,
    rid: str,
    version: int,
    updated: datetime,
    tags: Iterable[JsonObject],
) -> bytes:
    """Return the text to store: `id` and the server's members of `meta` set, all else untouched.

    `tags` are the scope codings; codings of their systems that the client sent are replaced.
    """
    members = _decode_raw(resource.text)
    meta = _decode_raw(members.pop("meta", msgspec.Raw(b"{}")))
    stored: dict[str, object] = {"resourceType": members.pop("resourceType")}
    members.pop("id", None)
    stored["id"] = rid
    stored["meta"] = {
        "versionId": str(version),
        "lastUpdated": instant(updated),
        **{k: v for k, v in meta.items() if k not in {"versionId", "lastUpdated", "tag"}},
        "tag": [*_client_tags(meta), *tags],
    }
    stored.update(members)
    return _encode(stored)


def _client_tags(meta: Mapping[str, msgspec.Raw]) -> list[msgspec.Raw]:
    if "tag" not in meta:
        return []
    return [raw for raw in _decode_raw_list(meta["tag"]) if not _is_scope_tag(raw)]


def _is_scope_tag(raw: msgspec.Raw) -> bool:
    system = msgspec.json.decode(raw).get("system", "")
    return isinstance(system, str) and system.startswith(TAG_SYSTEM)


def scope_tags(metadata: Mapping[str, str | None]) -> list[JsonObject]:
    """Return the codings that say whose a resource is, from a scope's metadata."""
    parts = (
        ("organization", metadata["organization_id"]),
        ("project", metadata["project_id"]),
        ("environment", metadata["environment"]),
    )
    return [{"system": TAG_SYSTEM + name, "code": code} for name, code in parts if code]


def replace_member(text: bytes, name: str, value: object) -> bytes:
    """Return the text of an object with one member replaced, the others byte by byte."""
    members: dict[str, object] = dict(_decode_raw(text))
    members[name] = value
    return _encode(members)


def select_members(text: bytes, keep: Iterable[str], *, drop: bool = False) -> bytes:
    """Return the object with only the named members, or with `drop` all but those."""
    names = set(keep)
    members = _decode_raw(text)
    return _encode({name: raw for name, raw in members.items() if (name in names) is not drop})
