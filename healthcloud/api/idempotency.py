"""Idempotency-Key: the same request twice has one effect and one answer, for 24 hours.

The answer is stored in the transaction of the effect, so that neither stands without the other.
Only successes are stored: a refusal changed nothing and may be tried again with the same key.

A handler with transactions of its own holds its key meanwhile, for as long as its session with the
database lives. It stores its answer in its last transaction, which fails if the key was taken over.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as replace_members
from datetime import datetime, timedelta
from typing import Final

from django.db import connection
from django.db.models import QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.response import Response

from healthcloud.api.models import IdempotencyRecord
from healthcloud.api.renderers import dump_json
from healthcloud.errors import BadRequest, Conflict, ValidationFailed
from healthcloud.secrets import open_sealed, seal
from healthcloud.tenancy.scope import Scope, active_scope, tenant_scope

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotent-Replayed"
KEPT_FOR: Final = timedelta(hours=24)
LEASE: Final = timedelta(seconds=120)
_KEPT_HEADERS: Final = ("Content-Type", "Location", "ETag", "Last-Modified")
_PURGE_AT_ONCE: Final = 100

Call = Callable[[], HttpResponseBase]
ApartCall = Callable[["IdempotentRequest"], HttpResponseBase]


class InvalidIdempotencyKey(BadRequest):
    """The key is empty, too long or not printable ASCII."""


class IdempotencyMismatch(ValidationFailed):
    """The key was used before for another request."""


class RequestInFlight(Conflict):
    """The first request with this key has not been answered yet."""

    headers = {"Retry-After": "1"}


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A request with a key: what it asks, in which project, and how its answer is completed."""

    key: str
    project_id: str
    fingerprint: bytes
    now: datetime
    complete: Callable[[HttpResponseBase], HttpResponseBase]
    holder: str | None = None
    """Who works on it, of a request that holds its key over several transactions."""

    @classmethod
    def build(
        cls,
        *,
        key: str,
        project_id: str,
        caller: str,
        method: str,
        path: str,
        body: bytes,
        now: datetime,
        complete: Callable[[HttpResponseBase], HttpResponseBase],
    ) -> "IdempotentRequest":
        """Return the request with its fingerprint; raise InvalidIdempotencyKey for a bad key.

        `caller` says who asks and what they may do: another caller's answer is never replayed,
        which may hold what only the first was allowed to see.
        """
        if not 0 < len(key) <= 255 or not key.isascii() or not key.isprintable():
            raise InvalidIdempotencyKey(
                f"`{HEADER}` is 1 to 255 printable ASCII characters, such as a UUID.", param=HEADER
            )
        asked = hashlib.sha256(f"{caller}\n{method} {path}\n".encode() + body).digest()
        return cls(key, project_id, asked, now, complete)

    def held_by(self, holder: str) -> "IdempotentRequest":
        """Return the request as the one that holds its key."""
        return replace_members(self, holder=holder)


def run(request: IdempotentRequest, call: Call) -> HttpResponseBase:
    """Answer from the store, or call and store the answer in the open transaction.

    Raises RequestInFlight while another transaction works on the key, and IdempotencyMismatch
    when the key was used for something else.
    """
    _lock(request)
    record = _find(request)
    if record is not None:
        return _replay(request, record)
    response = request.complete(call())
    if _is_storable(response):
        _store(request, response)
    return response


def replace(request: IdempotentRequest, response: HttpResponseBase) -> None:
    """Keep another answer than the one that was stored with the effect; in a transaction."""
    response = request.complete(response)
    if _is_storable(response):
        _store(request, response)


def run_apart(request: IdempotentRequest, call: ApartCall, *, scope: Scope) -> HttpResponseBase:
    """Do the same for a handler with transactions of its own: it holds the key while it works."""
    with tenant_scope(scope):
        _lock(request)
        record = _find(request)
        if record is not None:
            return _replay(request, record)
        held = request.held_by(_new_holder())
        _save(held, locked_until=request.now + LEASE, holder=held.holder)
    try:
        response = request.complete(call(held))
    except BaseException:
        with tenant_scope(scope):
            _held(held).delete()
        raise
    with tenant_scope(scope):
        if not _is_storable(response):
            _held(held).delete()
        elif _held(held).select_for_update().exists():  # else it is stored already
            _store(held, response)
    return response


