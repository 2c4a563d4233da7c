"""What batch and transaction share: entries read from a Bundle, answers put into one.

https://hl7.org/fhir/R4/http.html#transaction
"""

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec
import orjson

from fhir.documents import JsonObject, ParsedResource, instant
from fhir.errors import BundleTooLarge, InvalidBundle, NotSupported
from fhir.indexing import own_base
from fhir.patches import Patch, read_patch
from fhir.stored import StoredResource
from fhir.validation import Issue
from fhir.validation import outcome as outcome_of

MAX_ENTRIES: Final = 20_000
READS: Final = frozenset({"GET", "HEAD"})
METHODS: Final = READS | {"POST", "PUT", "PATCH", "DELETE"}

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
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_none_exist: str | None = None
    path: str = ""
    call: str = ""
    """What is called instead of an interaction with resources: `$everything` or `metadata`."""
    is_search: bool = False
    """Whether it is a POST to `_search`."""

    @property
    def where(self) -> str:
        """Return the FHIRPath of the entry, for outcomes."""
        return f"Bundle.entry[{self.position}]"

    @property
    def is_read(self) -> bool:
        """Tell whether the entry reads, vreads, searches or walks a history."""
        return not self.call and (self.method in READS or self.is_search)

    @property
    def is_write(self) -> bool:
        """Tell whether the entry creates, updates, patches or deletes."""
        return not (self.call or self.method in READS or self.is_search)


Permit = Callable[[Entry], None]
"""Raises for an entry that the caller may not send."""


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
    changed: tuple[str, ...] = ()
    """The versions that the entry made, deletions included: `Type/id/_history/version`."""


Operate = Callable[[Entry], Answer]
"""Answers an entry that calls an operation, or asks for the server's capabilities."""


def read_entries(bundle: ParsedResource) -> list[Entry]:
    """Return the entries of a Bundle with their resources as they were written.

    Raises InvalidBundle for entries without a request or with one that can't be read, and
    BundleTooLarge for more than 20,000 of them.
    """
    entries = bundle.data.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidBundle("`entry` must be an array of objects.", param="Bundle.entry")
    if len(entries) > MAX_ENTRIES:
        raise BundleTooLarge(
            f"A Bundle may have {MAX_ENTRIES} entries; this has {len(entries)}: send it in parts."
        )
    texts = _decode_entries(_decode(bundle.text).get("entry", msgspec.Raw(b"[]")))
    return [
        _entry(position, data, text)
        for position, (data, text) in enumerate(zip(entries, texts, strict=True))
    ]


def _entry(position: int, data: Mapping[str, Any], text: Mapping[str, msgspec.Raw]) -> Entry:
    where = f"Bundle.entry[{position}]"
    request = data.get("request")
    if not isinstance(request, dict):
        raise InvalidBundle(f"{where} needs a request.", param=f"{where}.request")
    method = _text(request, "method", f"{where}.request")
    if method not in METHODS:
        raise InvalidBundle(
            f"{where}.request.method must be one of {', '.join(sorted(METHODS))}.",
            param=f"{where}.request.method",
        )
    resource = None
    if "resource" in data:
        if not isinstance(data["resource"], dict):
            raise InvalidBundle(f"{where}.resource must be a resource.", param=f"{where}.resource")
        resource = ParsedResource(bytes(text["resource"]), data["resource"])
    url = _text(request, "url", f"{where}.request")
    parts = _address(url, f"{where}.request.url")
    path = url if (parts.scheme or parts.netloc) else unquote(parts.path)
    names, call, is_search = _named(path.split("/"), method)
    return Entry(
        position=position,
        method=method,
        resource_type=names[0],
        id=names[1] if len(names) > 1 and names[1] else None,
        query=parts.query,
        full_url=_text(data, "fullUrl", where),
        resource=resource,
        if_match=_text(request, "ifMatch", f"{where}.request") or None,
        if_none_match=_text(request, "ifNoneMatch", f"{where}.request") or None,
        if_modified_since=_text(request, "ifModifiedSince", f"{where}.request") or None,
        if_none_exist=_text(request, "ifNoneExist", f"{where}.request") or None,
        path=path,
        call=call,
        is_search=is_search,
    )


def _named(names: list[str], method: str) -> tuple[list[str], str, bool]:
    """Return type and id of an address, what it calls, and whether it is a POST to `_search`."""
    if names[-1].startswith("$") or names == ["metadata"]:
        return names[:-1] or [""], names[-1], False
    if names[-1] == "_search" and method == "POST":
        return names[:-1] or [""], "", True
    return names, "", False


