"""What batch and transaction share: entries read from a Bundle, answers put into one.

https://hl7.org/fhir/R4/http.html#transaction
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec
import orjson

from fhir.errors import InvalidBundle, NotSupported
from fhir.indexing import own_base
from fhir.resources import JsonObject, ParsedResource, instant
from fhir.stored import StoredResource

MAX_ENTRIES: Final = 20_000
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_entries = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


@dataclass(slots=True)
class Entry:
    """One entry of a batch or transaction: a request, as HTTP would have it."""

    position: int
    method: str
    resource_type: str
    id: str | None
    query: str
    full_url: str
    resource: ParsedResource | None
    if_match: str | None = None
    if_none_exist: str | None = None
    path: str = ""

    @property
    def where(self) -> str:
        """Return the FHIRPath of the entry, for outcomes."""
        return f"Bundle.entry[{self.position}]"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an entry."""

    status: str
    content: bytes | None = None
    location: str = ""
    etag: str = ""
    last_modified: str = ""
    outcome: JsonObject | None = None
    is_read: bool = False


def read_entries(bundle: ParsedResource) -> list[Entry]:
    """Return the entries of a Bundle with their resources as they were written.

    Raises InvalidBundle for entries without a request or with one that can't be read.
    """
    raw = _decode(bundle.text).get("entry", msgspec.Raw(b"[]"))
    texts = _decode_entries(raw)
    if len(texts) > MAX_ENTRIES:
        raise InvalidBundle(f"A Bundle may have {MAX_ENTRIES} entries; this has {len(texts)}.")
    return [
        _entry(position, data, text)
        for position, (data, text) in enumerate(
            zip(bundle.data.get("entry", ()), texts, strict=True)
        )
    ]


def _entry(position: int, data: Mapping[str, Any], text: Mapping[str, msgspec.Raw]) -> Entry:
    request = data.get("request")
    where = f"Bundle.entry[{position}]"
    if not isinstance(request, dict) or request.get("method") not in METHODS:
        raise InvalidBundle(f"{where} needs a request with a method.", param=f"{where}.request")
    resource = None
    if "resource" in data:
        resource = ParsedResource(bytes(text["resource"]), data["resource"])
    url = str(request.get("url", "")).removeprefix(own_base()).removeprefix("/")
    parts = urlsplit(url)
    names = [unquote(part) for part in parts.path.split("/")]
    if len(names) > 2 and request["method"] not in {"GET", "HEAD"}:
        raise NotSupported(f"{where}: this server does not do `{url[:80]}` in a Bundle yet.")
    return Entry(
        position=position,
        method=request["method"],
        resource_type=names[0],
        id=names[1] if len(names) > 1 and names[1] else None,
        query=parts.query,
        full_url=str(data.get("fullUrl", "")),
        resource=resource,
        if_match=request.get("ifMatch"),
        if_none_exist=request.get("ifNoneExist"),
        path=parts.path,
    )


def needs_resource(entry: Entry) -> ParsedResource:
    """Return the entry's resource; raise InvalidBundle without one."""
    if entry.resource is None:
        raise InvalidBundle(f"{entry.where} needs a resource.", param=f"{entry.where}.resource")
    return entry.resource


def answer_written(resource: StoredResource) -> Answer:
    """Return the answer to a create or update."""
    return Answer(
        status="201 Created" if resource.created else "200 OK",
        content=resource.content,
        location=resource.versioned_reference,
        etag=resource.etag,
        last_modified=instant(resource.updated_at),
    )


def answer_deleted(version: int | None) -> Answer:
    """Return the answer to a delete."""
    return Answer(status="204 No Content", etag=f'W/"{version}"' if version else "")


def response_bundle(kind: str, answers: list[Answer], *, representation: bool) -> bytes:
    """Return the Bundle of answers, in the order of the entries; resources as stored."""
    head = orjson.dumps({"resourceType": "Bundle", "type": kind})
    if not answers:
        return head
    entries = b",".join(_answer(answer, representation=representation) for answer in answers)
    return head[:-1] + b',"entry":[' + entries + b"]}"


def _answer(answer: Answer, *, representation: bool) -> bytes:
    response: JsonObject = {"status": answer.status}
    for name, value in (
        ("location", answer.location),
        ("etag", answer.etag),
        ("lastModified", answer.last_modified),
        ("outcome", answer.outcome),
    ):
        if value:
            response[name] = value
    tail = b'"response":' + orjson.dumps(response) + b"}"
    if answer.content is None or not (representation or answer.is_read):
        return b"{" + tail
    return b'{"resource":' + answer.content + b"," + tail