def keep(held: IdempotentRequest, response: HttpResponseBase) -> None:
    """Store the answer in the open transaction, that of the effect.

    Raises RequestInFlight, which undoes the effect, when the key was taken over meanwhile.
    """
    if not _held(held).select_for_update().exists():
        raise _in_flight()
    response = held.complete(response)
    if _is_storable(response):
        _store(held, response)


def lock_number(schema: str, project_id: str, key: str) -> int:
    """Return the number of the database's advisory lock for a key."""
    name = f"{schema}:{project_id}:{key}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def _lock(request: IdempotentRequest) -> None:
    """Take the key until the transaction ends, without waiting for another that holds it."""
    schema = connection.schema_name  # type: ignore[attr-defined]  # our backend has it
    number = lock_number(schema, request.project_id, request.key)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        row = cursor.fetchone()
    if not row or not row[0]:
        raise _in_flight()


def _in_flight() -> RequestInFlight:
    return RequestInFlight(
        "A request with this `Idempotency-Key` is still being worked on. Wait a second and"
        " send it again to get its answer.",
        param=HEADER,
    )


def _new_holder() -> str:
    """Name this session with the database, which ends with the process."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (session,) = cursor.fetchone()
    return f"{session}/{secrets.token_hex(12)}"


def _lives(holder: str | None) -> bool:
    """Tell whether the session that holds a key may still be there."""
    if holder is None:  # of a version that names nobody
        return True
    with connection.cursor() as cursor:
        session = int(holder.partition("/")[0])
        cursor.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [session])
        return cursor.fetchone() is not None


def _records(request: IdempotentRequest) -> QuerySet[IdempotencyRecord]:
    return IdempotencyRecord.objects.filter(project_id=request.project_id, key=request.key)


def _held(request: IdempotentRequest) -> QuerySet[IdempotencyRecord]:
    """Return the key's record while this request, and no other, holds it."""
    return _records(request).filter(status=None, holder=request.holder)


def _find(request: IdempotentRequest) -> IdempotencyRecord | None:
    """Return the stored answer to this key; what nobody works on any more counts as none."""
    record = _records(request).filter(expires_at__gt=request.now).first()
    if record is None or record.status is not None:
        return record
    leased = record.locked_until is not None and record.locked_until > request.now
    if leased and _lives(record.holder):
        raise _in_flight()
    same = bytes(record.fingerprint) == request.fingerprint
    return None if same else record  # of another request, which is refused


def _replay(request: IdempotentRequest, record: IdempotencyRecord) -> HttpResponse:
    if bytes(record.fingerprint) != request.fingerprint:
        raise IdempotencyMismatch(
            "This `Idempotency-Key` was used for another request. Use a new key for a new request.",
            param=HEADER,
        )
    headers = dict(record.headers)
    body = open_sealed(active_scope(), record.body).encode("latin-1")
    response = HttpResponse(body, status=record.status or 200, headers=headers)
    response[REPLAYED] = "true"
    return response


def _is_storable(response: HttpResponseBase) -> bool:
    return 200 <= response.status_code < 300 and not response.streaming


def _store(request: IdempotentRequest, response: HttpResponseBase) -> None:
    headers = {name: response[name] for name in _KEPT_HEADERS if response.has_header(name)}
    if isinstance(response, Response):
        body = b"" if response.data is None else dump_json(response.data)
        headers["Content-Type"] = "application/json"  # set only when it is rendered, later
    else:
        assert isinstance(response, HttpResponse)
        body = response.content
    # Sealed, since an answer may hold a key or a webhook's secret that is shown only once.
    sealed = seal(active_scope(), body.decode("latin-1"))
    _save(request, status=response.status_code, headers=headers, body=sealed)
    expired = IdempotencyRecord.objects.filter(expires_at__lte=request.now).values("pk")
    IdempotencyRecord.objects.filter(pk__in=expired[:_PURGE_AT_ONCE]).delete()


def _save(request: IdempotentRequest, **fields: object) -> None:
    IdempotencyRecord.objects.update_or_create(
        project_id=request.project_id,
        key=request.key,
        defaults={
            "fingerprint": request.fingerprint,
            "status": None,
            "headers": {},
            "body": b"",
            "locked_until": None,
            "holder": None,
            "expires_at": request.now + KEPT_FOR,
            **fields,
        },
    )
