"""Plain requests of the clinical store, answered in the event loop's own thread.

Of a read the row itself costs a tenth of a millisecond; a thread, Django's request and the view
each cost as much again. So what is plainest is answered here by a function of its route, which
gets the caller and says only how a success looks. Everything else, each error included, is
declined with nothing done, and goes to the view (`docs/decisions/0140`).
"""

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from io import BytesIO
from time import perf_counter
from typing import Any, Final, Literal

import psycopg
from django.conf import settings
from django.core.exceptions import DisallowedHost, SynchronousOnlyOperation
from django.core.handlers.wsgi import WSGIRequest
from django.db import connection
from django.urls import resolve
from django.utils import timezone
from django.utils.module_loading import import_string

from healthcloud.api import health, request_ids
from healthcloud.api.principal import Principal, ProjectReference
from healthcloud.api.views import API_VERSION
from healthcloud.errors import HealthCloudError
from healthcloud.organizations import usage
from healthcloud.organizations.authentication import recall_steadily
from healthcloud.organizations.direct import policy_headers
from healthcloud.tenancy.awaiting import LoopConnections, run_awaiting
from healthcloud.tenancy.pipeline import Refused, Statement
from healthcloud.tenancy.scope import DirectEntry, LoopRun, Scope, direct_scope

logger = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]
_REMEMBERED: Final = 1000
_LARGEST_BODY: Final = 32 << 10  # what is larger takes its time, in a thread
# Headers that ask for nothing but what the handlers heed; with any other a request is not plain.
_PLAIN: Final = frozenset(
    {
        *(b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language"),
        *(b"connection", b"keep-alive", b"cache-control", b"pragma", b"authorization"),
        *(b"healthcloud-project", b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto"),
        *(b"x-forwarded-host", b"x-forwarded-port", b"x-real-ip", b"via", b"prefer"),
        *(b"content-type", b"content-length"),
    }
)


@dataclass(slots=True)
class Caller:
    """A key that was seen, in one project: what each of its requests needs, made once."""

    principal: Principal
    project: ProjectReference
    until: datetime
    scope: Scope
    guard: Statement
    rights: dict[tuple[str, str], bool] = field(default_factory=dict)
    entries: dict[tuple[bool, bool], Statement] = field(default_factory=dict)
    headers: dict[bool, Headers] = field(default_factory=dict)

    def may(self, resource_type: str, verb: str) -> bool:
        """Tell whether the caller may do one of `crus` to a type."""
        known = self.rights.get((resource_type, verb))
        if known is None:
            access = "read" if verb in "rs" else "write"
            principal = self.principal
            known = principal.can(f"{resource_type}:{access}") and principal.may(
                resource_type, verb
            )
            self.rights[resource_type, verb] = known
        return known

    def entering(self, quick: bool, fixed: bool) -> Statement:
        """Return the statement that enters the tenant while the caller may act."""
        known = self.entries.get((quick, fixed))
        if known is None:
            # Writes give up a lock that is held for long: a thread waits for it better, as the
            # loop has few connections, and others may have joined the statement.
            entry = DirectEntry(
                self.scope, self.guard, readonly=False, is_quick=quick, is_patient=quick
            )
            known = entry.statement(fixed=fixed).binding()
            self.entries[quick, fixed] = known
        return known

    def standing_headers(self, *, is_secure: bool) -> Headers:
        """Return the headers that every answer to the caller has."""
        if is_secure not in self.headers:
            named = {
                "HealthCloud-Organization-Id": self.scope.organization_id,
                "HealthCloud-Project-Id": self.project.id,
                "HealthCloud-Environment": self.scope.environment,
                "HealthCloud-Version": API_VERSION,
                "Cache-Control": "no-store",
            }
            named = {**policy_headers(is_secure), **named}
            self.headers[is_secure] = encoded(named)
        return self.headers[is_secure]


@dataclass(slots=True)
class Call:
    """A plain request, as a handler sees it; runs inside the caller's `direct_scope`."""

    caller: Caller
    arguments: Mapping[str, str]
    query: str
    headers: Mapping[bytes, bytes]
    body: bytes
    base: str
    """Scheme and host as the client reached them."""
    now: datetime
    request_id: str
    entry: DirectEntry

    def header(self, name: bytes) -> str:
        """Return a header, empty where it was not sent."""
        return self.headers.get(name, b"").decode("latin-1")


@dataclass(slots=True)
class Answer:
    """What a handler answers; its headers besides those of every answer."""

    status: int
    headers: Headers
    body: bytes


Handler = Callable[[Call], Answer | None]
"""Answers a call, or returns None or raises to decline it; then nothing may be written."""


@dataclass(frozen=True, slots=True)
class ExpressRoute:
    """A method and pattern of address, and the function that answers what is plain there.

    `reads` says that nothing but the trail is written, so that no commit waits for the disk.
    `failed` answers an error after which nobody knows whether the write was committed. `heeds` are
    headers that the handler heeds besides those that all do.
    """

    method: Literal["GET", "POST", "PUT", "PATCH"]
    pattern: re.Pattern[str]
    handler: Handler
    reads: bool
    failed: Callable[[Call, Exception], Answer]
    heeds: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class ExpressApplication:
    """Answers what is plain in the loop's thread; `later` runs a function in another one."""

    routes: Sequence[ExpressRoute]
    connections: LoopConnections
    later: Callable[[Callable[[], object]], object]
    callers: dict[tuple[bytes, bytes], Caller] = field(default_factory=dict)

    async def __call__(self, scope: Mapping[str, Any], body: bytes) -> Answer | None:
        """Return the answer to a request, or None with nothing done."""
        began = perf_counter()
        found = self._match(scope, body)
        headers = None if found is None else _plain_headers(scope["headers"], found[0].heeds)
        if found is None or headers is None:
            return None
        route, arguments = found
        now = timezone.now()
        caller = self._caller(headers, now)
        base = _base_of(scope, headers)
        if caller is None or base is None:
            return None
        entry = DirectEntry(
            *(caller.scope, caller.guard),
            readonly=False,
            repeats=route.reads,
            is_quick=route.reads,
            entering=partial(caller.entering, route.reads),
        )
        offered = headers.get(b"x-request-id", b"").decode("latin-1")
        call = Call(
            *(caller, arguments, scope["query_string"].decode("latin-1"), headers, body),
            *(base, now, request_ids.chosen(offered), entry),
        )
        answer = await self._answer(route, call)
        if answer is not None:
            self._finish(route, call, answer, scope["path"], began)
        return answer

    def _match(
        self, scope: Mapping[str, Any], body: bytes
    ) -> tuple[ExpressRoute, Mapping[str, str]] | None:
        if len(body) > _LARGEST_BODY or b"%" in scope.get("raw_path", b"%"):
            return None
        for route in self.routes:
            if route.method == scope["method"]:
                found = route.pattern.fullmatch(scope["path"])
                if found is not None:
                    return route, found.groupdict()
        return None

    def _caller(self, headers: Mapping[bytes, bytes], now: datetime) -> Caller | None:
        """Return the caller whose key this process knows; None leads the whole way."""
        sent, named = headers.get(b"authorization", b""), headers.get(b"healthcloud-project", b"")
        remembered = hashlib.sha256(sent).digest(), named
        caller = self.callers.get(remembered)
        if caller is not None and now < caller.until:
            return caller
        self.callers.pop(remembered, None)
        made = _recall(sent, named, now)
        if made is not None:
            if len(self.callers) >= _REMEMBERED:
                self.callers.clear()
            self.callers[remembered] = made
        return made

    async def _answer(self, route: ExpressRoute, call: Call) -> Answer | None:
        token = request_ids.log_request_id.set(call.request_id)
        try:
            return await run_awaiting(partial(_work, route, call), self.connections)
        except Refused:
            self.callers.clear()  # whoever changed is looked up again, the whole way
        except (HealthCloudError, SynchronousOnlyOperation):
            pass  # the view says what is wrong, or does what waits
        except Exception as error:
            if call.entry.groups and not route.reads and not _is_undone(error):
                logger.exception("a write failed, and may have been committed")
                return route.failed(call, error)
            logger.warning("express declined: %s", type(error).__name__)
        finally:
            request_ids.log_request_id.reset(token)
        return None

    def _finish(
        self, route: ExpressRoute, call: Call, answer: Answer, path: str, began: float
    ) -> None:
        """Set what every answer carries, count it, and let others do what follows."""
        answer.headers += call.caller.standing_headers(is_secure=call.base.startswith("https"))
        answer.headers.append((b"x-request-id", call.request_id.encode()))
        if answer.status != 204:
            answer.headers.append((b"content-length", b"%d" % len(answer.body)))
        scope = call.caller.scope
        if usage.count(
            scope.organization_id,
            scope.environment,
            call.caller.project.id,
            failed=answer.status >= 400,
        ):
            self.later(partial(_in_thread, usage.flush))
        health.observe(route.method, _route_name(route, path), answer.status, began)
        for action in call.entry.afterwards:
            self.later(partial(_in_thread, action))


def _in_thread(action: Callable[[], object]) -> None:
    connection.close_if_unusable_or_obsolete()  # as Django does when a request begins
    action()


def _work(route: ExpressRoute, call: Call, run: LoopRun) -> Answer | None:
    call.entry.loop = run
    with direct_scope(call.entry):
        return route.handler(call)


def _is_undone(error: Exception) -> bool:
    """Tell whether the database said that it refused, so that nothing of the group remains."""
    return isinstance(error, psycopg.Error) and error.sqlstate is not None


def _plain_headers(
    sent: Sequence[tuple[bytes, bytes]], heeds: frozenset[bytes]
) -> Mapping[bytes, bytes] | None:
    """Return the headers, None where one may ask for more or stands twice."""
    headers = dict(sent)
    return headers if len(headers) == len(sent) and headers.keys() - heeds <= _PLAIN else None


def _recall(sent: bytes, named: bytes, now: datetime) -> Caller | None:
    scheme, _, token = sent.decode("latin-1").partition(" ")
    project_id = named.decode("latin-1") or None
    found = recall_steadily(token, now=now, named=project_id) if scheme == "Bearer" else None
    if found is None:
        return None
    principal, until = found
    if principal.rate_limit is not None or principal.guard is None:
        return None  # tokens are taken in Valkey, for which a thread waits
    try:
        project = principal.resolve_project(project_id)
    except (HealthCloudError, SynchronousOnlyOperation):
        return None
    if project is None or project.archived:
        return None
    if principal.is_narrowed or project.enforces_consent:
        return None  # what narrows a caller's sight needs a transaction of its own
    scope = principal.scope_of(project)
    return Caller(principal, project, until, scope, principal.guard(project))


def _base_of(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str | None:
    forwarded = (headers.get(b"x-forwarded-proto", b""), headers.get(b"x-forwarded-host", b""))
    server = scope.get("server") or ("localhost", 80)
    return _known_base(scope.get("scheme", "http"), headers.get(b"host", b""), *forwarded, *server)


@lru_cache(maxsize=256)
def _known_base(
    scheme: str, host: bytes, proto: bytes, forwarded_host: bytes, name: str, port: int
) -> str | None:
    """Return scheme and host as Django understands them, None for a host that is not ours."""
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "SERVER_NAME": name,
        "SERVER_PORT": str(port),
        "wsgi.url_scheme": scheme,
        "wsgi.input": BytesIO(),
    }
    for variable, value in (
        ("HTTP_HOST", host),
        ("HTTP_X_FORWARDED_PROTO", proto),
        ("HTTP_X_FORWARDED_HOST", forwarded_host),
    ):
        if value:
            environ[variable] = value.decode("latin-1")
    request = WSGIRequest(environ)
    try:
        return f"{request.scheme}://{request.get_host()}"
    except DisallowedHost:
        return None


_names: dict[ExpressRoute, str] = {}


def _route_name(route: ExpressRoute, path: str) -> str:
    """Return the route as Django's resolver names it, for metrics."""
    if route not in _names:
        _names[route] = resolve(path).route
    return _names[route]


def encoded(headers: Mapping[str, str]) -> Headers:
    """Return headers as ASGI sends them."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def application(later: Callable[[Callable[[], object]], object]) -> ExpressApplication:
    """Return the application of all routes that `settings.EXPRESS_ROUTES` names."""
    return ExpressApplication(
        [route for name in settings.EXPRESS_ROUTES for route in import_string(name)],
        LoopConnections(settings.WEB_CONNECTIONS),
        later,
    )