def check_address(entry: Entry) -> None:
    """Raise InvalidBundle for an address to which the entry's method is not sent."""
    parts, where = entry.path.split("/"), f"{entry.where}.request.url"
    if "://" in entry.path:
        raise InvalidBundle(
            f"`{entry.path[:120]}` is not below {own_base()}: write `Patient/1`.", param=where
        )
    if entry.call and (entry.method not in READS | {"POST"} or len(parts) > 3):
        raise InvalidBundle(f"`{entry.call[:60]}` is called by GET or POST.", param=where)
    if entry.is_write and len(parts) > (1 if entry.method == "POST" else 2):
        raise InvalidBundle(f"There is no {entry.method} of `{entry.path[:120]}`.", param=where)


def _address(url: str, where: str) -> SplitResult:
    """Return the parts of a request's url, relative to the FHIR root."""
    if "\0" in unquote(url):
        raise InvalidBundle(f"{where} holds the character U+0000.", param=where)
    try:
        return urlsplit(url.removeprefix(own_base()).removeprefix("/"))
    except ValueError:
        raise InvalidBundle(f"{where} is no URL.", param=where) from None


def _text(data: Mapping[str, Any], name: str, where: str) -> str:
    """Return a member that is text, empty without it."""
    value = data.get(name, "")
    if not isinstance(value, str):
        raise InvalidBundle(f"{where}.{name} must be text.", param=f"{where}.{name}")
    return value


def no_calls(entry: Entry) -> Answer:
    """Refuse an entry that calls an operation, where nobody is there to call it."""
    raise NotSupported(f"`{entry.call[:60]}` is not called here.")


def condition_of(entry: Entry) -> tuple[str, str] | None:
    """Return type and query of the condition that an entry's write depends on, None without."""
    if not entry.is_write:
        return None
    if entry.method == "POST" and entry.if_none_exist:
        return entry.resource_type, entry.if_none_exist
    if entry.method in {"PUT", "PATCH", "DELETE"} and entry.id is None:
        return entry.resource_type, entry.query
    return None


def patch_of(entry: Entry) -> Patch:
    """Return the patch of an entry: Parameters, or a Binary with the type and bytes of another.

    https://hl7.org/fhir/R4/http.html#patch
    """
    resource = needs_resource(entry)
    if resource.resource_type == "Parameters":
        return read_patch(resource.text, "application/fhir+json")
    content_type, data = resource.data.get("contentType"), resource.data.get("data")
    if resource.resource_type != "Binary" or not isinstance(data, str):
        raise InvalidBundle(
            f"{entry.where}: a patch is a Parameters resource, or a Binary with contentType and"
            " data.",
            param=f"{entry.where}.resource",
        )
    try:
        document = b64decode("".join(data.split()), validate=True)
    except ValueError:
        raise InvalidBundle(
            f"{entry.where}: `data` is not base64.", param=f"{entry.where}.resource"
        ) from None
    return read_patch(document, str(content_type))


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
        changed=(resource.versioned_reference,) if resource.is_new else (),
    )


def answer_deleted(version: int | None, *changed: str) -> Answer:
    """Return the answer to a delete, with the deletions that it made."""
    etag = f'W/"{version}"' if version else ""
    return Answer(status="204 No Content", etag=etag, changed=changed)


def changed_by(answers: Iterable[Answer]) -> list[str]:
    """Return the versions that entries made."""
    return [reference for answer in answers for reference in answer.changed]


def response_bundle(kind: str, answers: list[Answer], *, wish: str = "representation") -> bytes:
    """Return the Bundle of answers, in the order of the entries; resources as stored.

    `wish` is what `Prefer: return` asks for: representation, minimal or OperationOutcome.
    """
    head = orjson.dumps({"resourceType": "Bundle", "type": kind})
    if not answers:
        return head
    entries = b",".join(_answer(answer, wish) for answer in answers)
    return head[:-1] + b',"entry":[' + entries + b"]}"


def _answer(answer: Answer, wish: str) -> bytes:
    response: JsonObject = {"status": answer.status}
    outcome = answer.outcome
    if wish == "OperationOutcome" and not answer.is_read and outcome is None:
        done = f"{answer.location or 'Nothing'}: {answer.status}"
        outcome = outcome_of([Issue("information", "informational", "", done)])
    for name, value in (
        ("location", answer.location),
        ("etag", answer.etag),
        ("lastModified", answer.last_modified),
        ("outcome", outcome),
    ):
        if value:
            response[name] = value
    tail = b'"response":' + orjson.dumps(response) + b"}"
    if answer.content is None or not (wish == "representation" or answer.is_read):
        return b"{" + tail
    return b'{"resource":' + answer.content + b"," + tail
